//! What the Admin UI asks for: to send, to join and leave rooms, to disconnect. Each is for the whole cluster.

use socketio_protocol::socket::{Args, Value};

use super::server_of;
use crate::adapter::Emitted;
use crate::broadcast::Broadcast;
use crate::error::EmitError;
use crate::handler::Event;
use crate::namespace::Namespace;
use crate::socket::Socket;

/// An order that cannot be understood. The front end sends none.
struct Misunderstood;

/// Carries out orders that come to `namespace`.
pub(super) fn serve(namespace: &Namespace) {
    for (name, order) in [("emit", emit as Order), ("join", join), ("leave", leave), ("_disconnect", disconnect)] {
        namespace.on(name, async move |socket: Socket, event: Event| {
            let Ok(args) = event.args().to_values() else { return };
            match order(&socket, &args) {
                Ok(Ok(_)) => tracing::info!(order = name, by = %socket.id(), "an order of the Admin UI"),
                Ok(Err(error)) => {
                    tracing::warn!(order = name, %error, "an order of the Admin UI reaches only this server")
                }
                Err(Misunderstood) => tracing::warn!(order = name, "an order of the Admin UI makes no sense here"),
            }
        });
    }
}

type Order = fn(&Socket, &[Value]) -> Result<Result<Emitted, EmitError>, Misunderstood>;

/// `emit(nsp, filter, event, ...args)`
fn emit(socket: &Socket, args: &[Value]) -> Result<Result<Emitted, EmitError>, Misunderstood> {
    let [nsp, filter, Value::String(event), args @ ..] = args else { return Err(Misunderstood) };
    let args = Args::from_values(args).map_err(|_| Misunderstood)?;
    Ok(target(socket, nsp, Some(filter))?.emit(event, args))
}

/// `join(nsp, room, filter)`
fn join(socket: &Socket, args: &[Value]) -> Result<Result<Emitted, EmitError>, Misunderstood> {
    let [nsp, room, filter @ ..] = args else { return Err(Misunderstood) };
    Ok(target(socket, nsp, filter.first())?.sockets_join(names(room)?))
}

/// `leave(nsp, room, filter)`
fn leave(socket: &Socket, args: &[Value]) -> Result<Result<Emitted, EmitError>, Misunderstood> {
    let [nsp, room, filter @ ..] = args else { return Err(Misunderstood) };
    Ok(target(socket, nsp, filter.first())?.sockets_leave(names(room)?))
}

/// `_disconnect(nsp, close, filter)`
fn disconnect(socket: &Socket, args: &[Value]) -> Result<Result<Emitted, EmitError>, Misunderstood> {
    let [nsp, close, filter @ ..] = args else { return Err(Misunderstood) };
    Ok(target(socket, nsp, filter.first())?.disconnect_sockets(*close == Value::Bool(true)))
}

/// Whom it is for: the sockets of a room, or one by its id, or all of the namespace. No namespace is made for it unless
/// a pattern has such; its sockets may be on other servers.
fn target(socket: &Socket, nsp: &Value, filter: Option<&Value>) -> Result<Broadcast, Misunderstood> {
    let server = server_of(socket).ok_or(Misunderstood)?;
    let namespace = nsp.as_str().and_then(|name| server.0.find(name)).ok_or(Misunderstood)?;
    match filter {
        None | Some(Value::Null) => Ok(namespace.everyone()),
        Some(Value::String(room)) if room.is_empty() => Ok(namespace.everyone()),
        Some(filter) => Ok(namespace.to(names(filter)?)),
    }
}

fn names(rooms: &Value) -> Result<Vec<String>, Misunderstood> {
    let rooms = match rooms {
        Value::Array(rooms) => rooms,
        room => std::slice::from_ref(room),
    };
    rooms.iter().map(|room| room.as_str().map(str::to_owned).ok_or(Misunderstood)).collect()
}
