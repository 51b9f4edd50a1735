//! Rooms that appear and go on this server, and who comes and leaves: for who wants to know.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytestring::ByteString;

/// Something that happened to a room, on this server. See [`Namespace::on_room_event`](crate::Namespace::on_room_event).
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// use std::sync::{Arc, Mutex};
///
/// let seen = Arc::new(Mutex::new(Vec::new()));
/// # let log = seen.clone();
/// io.on_room_event(move |event| match event {
///     RoomEvent::Create { room } => log.lock().unwrap().push(format!("+{room}")),
///     RoomEvent::Delete { room } => log.lock().unwrap().push(format!("-{room}")),
///     _ => {}
/// });
/// # let client = TestClient::connect(&io).await;
/// # let socket = io.local_socket(client.id()).unwrap();
/// socket.join("red");
/// socket.leave("red");
/// assert!(seen.lock().unwrap().ends_with(&["+red".into(), "-red".into()]));
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// A room has its first socket here.
    Create {
        /// Its name.
        room: ByteString,
    },
    /// A socket has joined a room.
    Join {
        /// The room's name.
        room: ByteString,
        /// The socket's id.
        id: ByteString,
    },
    /// A socket has left a room.
    Leave {
        /// The room's name.
        room: ByteString,
        /// The socket's id.
        id: ByteString,
    },
    /// A room has no socket here any more.
    Delete {
        /// Its name.
        room: ByteString,
    },
}

pub(crate) type RoomHook = Arc<dyn Fn(&RoomEvent) + Send + Sync>;

/// Who is told. Mostly nobody, which costs a look at a flag for each join.
#[derive(Default)]
pub(super) struct RoomHooks {
    any: AtomicBool,
    hooks: RwLock<Vec<RoomHook>>,
}

impl RoomHooks {
    pub(super) fn add(&self, hook: RoomHook) {
        self.hooks.write().unwrap_or_else(PoisonError::into_inner).push(hook);
        self.any.store(true, Ordering::Release);
    }

    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Tells it; to be called under no lock but within [`tell_after`]. `event` is made only if somebody wants to know.
    pub(super) fn tell(&self, event: impl FnOnce() -> RoomEvent) {
        if !self.any() {
            return;
        }
        let hooks = self.hooks.read().unwrap_or_else(PoisonError::into_inner).clone();
        let news = (hooks, event());
        let now = LATER.with_borrow_mut(|later| match later {
            Some(later) => {
                later.push(news);
                None
            }
            None => Some(news),
        });
        if let Some((hooks, event)) = now {
            tell_all(&hooks, &event);
        }
    }
}

/// An event, and who is to be told.
type News = (Vec<RoomHook>, RoomEvent);

thread_local! {
    /// What is told once [`tell_after`] is through with its work; none while it has none.
    static LATER: RefCell<Option<Vec<News>>> = const { RefCell::new(None) };
}

/// Does work under a lock of its own, and tells what happened to rooms meanwhile when it is done: a hook may send, which
/// takes that lock.
pub(crate) fn tell_after<T>(work: impl FnOnce() -> T) -> T {
    if LATER.with_borrow(Option::is_some) {
        return work(); // Who began tells.
    }
    LATER.set(Some(Vec::new()));
    let _telling = Telling;
    work()
}

/// Tells what was put off, also when the work has panicked.
struct Telling;

impl Drop for Telling {
    fn drop(&mut self) {
        for (hooks, event) in LATER.take().into_iter().flatten() {
            tell_all(&hooks, &event);
        }
    }
}

fn tell_all(hooks: &[RoomHook], event: &RoomEvent) {
    for hook in hooks {
        if std::panic::catch_unwind(AssertUnwindSafe(|| hook(event))).is_err() {
            tracing::error!(?event, "who was told of a room panicked");
        }
    }
}

impl std::fmt::Debug for RoomHooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoomHooks").field("any", &self.any).finish_non_exhaustive()
    }
}
