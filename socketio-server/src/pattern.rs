//! Namespaces that are made when a client asks for them.

use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard, Weak};

use bytestring::ByteString;
use serde::Serialize;

use crate::error::{ConnectError, DisconnectReason, EmitError};
use crate::handler::{Event, Handler, erase};
use crate::handlers::Handlers;
use crate::namespace::Namespace;
use crate::server::ServerInner;
use crate::socket::{Socket, erase_disconnect};

/// All namespaces whose names pass a test; see [`Server::of_matching`](crate::Server::of_matching). Cheap to clone.
///
/// What is registered here is for the sockets of each of them, whether it was made before or is made later, and runs
/// ahead of what is registered with the one namespace.
#[derive(Clone)]
#[doc(alias = "ParentNamespace")]
pub struct NamespacePattern(Arc<Inner>);

struct Inner {
    server: Weak<ServerInner>,
    matches: Box<dyn Fn(&str) -> bool + Send + Sync>,
    handlers: Arc<RwLock<Handlers>>,
}

impl NamespacePattern {
    pub(crate) fn new(server: Weak<ServerInner>, matches: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { server, matches: Box::new(matches), handlers: Arc::default() }))
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        (self.0.matches)(name)
    }

    pub(crate) fn handlers(&self) -> &Arc<RwLock<Handlers>> {
        &self.0.handlers
    }

    fn write(&self) -> RwLockWriteGuard<'_, Handlers> {
        self.0.handlers.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The namespaces that have been made and still are.
    pub fn namespaces(&self) -> Vec<Namespace> {
        let server = self.0.server.upgrade();
        server.map(|server| server.made_by(self.handlers())).unwrap_or_default()
    }

    /// Sends `event` to every socket of each namespace that there is now; see
    /// [`Broadcast::emit`](crate::Broadcast::emit).
    ///
    /// # Errors
    ///
    /// As [`Broadcast::emit`](crate::Broadcast::emit), the last one that occurred.
    pub fn emit(&self, event: &str, args: impl Serialize) -> Result<(), EmitError> {
        let mut result = Ok(());
        for namespace in self.namespaces() {
            if let Err(error) = namespace.emit(event, &args) {
                result = Err(error);
            }
        }
        result
    }

    /// As [`Namespace::on_connection`].
    pub fn on_connection<F, Fut>(&self, handler: F) -> &Self
    where
        F: FnOnce(Socket) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.write().on_connection(handler);
        self
    }

    /// As [`Namespace::on`].
    pub fn on<M>(&self, event: &str, handler: impl Handler<M>) -> &Self {
        self.write().listeners.on(event, erase(handler), false);
        self
    }

    /// As [`Namespace::on_any`].
    pub fn on_any<M>(&self, handler: impl Handler<M>) -> &Self {
        self.write().listeners.on_any(erase(handler));
        self
    }

    /// As [`Namespace::off`].
    pub fn off(&self, event: &str) -> &Self {
        self.write().listeners.off(event);
        self
    }

    /// As [`Namespace::on_disconnect`].
    pub fn on_disconnect<F, Fut>(&self, handler: F) -> &Self
    where
        F: FnOnce(Socket, DisconnectReason) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.write().listeners.disconnect.push(erase_disconnect(handler));
        self
    }

    /// As [`Namespace::on_disconnecting`].
    pub fn on_disconnecting<F, Fut>(&self, handler: F) -> &Self
    where
        F: FnOnce(Socket, DisconnectReason) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.write().listeners.disconnecting.push(erase_disconnect(handler));
        self
    }

    /// As [`Namespace::use_packet`].
    #[doc(alias = "use")]
    pub fn use_packet(
        &self,
        middleware: impl Fn(&Socket, &Event) -> Result<(), String> + Send + Sync + 'static,
    ) -> &Self {
        self.write().listeners.packet_middlewares.push(Arc::new(middleware));
        self
    }

    /// As [`Namespace::middleware`]. It can look at the name: `socket.namespace().name()`.
    #[doc(alias = "use")]
    pub fn middleware<F, Fut>(&self, middleware: F) -> &Self
    where
        F: FnOnce(Socket) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), ConnectError>> + Send + 'static,
    {
        self.write().middleware(middleware);
        self
    }
}

impl std::fmt::Debug for NamespacePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NamespacePattern").finish_non_exhaustive()
    }
}

/// The name of a namespace as it travels: with a slash in front.
pub(crate) fn with_slash(name: &str) -> ByteString {
    match name {
        "" => ByteString::from_static("/"),
        name if name.starts_with('/') => name.into(),
        name => format!("/{name}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;

    fn boards(cleanup: bool) -> (Server, NamespacePattern) {
        let io = Server::builder().cleanup_empty_child_namespaces(cleanup).build();
        io.of("/board-static");
        let pattern = io.of_matching(|name| name.starts_with("/board-"));
        (io, pattern)
    }

    #[test]
    fn every_way_to_a_name_leads_through_the_patterns() {
        let (io, pattern) = boards(false);
        let later = io.of_matching(|_| true);
        assert!(pattern.namespaces().is_empty());
        let asked = io.0.enter(&"/board-1".into()).unwrap();
        assert_eq!(pattern.namespaces(), std::slice::from_ref(&asked));
        assert_eq!(io.of("board-1"), asked);
        let made = io.of("/board-2");
        assert!(pattern.namespaces().contains(&made), "the application asks as clients do");
        assert!(!pattern.namespaces().contains(&io.of("/board-static")), "it was there before");
        assert_eq!(io.0.enter(&"/other".into()).as_ref(), later.namespaces().first());
        let (io, _) = boards(false);
        assert_eq!(io.0.enter(&"/other".into()), None);
    }

    #[test]
    fn what_is_registered_with_a_pattern_later_is_for_earlier_namespaces_too() {
        let (io, pattern) = boards(false);
        let board = io.of("/board-1");
        pattern.middleware(async |_| Ok(())).on_connection(async |_| {});
        board.middleware(async |_| Ok(()));
        assert_eq!((board.middlewares().len(), board.connection_handlers().len()), (2, 1));
        assert_eq!(io.of("/board-2").middlewares().len(), 1);
        assert_eq!(io.of("/board-static").middlewares().len(), 0);
    }

    #[test]
    fn a_namespace_goes_with_its_last_guest_if_a_pattern_made_it() {
        for cleanup in [true, false] {
            let (io, pattern) = boards(cleanup);
            let [first, second] = [(); 2].map(|()| io.0.enter(&"/board-1".into()).unwrap());
            let fixed = io.0.enter(&"/board-static".into()).unwrap();
            first.guest_left();
            fixed.guest_left();
            assert_eq!(pattern.namespaces().len(), 1, "someone is in, or on the way in");
            second.guest_left();
            assert_eq!(pattern.namespaces().is_empty(), cleanup);
            assert_eq!(io.of("/board-static"), fixed);
            assert_eq!(io.of("/board-1") == first, !cleanup);
        }
    }
}
