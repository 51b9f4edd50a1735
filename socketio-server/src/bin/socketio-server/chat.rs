//! What the page and the server say to each other.
//!
//! | from | event | argument | answer |
//! |---|---|---|---|
//! | page | `join` | a room's name | the rooms the socket is in, or `{ error }` |
//! | page | `leave` | a room's name | the same |
//! | page | `chat` | `{ name, text, room? }` | `{ sent: true }` or `{ error }` |
//! | page | `latency` | | `true`: the page measures how long that takes |
//! | server | `welcome` | `{ version, joined, url, key }`, see [`About`] | |
//! | server | `chat` | `{ name, text, room? }` | |
//! | server | `count` | how many sockets are connected, on all servers | |
//!
//! Whatever else arrives at the page comes from emitters and from other servers. A page that comes back to its session is
//! sent the events that it missed before `welcome`.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socketio_server::{Data, Server, Socket};
use tokio::sync::Notify;

/// What a page is told about its server, so that it can say how to reach it from a terminal.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct About {
    pub(crate) version: &'static str,
    /// What carries events of emitters to this server.
    pub(crate) joined: Joined,
    /// Where the built-in bus listens. The address of a Redis is nobody's business.
    pub(crate) url: Option<String>,
    /// The prefix of the channels.
    pub(crate) key: String,
}

/// What carries events of emitters to a server.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Joined {
    Redis,
    Bus,
    Nothing,
}

/// Serves pages on `io`. What keeps the count lives until the returned future is dropped.
pub(crate) fn serve(io: &Server, about: About) -> impl Future<Output = ()> + Send + 'static {
    let changed = Arc::new(Notify::new());
    let about = Arc::new(about);

    let news = changed.clone();
    io.on_connection(async move |socket: Socket| {
        if let Err(error) = socket.emit("welcome", &*about) {
            tracing::debug!(%error, "a page left before it was welcomed");
        }
        news.notify_one();
    });
    let news = changed.clone();
    io.on_disconnect(async move |_socket, _reason| news.notify_one());

    io.on("join", async |socket: Socket, Data(room): Data<String>| join(&socket, &room));
    io.on("leave", async |socket: Socket, Data(room): Data<String>| {
        if **socket.id() != *room {
            socket.leave(&room);
        }
        rooms(&socket)
    });
    let chat = io.clone();
    io.on("chat", async move |socket: Socket, Data(message): Data<Message>| send(&chat, &socket, &message));

    io.on("latency", async || true);

    let here = io.clone();
    io.on_server_event(HOW_MANY, async move || here.local_count());
    count(io.clone(), changed)
}

/// Tells everyone how many are connected, whenever that changes.
///
/// Many changes at once are told as one. Each server tells of its own changes, and looks now and then
/// whether another has left without a word.
async fn count(io: Server, changed: Arc<Notify>) {
    let mut told = None;
    loop {
        let news = tokio::time::timeout(LOOK_AGAIN, changed.notified()).await.is_ok();
        tokio::time::sleep(GATHER).await;
        let elsewhere: usize = match io.server_side_emit_with_ack::<usize>(HOW_MANY, ()).await {
            Ok(answers) => answers.received.iter().sum(),
            Err(error) => {
                tracing::debug!(%error, "other servers were not counted");
                0
            }
        };
        let count = io.local_count() + elsewhere;
        if news || told != Some(count) {
            told = Some(count);
            if let Err(error) = io.emit("count", count) {
                tracing::debug!(%error, "the count was not told to all");
            }
        }
    }
}

/// What somebody said, to all or to a room.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Message {
    #[serde(default)]
    name: String,
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    room: Option<String>,
}

/// What the page is answered.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Answer {
    Rooms(Vec<String>),
    Sent { sent: bool },
    Refused { error: &'static str },
}

fn join(socket: &Socket, room: &str) -> Answer {
    if let Err(error) = check_room(room) {
        return Answer::Refused { error };
    }
    if socket.rooms().len() > MAX_ROOMS {
        return Answer::Refused { error: "You are in many rooms already: leave one first." };
    }
    socket.join(room);
    rooms(socket)
}

/// The rooms that the page knows of: all but the socket's own.
fn rooms(socket: &Socket) -> Answer {
    let rooms = socket.rooms();
    let mut rooms: Vec<_> = rooms.iter().filter(|room| *room != socket.id()).map(ToString::to_string).collect();
    rooms.sort();
    Answer::Rooms(rooms)
}

fn send(io: &Server, socket: &Socket, message: &Message) -> Answer {
    if let Err(error) = check_message(message) {
        return Answer::Refused { error };
    }
    let sent = match &message.room {
        Some(room) if !socket.rooms().iter().any(|joined| joined == room) => {
            return Answer::Refused { error: "You are not in that room." };
        }
        Some(room) => io.to(room).emit("chat", message),
        None => io.emit("chat", message),
    };
    if let Err(error) = sent {
        tracing::warn!(%error, "a message did not reach everyone");
    }
    Answer::Sent { sent: true }
}

/// A socket is alone in the room of its own id. Nobody else may enter it and hear what is sent there.
fn check_room(room: &str) -> Result<(), &'static str> {
    let like_an_id =
        room.len() == ID_LENGTH && room.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    match room.chars().count() {
        0 => Err("A room needs a name."),
        1..=64 if !like_an_id => Ok(()),
        1..=64 => Err("That looks like the id of a socket: choose another name."),
        _ => Err("A room's name has at most 64 characters."),
    }
}

fn check_message(message: &Message) -> Result<(), &'static str> {
    if message.text.trim().is_empty() {
        return Err("There is nothing to send.");
    }
    if message.text.chars().count() > 1_000 || message.name.chars().count() > 32 {
        return Err("At most 1,000 characters, and 32 for a name.");
    }
    Ok(())
}

/// How servers ask each other for the number of their sockets.
const HOW_MANY: &str = "page:count";

/// Changes within this time are told as one.
const GATHER: Duration = Duration::from_millis(100);

/// How often to look whether the number has changed although nobody said so.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// How many rooms a page may join.
const MAX_ROOMS: usize = 20;

/// The length of a socket's id.
const ID_LENGTH: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_have_names_that_are_no_ids() {
        for room in ["news", "a room", "ünïcode", &"x".repeat(64), "exactly 20 letters !"] {
            assert_eq!(check_room(room), Ok(()), "{room}");
        }
        for room in ["", &"x".repeat(65), "Ke7kzHmjcH6yrLJYAAAB", "_-aaaaaaaaaaaaaaaaaa"] {
            assert!(check_room(room).is_err(), "{room}");
        }
    }

    #[test]
    fn messages_have_something_to_say_and_an_end() {
        let message = |name: &str, text: &str| Message { name: name.into(), text: text.into(), room: None };
        assert_eq!(check_message(&message("ana", "hi")), Ok(()));
        assert_eq!(check_message(&message("", &"x".repeat(1_000))), Ok(()));
        for (name, text) in [("ana", ""), ("ana", " \n"), ("ana", &"x".repeat(1_001)), (&"x".repeat(33), "hi")] {
            assert!(check_message(&message(name, text)).is_err(), "{name} {text}");
        }
    }

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).expect("plain data")
    }

    #[test]
    fn what_is_said_has_the_form_the_page_reads() {
        let about = About {
            version: "1.2.3",
            joined: Joined::Bus,
            url: Some("redis://127.0.0.1:6379".into()),
            key: "socket.io".into(),
        };
        assert_eq!(
            json(&about),
            r#"{"version":"1.2.3","joined":"bus","url":"redis://127.0.0.1:6379","key":"socket.io"}"#
        );
        assert_eq!(json(&Answer::Rooms(vec!["a".into()])), r#"["a"]"#);
        assert_eq!(json(&Answer::Sent { sent: true }), r#"{"sent":true}"#);
        assert_eq!(json(&Answer::Refused { error: "no" }), r#"{"error":"no"}"#);
    }
}
