//! What each path of the API does.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Value as Json, json};
use socketio_protocol::cluster::BusError;
use socketio_protocol::engine::Query;
use socketio_protocol::socket::is_reserved;
use socketio_server::{AckError, Args, Broadcast, EmitError, Emitted, Fields, Namespace, RemoteSocketHandle, Value};

use super::{Inner, Refusal};
use crate::gateway::room_of;
use crate::gateway::values::{from_json, to_json};

/// The methods of a path; `None` if there is no such path.
pub(super) fn allowed(path: &str) -> Option<&'static str> {
    match path {
        "/emit" | "/join" | "/leave" | "/disconnect" => Some("POST"),
        "/rooms" | "/sockets" | "/count" => Some("GET, HEAD"),
        _ => None,
    }
}

pub(super) async fn post(api: &Inner, path: &str, body: &[u8]) -> Result<Json, Refusal> {
    match path {
        "/emit" => emit(api, parse(body)?).await,
        "/join" => {
            let Move { rooms, to, namespace } = parse(body)?;
            let rooms = some(rooms, NO_ROOM)?;
            done(api.sockets(&namespace, to)?.sockets_join(rooms)).await
        }
        "/leave" => {
            let Move { rooms, to, namespace } = parse(body)?;
            let rooms = some(rooms, NO_ROOM)?;
            done(api.sockets(&namespace, to)?.sockets_leave(rooms)).await
        }
        _ => {
            let Disconnect { to, close, namespace } = parse(body)?;
            done(api.sockets(&namespace, to)?.disconnect_sockets(close)).await
        }
    }
}

pub(super) async fn get(api: &Inner, path: &str, query: &str) -> Result<Json, Refusal> {
    let asked = Asked::read(query, path != "/rooms")?;
    let namespace = api.namespace(&asked.namespace)?;
    match path {
        "/rooms" => rooms(&namespace).await,
        "/sockets" => {
            let answers = asked.sockets(&namespace, Fields::ALL).await?;
            let sockets: Vec<_> = answers.0.iter().map(described).collect();
            Ok(json!({ "sockets": sockets, "missing_servers": answers.1 }))
        }
        _ => {
            // Who is in two rooms at once is not counted without asking who is there.
            let (count, missing) = match (&asked.room, &asked.user) {
                (Some(_), Some(_)) => {
                    let answers = asked.sockets(&namespace, Fields::NONE.rooms()).await?;
                    (answers.0.len() as u64, answers.1)
                }
                _ => {
                    let answers = answered(asked.target(&namespace).count()).await?;
                    (answers.received.iter().sum(), answers.missing)
                }
            };
            Ok(json!({ "count": count, "missing_servers": missing }))
        }
    }
}

/// To send an event.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Emit {
    event: String,
    #[serde(default)]
    args: Vec<Json>,
    /// Everybody without.
    #[serde(default, deserialize_with = "present")]
    to: Option<Vec<String>>,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default = "root")]
    namespace: String,
    #[serde(default)]
    volatile: bool,
    /// Seconds to wait for answers.
    #[serde(default, deserialize_with = "present")]
    ack: Option<f64>,
}

/// What may be left out, and is not null: a list of nobody is not everybody.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// To move sockets into rooms, or out of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    rooms: Vec<String>,
    to: Vec<String>,
    #[serde(default = "root")]
    namespace: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disconnect {
    to: Vec<String>,
    /// The connection, too, with all its namespaces.
    #[serde(default)]
    close: bool,
    #[serde(default = "root")]
    namespace: String,
}

fn root() -> String {
    "/".to_owned()
}

async fn emit(api: &Inner, emit: Emit) -> Result<Json, Refusal> {
    let namespace = api.namespace(&emit.namespace)?;
    if emit.event.is_empty() || is_reserved(&emit.event) {
        return Err(reserved(&emit.event));
    }
    let args: Vec<_> = emit.args.into_iter().map(from_json).collect();
    let args = Args::from_values(&args).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let mut target = namespace.everyone();
    if let Some(to) = emit.to {
        target = target.to(some(to, NOBODY)?);
    }
    if emit.volatile {
        target = target.volatile();
    }
    target = target.except(emit.except);
    let Some(seconds) = emit.ack else { return done(target.emit(&emit.event, args)).await };
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| (Duration::ZERO..=MOST_ACK).contains(time));
    let time = time.ok_or_else(|| Refusal::bad_request("ack: seconds to wait for answers, at most 60"))?;
    let mut asked = target.timeout(time).emit_with_ack::<Value>(&emit.event, args);
    let (mut answers, mut missing) = (Vec::new(), Vec::new());
    while let Some(answer) = asked.next().await {
        match answer.value {
            Ok(value) => answers.push(json!({ "socket": answer.id, "answer": to_json(&value) })),
            // It has answered without an argument.
            Err(AckError::Decode(_)) => answers.push(json!({ "socket": answer.id, "answer": null })),
            Err(_) => missing.extend(answer.id),
        }
    }
    Ok(json!({ "answers": answers, "missing": missing }))
}

fn reserved(event: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "reserved_event", format!("{event:?} is no name for an event"))
}

async fn rooms(namespace: &Namespace) -> Result<Json, Refusal> {
    let answers = answered(namespace.room_sizes()).await?;
    let mut rooms = BTreeMap::new();
    for (name, size) in answers.received {
        *rooms.entry(name).or_insert(0) += size;
    }
    let rooms: Vec<_> = rooms.into_iter().map(|(name, sockets)| json!({ "name": name, "sockets": sockets })).collect();
    Ok(json!({ "rooms": rooms, "missing_servers": answers.missing }))
}

/// Which sockets are asked for.
struct Asked {
    namespace: String,
    room: Option<String>,
    user: Option<String>,
}

impl Asked {
    fn read(query: &str, with_filters: bool) -> Result<Self, Refusal> {
        let mut asked = Self { namespace: root(), room: None, user: None };
        for (name, value) in Query::parse(query).pairs() {
            let value = value.to_owned();
            match name {
                "namespace" => asked.namespace = value,
                "room" if with_filters => asked.room = Some(value),
                "user" if with_filters => asked.user = Some(value),
                _ => return Err(Refusal::bad_request(format!("{name:?} is no parameter here"))),
            }
        }
        Ok(asked)
    }

    fn target(&self, namespace: &Namespace) -> Broadcast {
        match (&self.room, &self.user) {
            (Some(room), _) => namespace.to(room.as_str()),
            (None, Some(user)) => namespace.to(room_of(user)),
            (None, None) => namespace.everyone(),
        }
    }

    /// The sockets, and how many servers did not say which are theirs.
    async fn sockets(
        &self,
        namespace: &Namespace,
        fields: Fields,
    ) -> Result<(Vec<RemoteSocketHandle>, usize), Refusal> {
        let answers = answered(self.target(namespace).fetch_sockets_with(fields)).await?;
        let mut sockets = answers.received;
        if let (Some(_), Some(user)) = (&self.room, &self.user) {
            let own = room_of(user);
            sockets.retain(|socket| socket.rooms().contains(&own));
        }
        Ok((sockets, answers.missing))
    }
}

fn described(socket: &RemoteSocketHandle) -> Json {
    let data: Value = socket.data().unwrap_or_default();
    let mut rooms: Vec<_> = socket.rooms().iter().filter(|room| *room != socket.id()).collect();
    rooms.sort();
    json!({
        "id": socket.id(),
        "user": data.get("user").and_then(Value::as_str),
        "rooms": rooms,
        "data": to_json(&data),
        "address": socket.handshake().get("address"),
        "connected_at": socket.handshake().get("issued"),
    })
}

impl Inner {
    fn namespace(&self, name: &str) -> Result<Namespace, Refusal> {
        match self.namespaces.iter().any(|known| known == name) {
            true => Ok(self.io.of(name)),
            false => {
                Err(Refusal::new(StatusCode::NOT_FOUND, "unknown_namespace", format!("there is no namespace {name:?}")))
            }
        }
    }

    /// The sockets of some rooms. There is no way to mean all by leaving something out.
    fn sockets(&self, namespace: &str, to: Vec<String>) -> Result<Broadcast, Refusal> {
        Ok(self.namespace(namespace)?.to(some(to, NOBODY)?))
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))
}

/// Whoever computes a list and finds nobody does not mean everybody.
fn some(list: Vec<String>, otherwise: &str) -> Result<Vec<String>, Refusal> {
    if list.is_empty() { Err(Refusal::bad_request(otherwise)) } else { Ok(list) }
}

const NOBODY: &str = "to names nobody";
const NO_ROOM: &str = "rooms: at least one room is needed";

/// Waits until the other servers are told.
async fn done(told: Result<Emitted, EmitError>) -> Result<Json, Refusal> {
    let told = told.map_err(|error| match error {
        EmitError::Reserved(event) => reserved(&event),
        EmitError::Encode(error) => Refusal::bad_request(error.to_string()),
        EmitError::Adapter(error) => unreachable(error),
        error => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string()),
    })?;
    match tokio::time::timeout(CLUSTER_TIME, told).await {
        Ok(Ok(())) => Ok(json!({ "done": true })),
        Ok(Err(error)) => Err(unreachable(error)),
        Err(_) => Err(late("other servers did not take it in time; this one has done it")),
    }
}

fn unreachable(error: BusError) -> Refusal {
    not_reached(format!("done on this server, others are not reached: {error}"))
}

/// Waits for what the other servers answer.
async fn answered<T>(asked: impl Future<Output = Result<T, BusError>>) -> Result<T, Refusal> {
    match tokio::time::timeout(CLUSTER_TIME, asked).await {
        Ok(Ok(answers)) => Ok(answers),
        Ok(Err(error)) => Err(not_reached(format!("other servers cannot be asked: {error}"))),
        Err(_) => Err(late("other servers did not answer in time")),
    }
}

fn not_reached(message: String) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "cluster_unreachable", message)
}

fn late(message: &str) -> Refusal {
    Refusal::new(StatusCode::GATEWAY_TIMEOUT, "cluster_timeout", message)
}

/// How long clients may take to answer.
const MOST_ACK: Duration = Duration::from_secs(60);

/// How long the other servers may take. Their answers are waited for less long.
const CLUSTER_TIME: Duration = Duration::from_secs(10);
