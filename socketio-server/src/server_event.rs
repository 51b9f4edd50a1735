//! Events that the servers of a cluster send each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::Serialize;
use socketio_protocol::socket::Args;
use tokio::sync::oneshot;

use crate::adapter::ServerEvent;
use crate::handler::Event;

pub(crate) type ServerHandler = Arc<dyn Fn(Event, ServerAnswer) + Send + Sync>;

/// The way to answer another server. Only the first answer leaves; dropped without one, the asker is told nothing.
#[derive(Debug, Clone)]
pub struct ServerAnswer(Option<Arc<Mutex<Option<oneshot::Sender<Args>>>>>);

impl ServerAnswer {
    /// Whether the other server wants an answer.
    pub fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Answers with one value. Does nothing if no answer is wanted, or one was given.
    pub fn send(&self, value: impl Serialize) {
        let Some(slot) = &self.0 else { return };
        let Some(sender) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        match Args::new_list(&(value,)) {
            Ok(args) => drop(sender.send(args)), // The asker has given up: fine.
            Err(error) => tracing::warn!(%error, "the answer to another server cannot be written"),
        }
    }
}

/// The handlers of a namespace for events of other servers.
#[derive(Default)]
pub(crate) struct ServerHandlers(RwLock<HashMap<Box<str>, Vec<ServerHandler>>>);

impl ServerHandlers {
    pub(crate) fn add(&self, event: &str, handler: ServerHandler) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).entry(event.into()).or_default().push(handler);
    }

    fn of(&self, event: &str) -> Vec<ServerHandler> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(event).cloned().unwrap_or_default()
    }

    /// Runs the handlers of an event that are registered with any of `all`, in order.
    pub(crate) fn run<'a>(all: impl IntoIterator<Item = &'a Arc<Self>>, event: ServerEvent) {
        let answer = ServerAnswer(event.answer.map(|sender| Arc::new(Mutex::new(Some(sender)))));
        let event = Event::of(event.args);
        for handler in all.into_iter().flat_map(|handlers| handlers.of(&event.name())) {
            let run = std::panic::AssertUnwindSafe(|| handler(event.clone(), answer.clone()));
            if std::panic::catch_unwind(run).is_err() {
                tracing::error!(event = %event.name(), "a handler of a server's event panicked");
            }
        }
    }
}
