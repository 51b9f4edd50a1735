//! Whom a packet or an order is for.

use std::time::Duration;

use bytestring::ByteString;
use socketio_protocol::NEVER;
use socketio_protocol::cluster::{Flags, Options};

use super::DEFAULT_ACK_TIMEOUT;
use super::rooms::Selection;

/// Rooms, exceptions, and how to send.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// # let mut client = TestClient::connect(&io).await;
/// # let socket = io.local_socket(client.id()).unwrap();
/// use socketio_server::adapter::Target;
///
/// let mut red = Target::default();
/// red.add_rooms(["red".into()]);
/// red.except = vec!["muted".into()];
/// socket.join("red");
/// assert_eq!(io.adapter().local().ids(&red), [client.id()]);
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// The sockets of any of these rooms. `None` is every socket of the namespace, an empty list is nobody.
    pub rooms: Option<Vec<ByteString>>,
    /// But none of the sockets of these rooms.
    pub except: Vec<ByteString>,
    /// Only sockets of this server.
    pub local: bool,
    /// Clients that cannot take the packet now do without it.
    pub volatile: bool,
    /// Whether the packet may be compressed; the server's default when `None`.
    pub compress: Option<bool>,
    /// How long to wait for answers; the server's default when `None`.
    pub timeout: Option<Duration>,
}

impl Target {
    /// One socket, by its id.
    ///
    /// ```
    /// # use socketio_server::*;
    /// # use socketio_server::testing::TestClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let io = Server::new();
    /// # let mut client = TestClient::connect(&io).await;
    /// use socketio_server::adapter::Target;
    ///
    /// assert_eq!(io.adapter().local().ids(&Target::socket(client.id())), [client.id()]);
    /// assert!(io.adapter().local().ids(&Target::socket("nobody")).is_empty());
    /// # }
    /// ```
    pub fn socket(id: impl Into<ByteString>) -> Self {
        Self { rooms: Some(vec![id.into()]), ..Self::default() }
    }

    /// Adds rooms to choose from.
    ///
    /// ```
    /// use socketio_server::adapter::Target;
    ///
    /// let mut target = Target::default();
    /// target.add_rooms(["red".into(), "blue".into(), "red".into()]);
    /// assert_eq!(target.rooms.unwrap().len(), 2, "each once");
    /// ```
    pub fn add_rooms(&mut self, rooms: impl IntoIterator<Item = ByteString>) {
        let list = self.rooms.get_or_insert_default();
        for room in rooms {
            if !list.contains(&room) {
                list.push(room);
            }
        }
    }

    pub(crate) fn selection(&self) -> Selection<'_> {
        Selection { rooms: self.rooms.as_deref(), except: &self.except }
    }

    /// How long clients may take to answer; short enough to be added to a moment.
    pub(crate) fn ack_timeout(&self) -> Duration {
        self.timeout.unwrap_or(DEFAULT_ACK_TIMEOUT).min(NEVER)
    }

    /// Whether nobody can be meant, on any server.
    pub(crate) fn is_nobody(&self) -> bool {
        self.rooms.as_ref().is_some_and(Vec::is_empty)
    }

    /// The target as it travels to other servers, where an empty list is everybody: do not send one that
    /// [is nobody](Target::is_nobody).
    pub(crate) fn to_options(&self) -> Options {
        let names = |rooms: &[ByteString]| rooms.iter().map(ToString::to_string).collect();
        Options {
            rooms: names(self.rooms.as_deref().unwrap_or_default()),
            except: names(&self.except),
            flags: Flags {
                volatile: self.volatile,
                compress: self.compress,
                timeout: self.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
                ..Flags::default()
            },
        }
    }

    pub(crate) fn from_options(options: Options) -> Self {
        let names = |rooms: Vec<String>| rooms.into_iter().map(ByteString::from).collect::<Vec<_>>();
        Self {
            rooms: (!options.rooms.is_empty()).then(|| names(options.rooms)),
            except: names(options.except),
            local: true,
            volatile: options.flags.volatile,
            compress: options.flags.compress,
            timeout: options.flags.timeout.map(Duration::from_millis),
        }
    }
}
