//! A socket as an adapter sees it: an address, and what to tell others about it.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use socketio_protocol::cluster;
use socketio_protocol::socket::{Args, Value};

use super::Fields;
use super::recovery::Data;
use crate::engine::Connection;
use crate::handshake::Handshake;

/// One socket of a namespace, as an address: its id, the connection it is reached through, and a mailbox for what is to
/// be done with it.
#[derive(Debug)]
pub(crate) struct Member {
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
    /// Its client is on another server now.
    GiveWay,
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
    pub(crate) fn id(&self) -> &ByteString {
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

    pub(crate) fn data<T>(&self) -> Option<Arc<T>>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let stored = self.stored()?;
        if let Ok(data) = stored.clone().any().downcast() {
            return Some(data);
        }
        // What another server has written has no type until somebody asks.
        let written = stored.clone().any().downcast::<Value>().ok()?;
        let data = Arc::new(Args::new_single(&*written).ok()?.value::<T>().ok()??);
        self.replace(Some(&stored), data.clone());
        Some(data)
    }

    /// Keeps `data`, if what was kept is still `old`.
    fn replace(&self, old: Option<&Arc<dyn Stored>>, data: Arc<dyn Stored>) -> bool {
        let mut kept = self.data.write().unwrap_or_else(PoisonError::into_inner);
        let unchanged = match (&*kept, old) {
            (Some(kept), Some(old)) => Arc::ptr_eq(kept, old),
            (None, None) => true,
            _ => false,
        };
        if unchanged {
            *kept = Some(data);
        }
        unchanged
    }

    pub(crate) fn update_data<T>(&self, mut change: impl FnMut(&mut T)) -> Arc<T>
    where
        T: Serialize + DeserializeOwned + Clone + Default + Send + Sync + 'static,
    {
        loop {
            // In this order: what is read second is no older than what is compared with.
            let old = self.stored();
            let typed = self.data::<T>();
            let mut data = typed.map_or_else(T::default, |data| T::clone(&data));
            change(&mut data);
            let data = Arc::new(data);
            if self.replace(old.as_ref(), data.clone()) {
                return data;
            }
        }
    }

    /// Changes what is kept as RFC 7396 says: members that are null go, objects are merged, all else is replaced.
    pub(crate) fn patch_data(&self, patch: &Value) {
        loop {
            let old = self.stored();
            let mut data = old.as_ref().map_or_else(|| Value::Object(Vec::new()), |data| data.value());
            merge(&mut data, patch);
            if self.replace(old.as_ref(), Arc::new(data)) {
                return;
            }
        }
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
    pub(crate) fn describe(&self, rooms: &[ByteString], fields: Fields) -> cluster::RemoteSocket {
        cluster::RemoteSocket {
            id: self.id.to_string(),
            handshake: if fields.handshake { self.handshake.to_json() } else { serde_json::Value::Null },
            rooms: rooms.iter().map(ToString::to_string).collect(),
            data: if fields.data { self.data_value() } else { Value::Null },
        }
    }
}

/// JSON Merge Patch, RFC 7396.
fn merge(data: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *data = patch.clone();
        return;
    };
    if !matches!(data, Value::Object(_)) {
        *data = Value::Object(Vec::new());
    }
    let Value::Object(members) = data else { return };
    for (name, change) in changes {
        match (change, members.iter().position(|(key, _)| key == name)) {
            (Value::Null, Some(at)) => drop(members.remove(at)),
            (Value::Null, None) => {}
            (change, Some(at)) => merge(&mut members[at].1, change),
            (change, None) => {
                let mut member = Value::Null;
                merge(&mut member, change);
                members.push((name.clone(), member));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_changes_what_it_names() {
        for (data, patch, expected) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b","b":1}"#, r#"{"a":null}"#, r#"{"b":1}"#),
            (r#"{"a":[1]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":{"b":"c","d":2}}"#, r#"{"a":{"b":"x","d":null}}"#, r#"{"a":{"b":"x"}}"#),
            (r#"[1,2]"#, r#"{"a":{"b":null,"c":1}}"#, r#"{"a":{"c":1}}"#),
            (r#"{"a":1}"#, r#"[3]"#, r#"[3]"#),
            (r#"{"a":1}"#, r#"null"#, r#"null"#),
        ] {
            let mut merged: Value = serde_json::from_str(data).unwrap();
            merge(&mut merged, &serde_json::from_str(patch).unwrap());
            assert_eq!(serde_json::to_string(&merged).unwrap(), expected, "{data} and {patch}");
        }
    }
}
