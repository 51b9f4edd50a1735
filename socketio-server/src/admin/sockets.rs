//! A socket as the Admin UI is told of it, wherever in the cluster it is.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use serde::Serialize;
use socketio_protocol::cluster::RemoteSocket;
use socketio_protocol::socket::Value;

use crate::adapter::{Answers, Fields};
use crate::engine::Connection;
use crate::handshake::civil;
use crate::namespace::Namespace;
use crate::remote::RemoteSocketHandle;
use crate::server::Server;

/// What instrumented servers tell each other of the connection under a socket, as `_admin` in its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectionInfo {
    client_id: String,
    transport: String,
}

/// How much of a session id is shown: enough to tell connections apart, too little to take one over.
const CLIENT_ID: usize = 12;

impl ConnectionInfo {
    fn of(connection: &Connection) -> Self {
        let client_id = connection.id().chars().take(CLIENT_ID).collect();
        Self { client_id, transport: connection.transport().as_str().to_owned() }
    }
}

/// Adds what others are to know of the connection under a socket. Data that is no object has no place for it.
pub(crate) fn add_connection(data: &mut Value, connection: &Connection) {
    if let Value::Object(members) = data {
        let ConnectionInfo { client_id, transport } = ConnectionInfo::of(connection);
        let info = [("clientId", client_id), ("transport", transport)];
        let info = info.into_iter().map(|(name, text)| (name.to_owned(), Value::String(text))).collect();
        members.push(("_admin".to_owned(), Value::Object(info)));
    }
}

/// Takes it out again: it is not the application's.
pub(crate) fn take_connection(mut socket: RemoteSocket) -> (RemoteSocket, Option<ConnectionInfo>) {
    let Value::Object(members) = &mut socket.data else { return (socket, None) };
    let Some(at) = members.iter().position(|(name, _)| name == "_admin") else { return (socket, None) };
    let (_, info) = members.remove(at);
    let text = |name| info.get(name).and_then(Value::as_str).map(str::to_owned);
    let info = text("clientId").zip(text("transport"));
    (socket, info.map(|(client_id, transport)| ConnectionInfo { client_id, transport }))
}

/// The reference's `SerializedSocket`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SerializedSocket<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'a str>,
    nsp: &'a str,
    data: &'a Value,
    handshake: serde_json::Value,
    rooms: &'a [String],
}

impl<'a> SerializedSocket<'a> {
    pub(crate) fn new(nsp: &'a str, socket: &'a RemoteSocket, connection: Option<&'a ConnectionInfo>) -> Self {
        Self {
            id: &socket.id,
            client_id: connection.map(|connection| &*connection.client_id),
            transport: connection.map(|connection| &*connection.transport),
            nsp,
            data: &socket.data,
            handshake: shown_handshake(&socket.handshake),
            rooms: &socket.rooms,
        }
    }
}

/// A handshake without what the client keeps secret, and with the address that a proxy tells.
fn shown_handshake(handshake: &serde_json::Value) -> serde_json::Value {
    const SHOWN: [&str; 7] = ["headers", "query", "issued", "secure", "time", "url", "xdomain"];
    let shown = SHOWN.iter().filter_map(|name| Some(((*name).to_owned(), handshake.get(name)?.clone())));
    let mut shown: serde_json::Map<_, _> = shown.collect();
    let header = |name| handshake.get("headers").and_then(|headers| headers.get(name));
    let address = header("cf-connecting-ip").or_else(|| header("x-forwarded-for")).or_else(|| handshake.get("address"));
    shown.insert("address".to_owned(), address.cloned().unwrap_or_default());
    shown.into()
}

/// The sockets of all namespaces, on all servers.
#[derive(Debug)]
pub(super) struct AllSockets(Vec<RemoteSocketHandle>);

impl Serialize for AllSockets {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(RemoteSocketHandle::serialized))
    }
}

/// All that is known: servers that do not answer in time are left out, and when none can be asked, all but this.
pub(super) async fn all(server: &Server) -> AllSockets {
    let asked = server.namespaces().into_iter().map(async |namespace: Namespace| {
        let answers = namespace.fetch_sockets().await.unwrap_or_else(|error| {
            tracing::warn!(nsp = %namespace.name(), %error, "the Admin UI is told of this server's sockets alone");
            let here = namespace.adapter().local().describe(&Default::default(), Fields::ALL);
            let received = here.into_iter().map(|socket| RemoteSocketHandle::new(namespace.clone(), socket)).collect();
            Answers { received, asked: 1, missing: 0 }
        });
        if answers.missing > 0 {
            let (asked, missing) = (answers.asked, answers.missing);
            tracing::warn!(nsp = %namespace.name(), asked, missing, "the Admin UI is not told of all sockets");
        }
        answers.received
    });
    AllSockets(join_all(asked).await.into_iter().flatten().collect())
}

/// As JavaScript writes a time in JSON: ISO 8601, in UTC, with milliseconds.
pub(super) fn iso(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs(), since.subsec_millis());
    let (year, month, day) = civil(seconds / 86_400);
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn times_are_written_as_javascript_does() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_007, "2000-02-29T00:00:00.007Z"),
            (1_795_564_799_999, "2026-11-24T23:59:59.999Z"),
        ] {
            assert_eq!(iso(UNIX_EPOCH + Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn what_the_client_keeps_secret_is_not_shown_and_the_proxy_is_believed() {
        let mut handshake = json!({
            "headers": { "x-forwarded-for": "192.0.2.1", "cf-connecting-ip": "192.0.2.2" },
            "auth": { "token": "secret" }, "address": "127.0.0.1", "query": {}, "issued": 1, "secure": false,
            "time": "t", "url": "/", "xdomain": false,
        });
        let shown = shown_handshake(&handshake);
        assert_eq!(shown.get("auth"), None);
        assert_eq!(shown.as_object().unwrap().len(), 8);
        assert_eq!(shown["address"], "192.0.2.2");
        handshake["headers"].as_object_mut().unwrap().remove("cf-connecting-ip");
        assert_eq!(shown_handshake(&handshake)["address"], "192.0.2.1");
        handshake["headers"] = json!({});
        assert_eq!(shown_handshake(&handshake)["address"], "127.0.0.1");
    }
}
