//! What the backend is told of clients, and what its answers do.
//!
//! | type | when | what its answer does |
//! |---|---|---|
//! | `connect` | a client wants to enter a namespace | lets it in, as a user, into rooms, with data; or does not |
//! | `event` | a client sends an event | is the acknowledgement, if the client asked for one |
//! | `disconnect` | it has gone | |
//!
//! What is told of one socket is told in order, one after the other: a slow backend slows down that client, whose handlers
//! wait and which is not read any more when there are too many of them. [`delivery`] is how a message gets there.

mod connector;
mod delivery;
mod options;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use socketio_server::{Ack, Args, ConnectError, DisconnectReason, Event, Namespace, Socket, Value};

pub(crate) use self::options::WebhookOptions;

use self::delivery::{Delivery, End, Kind};
use self::options::{Unanswered, WebhookType};
use super::keys::KeyError;
use super::values::{from_json, to_json};
use super::{Session, room_of};

/// Tells the backend.
pub(crate) struct Webhooks {
    delivery: Delivery,
    options: WebhookOptions,
}

impl Webhooks {
    /// None if there is nobody to be told.
    pub(crate) fn open(options: &WebhookOptions) -> Result<Option<Self>, KeyError> {
        let Some(url) = &options.webhook_url else { return Ok(None) };
        Ok(Some(Self { delivery: Delivery::new(url, options)?, options: options.clone() }))
    }

    /// Has the backend told of what happens in `namespace`. Whoever looks at clients before it has to be there already.
    pub(crate) fn serve(self: &Arc<Self>, namespace: &Namespace) {
        let tells = |kind| self.options.webhook_types.contains(&kind);
        if tells(WebhookType::Connect) {
            let webhooks = self.clone();
            namespace.middleware(async move |socket: Socket| webhooks.connect(&socket).await);
        }
        if tells(WebhookType::Event) {
            let webhooks = self.clone();
            namespace.on_any(async move |socket: Socket, event: Event, ack: Ack| {
                webhooks.event(&socket, &event, &ack).await;
            });
        }
        if tells(WebhookType::Disconnect) {
            let webhooks = self.clone();
            namespace.on_disconnect(async move |socket: Socket, reason| webhooks.disconnect(&socket, reason).await);
        }
    }

    /// In Prometheus' text format.
    pub(crate) fn to_prometheus(&self) -> String {
        self.delivery.counts.to_prometheus()
    }

    async fn connect(&self, socket: &Socket) -> Result<(), ConnectError> {
        let session = session_of(socket);
        let handshake = socket.handshake();
        let text = |pairs: &mut dyn Iterator<Item = (String, String)>| -> Json {
            Json::Object(pairs.map(|(name, value)| (name, value.into())).collect())
        };
        let data = json!({
            "socket": described(socket, &session),
            "rooms": rooms_of(socket),
            "auth": to_json(&handshake.auth::<Value>().unwrap_or_default()),
            "headers": text(&mut handshake.headers().map(|(name, value)| (name.to_owned(), value.to_owned()))),
            "query": text(&mut handshake.query_pairs().into_iter()),
            "address": handshake.address(),
        });
        match self.delivery.ask(Kind::Connect, &data).await {
            Ok(answer) if answer.status.is_success() => let_in(socket, session, answer.body),
            Ok(answer) => {
                let refused: Refused = serde_json::from_value(answer.body).unwrap_or_default();
                let message = refused.message.unwrap_or_else(|| "not allowed".to_owned());
                let data = refused.data.unwrap_or_else(|| json!({ "code": "refused" }));
                Err(ConnectError::new(message).data(from_json(data)))
            }
            Err(_) if self.options.webhook_unanswered == Unanswered::Allow => Ok(()),
            Err(_) => Err(unavailable()),
        }
    }

    async fn event(&self, socket: &Socket, event: &Event, ack: &Ack) {
        let session = session_of(socket);
        let _turn = session.turn.lock().await;
        let args = event.args().to_values().unwrap_or_default();
        let data = json!({
            "socket": described(socket, &session),
            "rooms": rooms_of(socket),
            "event": event.name(),
            "args": args.iter().map(to_json).collect::<Vec<_>>(),
            "ack": ack.is_wanted(),
        });
        if !ack.is_wanted() {
            return self.delivery.tell(Kind::Event, &data).await;
        }
        let answer = match self.delivery.ask(Kind::Event, &data).await {
            Ok(answer) if answer.status.is_success() => match answer.body {
                Json::Null => Vec::new(),
                Json::Array(args) => args.into_iter().map(from_json).collect(),
                one => vec![from_json(one)],
            },
            Ok(_) => vec![from_json(json!({ "error": { "code": "refused", "message": "not allowed" } }))],
            Err(error) => {
                vec![from_json(json!({ "error": { "code": "backend_unavailable", "message": error.to_string() } }))]
            }
        };
        let sent = Args::from_values(&answer).map_err(|error| error.to_string());
        if let Err(error) = sent.and_then(|args| ack.send(args).map_err(|error| error.to_string())) {
            tracing::debug!(%error, "an answer of the backend does not reach its client");
        }
    }

    async fn disconnect(&self, socket: &Socket, reason: DisconnectReason) {
        if self.delivery.counts.waiting() >= self.options.webhook_queue {
            return self.delivery.counts.end(Kind::Disconnect, End::Dropped);
        }
        let session = session_of(socket);
        let _turn = session.turn.lock().await;
        let data = json!({ "socket": described(socket, &session), "reason": reason.as_str() });
        self.delivery.tell(Kind::Disconnect, &data).await;
    }
}

/// What a backend says of a client that it lets in.
#[derive(Deserialize, Default)]
struct Allowed {
    user: Option<String>,
    #[serde(default)]
    rooms: Vec<String>,
    /// Seconds since 1970.
    ends: Option<u64>,
    data: Option<Json>,
}

/// What it says to one that it refuses.
#[derive(Deserialize, Default)]
struct Refused {
    message: Option<String>,
    data: Option<Json>,
}

fn let_in(socket: &Socket, session: Arc<Session>, answer: Json) -> Result<(), ConnectError> {
    let allowed = match answer {
        Json::Null => Ok(Allowed::default()),
        answer => serde_json::from_value::<Allowed>(answer),
    };
    let Allowed { user, rooms, ends, data } = allowed.map_err(|error| {
        tracing::error!(%error, "the backend's answer to a connect webhook is not understood");
        unavailable()
    })?;
    let mut session = (*session).clone();
    if let Some(user) = user
        && let Some(old) = session.user.replace(user)
    {
        socket.leave(room_of(&old));
    }
    let own = session.user.iter().map(|user| room_of(user));
    if let Err(error) = socket.try_join(own.chain(rooms).collect::<Vec<_>>()) {
        tracing::error!(%error, "the rooms that the backend names are not joined");
        return Err(unavailable());
    }
    // A token that ends earlier ends it all the same.
    session.ends = [session.ends, ends].into_iter().flatten().min();
    session.data = data.or(session.data);
    socket.set_data(session);
    Ok(())
}

fn unavailable() -> ConnectError {
    ConnectError::new("it cannot be decided now whether you may come in").data(json!({ "code": "backend_unavailable" }))
}

fn session_of(socket: &Socket) -> Arc<Session> {
    socket.data::<Session>().unwrap_or_default()
}

/// Who it is about.
fn described(socket: &Socket, session: &Session) -> Json {
    json!({
        "id": socket.id(),
        "namespace": socket.namespace().name(),
        "user": session.user,
        "data": session.data,
    })
}

fn rooms_of(socket: &Socket) -> Vec<String> {
    let rooms = socket.rooms();
    let mut rooms: Vec<_> = rooms.iter().filter(|room| *room != socket.id()).map(ToString::to_string).collect();
    rooms.sort();
    rooms
}
