//! Who may look: a password, and sessions for who has shown it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::AdminError;
use crate::error::ConnectError;
use crate::namespace::Namespace;
use crate::socket::Socket;

/// How long a session is good for, as in the reference's Redis store.
pub(super) const SESSION_LIFETIME: Duration = Duration::from_secs(86_400);

/// How many sessions are kept in memory; then the oldest goes.
const MAX_SESSIONS: usize = 10_000;

/// How many passwords are looked at at the same time: each takes a core for a while, and anybody may ask.
const CHECKS: usize = 2;

/// Where it is kept who has shown the password of the Admin UI, so that a page that is loaded again is let in.
///
/// The reference's Redis store keeps the key `socket.io-admin#<id>` with the value `1` for 86400 seconds; with one that
/// does the same, sessions are shared with Node.js servers.
///
/// ```
/// use socketio_server::admin::{AdminOptions, AdminSessions};
///
/// /// Nobody is remembered: each page that is loaded asks for the password.
/// #[derive(Debug)]
/// struct Never;
///
/// #[async_trait::async_trait]
/// impl AdminSessions for Never {
///     async fn exists(&self, _id: &str) -> bool {
///         false
///     }
///
///     async fn save(&self, _id: &str) {}
/// }
///
/// let options = AdminOptions::without_authentication().sessions(Never);
/// ```
#[async_trait]
pub trait AdminSessions: std::fmt::Debug + Send + Sync + 'static {
    /// Whether there is this session. If that cannot be found out, it is as if there were none.
    ///
    /// ```
    /// use socketio_server::admin::{AdminSessions, MemorySessions};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// assert!(!MemorySessions::default().exists("never saved").await);
    /// # }
    /// ```
    async fn exists(&self, id: &str) -> bool;

    /// Keeps a session. If that fails, the password has to be shown again.
    ///
    /// ```
    /// use socketio_server::admin::{AdminSessions, MemorySessions};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let sessions = MemorySessions::default();
    /// sessions.save("abc").await;
    /// assert!(sessions.exists("abc").await && !sessions.exists("abd").await);
    /// # }
    /// ```
    async fn save(&self, id: &str);
}

/// Sessions of this server alone: the last 10,000, each for a day.
///
/// ```
/// use socketio_server::admin::{AdminSessions, MemorySessions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let sessions = MemorySessions::default();
/// sessions.save("abc").await;
/// assert!(sessions.exists("abc").await);
/// # }
/// ```
#[derive(Debug, Default)]
pub struct MemorySessions(Mutex<HashMap<Box<str>, Instant>>);

#[async_trait]
impl AdminSessions for MemorySessions {
    async fn exists(&self, id: &str) -> bool {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(id).is_some_and(|since| since.elapsed() < SESSION_LIFETIME)
    }

    async fn save(&self, id: &str) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, since| since.elapsed() < SESSION_LIFETIME);
        if sessions.len() >= MAX_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, since)| **since).map(|(id, _)| id.clone());
            oldest.and_then(|oldest| sessions.remove(&oldest));
        }
        sessions.insert(id.into(), Instant::now());
    }
}

/// The name and the hash of the password of who is let in.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) username: Box<str>,
    pub(super) hash: Box<str>,
}

impl Credentials {
    pub(super) fn check(&self) -> Result<(), AdminError> {
        let known = ["$2a$", "$2b$", "$2y$"].iter().any(|version| self.hash.starts_with(version));
        match self.hash.parse::<bcrypt::HashParts>() {
            Ok(_) if known => Ok(()),
            _ => Err(AdminError::InvalidHash),
        }
    }

    /// Whether these are they. Takes as long for a wrong name as for a wrong password.
    fn are(&self, username: &str, password: &str) -> bool {
        bcrypt::verify(password, &self.hash).unwrap_or(false) & (*self.username == *username)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// What the Admin UI sends when it connects.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Shown {
    session_id: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// Lets in who shows a session or the password. Who shows the password gets a session, before it is told that it is in,
/// as from the reference, and another one after: the front end (0.5.1) begins to listen when it is in, and its client
/// has let go by then of what came before.
pub(super) fn guard(namespace: &Namespace, credentials: Credentials, sessions: Arc<dyn AdminSessions>) {
    let after = sessions.clone();
    namespace.on_connection(async move |socket: Socket| {
        if socket.handshake().auth().is_ok_and(|shown: Shown| shown.password.is_some()) {
            give_session(&socket, &*after).await;
        }
    });
    let credentials = Arc::new(credentials);
    let checks = Arc::new(Semaphore::new(CHECKS));
    namespace.middleware(async move |socket: Socket| {
        let shown: Shown = socket.handshake().auth().unwrap_or_default();
        if let Some(id) = &shown.session_id
            && sessions.exists(id).await
        {
            return Ok(());
        }
        if let (Some(username), Some(password)) = (shown.username, shown.password) {
            let _one_of_few = checks.acquire().await;
            // Not on a worker, whose other clients would wait.
            let checked = tokio::task::spawn_blocking(move || credentials.are(&username, &password)).await;
            if checked.unwrap_or(false) {
                give_session(&socket, &*sessions).await;
                return Ok(());
            }
        }
        Err(ConnectError::new("invalid credentials"))
    });
}

async fn give_session(socket: &Socket, sessions: &dyn AdminSessions) {
    // Sixteen hexadecimal digits, as the reference has them.
    let id = format!("{:016x}", getrandom::u64().expect("the system has random numbers"));
    sessions.save(&id).await;
    let _ = socket.emit("session", id); // Who is gone by now needs none.
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_all_versions_are_taken_and_nothing_else() {
        let hash = bcrypt::hash("changeit", 4).unwrap();
        let rest = &hash[4..];
        for version in ["$2a$", "$2b$", "$2y$"] {
            let credentials = Credentials { username: "admin".into(), hash: format!("{version}{rest}").into() };
            assert_eq!(credentials.check(), Ok(()), "{version}");
            assert!(credentials.are("admin", "changeit"), "{version}");
            assert!(!credentials.are("admin", "changeit "));
            assert!(!credentials.are("other", "changeit"));
        }
        for hash in ["", "changeit", "$2b$04$short", &format!("$2c${rest}"), &format!("$2x${rest}")] {
            let credentials = Credentials { username: "admin".into(), hash: hash.into() };
            assert_eq!(credentials.check(), Err(AdminError::InvalidHash), "{hash}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_lives_for_a_day() {
        let sessions = MemorySessions::default();
        sessions.save("abc").await;
        assert!(sessions.exists("abc").await && !sessions.exists("abd").await);
        tokio::time::advance(SESSION_LIFETIME).await;
        assert!(!sessions.exists("abc").await);
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_sessions_the_oldest_goes() {
        let sessions = MemorySessions::default();
        sessions.save("first").await;
        tokio::time::advance(Duration::from_millis(1)).await;
        sessions.0.lock().unwrap().extend((1..MAX_SESSIONS).map(|n| (n.to_string().into(), Instant::now())));
        sessions.save("last").await;
        assert!(!sessions.exists("first").await && sessions.exists("1").await && sessions.exists("last").await);
    }
}
