//! A socket as an adapter sees it: an address, and what to tell others about it.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytestring::ByteString;
use serde::Serialize;
use socketio_protocol::cluster;
use socketio_protocol::socket::{Args, Value};

use super::recovery::Data;
use crate::engine::Connection;
use crate::handshake::Handshake;

/// One socket of a namespace, as an address: its id, the connection it is reached through, and a mailbox for what is to
/// be done with it.
#[derive(Debug)]
pub struct Member {
    id: ByteString,
    connection: Arc<Connection>,
    handshake: Arc<Handshake>,
    data: RwLock<Option<Arc<dyn Stored>>>,
    commands: Mutex<Vec<Command>>,
}

/// What an adapter wants done with a socket. Carried out by the task of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Disconnect it; with `close` the connection under it as well.
    Disconnect { close: bool },
}

/// What an application keeps with a socket: any type that can be written down for other servers.
pub(super) trait Stored: Any + Send + Sync {
    fn value(&self) -> Value;
    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl std::fmt::Debug for dyn Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stored")
    }
}

impl<T: Serialize + Send + Sync + 'static> Stored for T {
    fn value(&self) -> Value {
        // A type that cannot be written is shown as nothing: asking about a socket must not fail for its data.
        Args::new_single(self).ok().and_then(|args| args.value().ok().flatten()).unwrap_or(Value::Null)
    }

    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Member {
    pub(crate) fn new(id: ByteString, connection: Arc<Connection>, handshake: Arc<Handshake>) -> Self {
        Self { id, connection, handshake, data: RwLock::default(), commands: Mutex::default() }
    }

    /// The socket's id.
    pub fn id(&self) -> &ByteString {
        &self.id
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub(crate) fn handshake(&self) -> &Arc<Handshake> {
        &self.handshake
    }

    pub(crate) fn set_data<T: Serialize + Send + Sync + 'static>(&self, data: T) {
        let data: Arc<dyn Stored> = Arc::new(data);
        *self.data.write().unwrap_or_else(PoisonError::into_inner) = Some(data);
    }

    /// What is kept, without its type.
    pub(super) fn stored(&self) -> Option<Arc<dyn Stored>> {
        self.data.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what another socket kept.
    pub(crate) fn restore(&self, data: Option<Data>) {
        *self.data.write().unwrap_or_else(PoisonError::into_inner) = data.map(|data| data.0);
    }

    pub(crate) fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.stored()?.any().downcast().ok()
    }

    pub(crate) fn data_value(&self) -> Value {
        self.stored().map_or_else(|| Value::Object(Default::default()), |data| data.value())
    }

    /// Has the task of the connection do something with the socket.
    pub(crate) fn order(&self, command: Command) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push(command);
        self.connection.nudge();
    }

    /// What is to be done.
    pub(crate) fn take_commands(&self) -> Vec<Command> {
        std::mem::take(&mut *self.commands.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What other servers are told about the socket.
    pub(crate) fn describe(&self, rooms: Vec<ByteString>) -> cluster::RemoteSocket {
        cluster::RemoteSocket {
            id: self.id.to_string(),
            handshake: self.handshake.to_json(),
            rooms: rooms.iter().map(ToString::to_string).collect(),
            data: self.data_value(),
        }
    }
}
