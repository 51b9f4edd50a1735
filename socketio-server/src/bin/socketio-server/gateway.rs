//! A server for those who write no Rust: who comes in is said by tokens, what is sent by an HTTP API, and what clients send
//! goes to a backend.
//!
//! [`tokens`] says what a token must be, [`keys`] with which keys it is checked, [`expiry`] what happens at its end; [`api`]
//! is the HTTP API, [`webhooks`] are what a backend is told; in both, [`values`] have binary parts. This file looks at who
//! comes in. What is known of a client is the data of its socket, a [`Session`], so that all servers of a cluster see it.

mod api;
mod expiry;
mod keys;
mod options;
mod tokens;
mod values;
mod webhooks;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use socketio_protocol::engine::Version;
use socketio_server::{ConnectError, Server, Socket};
use tokio::task::JoinSet;

pub(crate) use api::Api;
use expiry::Expiry;
pub(crate) use keys::KeyError;
pub(crate) use options::{ApiOptions, TokenOptions};
use tokens::{Claims, TokenError, Verifier};
pub(crate) use webhooks::WebhookOptions;
use webhooks::Webhooks;

/// What is known of a client, as its socket's data.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Whose token it showed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// When the token ends, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ends: Option<u64>,
    /// What the backend keeps of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<serde_json::Value>,
    /// Whose it was before its client was away for a moment.
    #[serde(skip)]
    before: Option<String>,
    /// Whoever has it tells the backend of the client.
    #[serde(skip)]
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

/// How the program serves clients without code.
pub(crate) struct Gateway {
    options: TokenOptions,
    verifier: Option<Arc<Verifier>>,
    webhooks: Option<Arc<Webhooks>>,
}

impl Gateway {
    /// Reads what the options name.
    pub(crate) fn open(tokens: &TokenOptions, webhooks: &WebhookOptions) -> Result<Self, KeyError> {
        let verifier = match tokens.keys() {
            Some(source) => Some(Arc::new(Verifier::new(source, tokens.rules())?)),
            None => None,
        };
        let webhooks = Webhooks::open(webhooks)?.map(Arc::new);
        Ok(Self { options: tokens.clone(), verifier, webhooks })
    }

    /// Whether who comes in is decided by tokens or a backend, so that a page for everybody would be out of place.
    pub(crate) fn is_private(&self) -> bool {
        self.verifier.is_some() || self.webhooks.is_some()
    }

    /// Its numbers in Prometheus' text format, if it has any.
    pub(crate) fn to_prometheus(&self) -> String {
        self.webhooks.as_ref().map(|webhooks| webhooks.to_prometheus()).unwrap_or_default()
    }

    /// Reads keys again.
    pub(crate) fn reload(&self) {
        if let Some(verifier) = &self.verifier {
            verifier.reload();
        }
    }

    /// Serves clients of `io`. What it needs beside runs in `beside`.
    pub(crate) fn serve(&self, io: &Server, beside: &mut JoinSet<()>) {
        let expiry = Arc::new(Expiry::default());
        for name in self.options.namespaces() {
            let namespace = io.of(&name);
            if !self.is_private() {
                continue;
            }
            let before = async |socket: Socket| {
                let before = socket.data::<Session>().filter(|_| socket.recovered());
                // Each socket has a session of its own from the start.
                let user = before.and_then(|before| before.user.clone());
                socket.set_data(Session { before: user, ..Session::default() });
                Ok(())
            };
            namespace.middleware(before);
            if let Some(verifier) = self.verifier.clone() {
                let needed = self.options.needs_token(&name);
                namespace.middleware(async move |socket: Socket| let_in(&socket, &verifier, needed));
            }
            if let Some(webhooks) = &self.webhooks {
                webhooks.serve(&namespace);
            }
            namespace.middleware(async |socket: Socket| is_the_same_user(&socket));
            let ends = expiry.clone();
            namespace.on_connection(async move |socket: Socket| {
                if let Some(end) = socket.data::<Session>().and_then(|session| session.ends) {
                    ends.add(&socket, end);
                }
            });
            let ends = expiry.clone();
            namespace.on_disconnect(async move |socket: Socket, _| {
                if let Some(end) = socket.data::<Session>().and_then(|session| session.ends) {
                    ends.remove(&socket, end);
                }
            });
        }
        if let Some(verifier) = &self.verifier {
            beside.spawn(verifier.clone().follow());
        }
        if self.is_private() {
            beside.spawn(expiry.run(io.clone()));
        }
    }
}

/// Looks at the token of a client that is on its way in, and does what it says.
fn let_in(socket: &Socket, verifier: &Verifier, needed: bool) -> Result<(), ConnectError> {
    let claims = match token_of(socket) {
        Some(token) => verifier.check(&token, tokens::now()).map_err(refuse)?,
        None if needed => return Err(refuse(TokenError::Missing)),
        None => return Ok(()),
    };
    let Claims { user, ends, rooms } = claims;
    let own = user.iter().map(|user| room_of(user));
    if let Err(error) = socket.try_join(own.chain(rooms).collect::<Vec<_>>()) {
        return Err(ConnectError::new(error.to_string()).data(json!({ "code": "token_rooms" })));
    }
    socket.update_data(|session: &mut Session| {
        session.user.clone_from(&user);
        session.ends = Some(ends);
    });
    Ok(())
}

/// What a client missed while it was away is not for whoever it is now.
fn is_the_same_user(socket: &Socket) -> Result<(), ConnectError> {
    match socket.data::<Session>() {
        Some(session) if session.before.is_some() && session.before != session.user => {
            let message = "this session is another user's; connect again for one of your own";
            Err(ConnectError::new(message).data(json!({ "code": "other_user" })))
        }
        _ => Ok(()),
    }
}

/// The room of all sockets of a user.
pub(crate) fn room_of(user: &str) -> String {
    format!("user:{user}")
}

fn refuse(error: TokenError) -> ConnectError {
    ConnectError::new(error.to_string()).data(json!({ "code": error.code() }))
}

/// The token that a client shows: `auth: { token }`, else the header `Authorization: Bearer`. Clients of Socket.IO 2 have no
/// `auth`, and show it as `token` of the query.
fn token_of(socket: &Socket) -> Option<String> {
    #[derive(Deserialize)]
    struct Auth {
        token: Option<String>,
    }
    let handshake = socket.handshake();
    let header = || {
        let (scheme, token) = handshake.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    };
    let query = || handshake.query("token").filter(|_| socket.protocol() == Version::V3);
    let auth = handshake.auth::<Auth>().ok().and_then(|auth| auth.token);
    auth.or_else(header).or_else(query)
}
