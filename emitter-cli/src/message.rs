//! What is published for a command, and how it is called when it is reported.

use serde::{Serialize, Serializer, ser::SerializeTuple};
use socketio_emitter::{Broadcast, EmitError, Emitter, EntryId, Plan};
use socketio_protocol::socket::{Args, Value};

use crate::{
    args::{Disconnect, Emit, Membership, ServerEmit, Settings, Target},
    connect,
    failure::Failure,
    output,
    payload::Payload,
    template::Template,
};

/// One message for Redis.
pub(crate) struct Message {
    pub(crate) plan: Plan,
    /// What is done, as in `emitted "time" to /`.
    pub(crate) done: String,
    /// The same for programs: a key and a name.
    about: (&'static str, String),
}

impl Message {
    /// Tells on stdout that it was published, and to how many servers, if that is known.
    pub(crate) fn report(&self, settings: &Settings, receivers: Option<u64>, entry: Option<EntryId>) {
        if settings.json {
            let id = entry.map(|entry| entry.to_string());
            let id = id.as_ref().map(|id| ("id", id as &dyn ToJson));
            let more: Vec<_> = [("receivers", &receivers as &dyn ToJson)].into_iter().chain(id).collect();
            output::line(self.as_json(&more));
        } else if !settings.quiet {
            let heard = receivers.map(|receivers| format!(" → {}", output::servers(receivers))).unwrap_or_default();
            output::line(format!("{}{heard}", self.done));
        }
    }

    /// What programs are told: what it is, where it goes, its size, and `more`.
    pub(crate) fn as_json(&self, more: &[(&str, &dyn ToJson)]) -> String {
        let (key, name) = &self.about;
        let own: [(&str, &dyn ToJson); 3] =
            [(key, name), ("channel", &self.plan.channel), ("bytes", &self.plan.payload.len())];
        let members = own.iter().chain(more).map(|(key, value)| format!("{key:?}:{}", value.json()));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

/// A value for programs.
pub(crate) trait ToJson {
    fn json(&self) -> String;
}

impl<T: Serialize> ToJson for T {
    fn json(&self) -> String {
        serde_json::to_string(self).expect("keys are text, and memory takes every byte")
    }
}

/// How an event goes to its clients.
#[derive(Clone, Copy, Default)]
pub(crate) struct Delivery {
    pub(crate) volatile: bool,
    pub(crate) no_compress: bool,
}

impl From<&Emit> for Delivery {
    fn from(emit: &Emit) -> Self {
        Delivery { volatile: emit.volatile, no_compress: emit.no_compress }
    }
}

/// The emitter whose messages are planned. It does not connect.
pub(crate) fn planner(settings: &Settings, nsp: &str) -> Result<Emitter, Failure> {
    Ok(connect::builder(settings)?.lazy()?.of(nsp))
}

pub(crate) fn emit(settings: &Settings, emit: &Emit) -> Result<Message, Failure> {
    let io = planner(settings, &settings.nsp)?;
    let template = emit.template.then(|| Template { count: 1, now: std::time::SystemTime::now() });
    let values = Payload::read(&emit.arguments, false)?.values(template.as_ref(), None)?;
    let name = emit.event.as_deref().unwrap_or_default();
    let message = event(&io, &emit.target, emit.into(), name, &values)?;
    Ok(Message { done: format!("emitted {name:?} to {}", whom(&io, &emit.target)), ..message })
}

/// One event for clients.
pub(crate) fn event(
    io: &Emitter,
    target: &Target,
    delivery: Delivery,
    event: &str,
    values: &[Value],
) -> Result<Message, Failure> {
    plan(&broadcast(io, target, delivery), event, &List(values))
}

/// Whom an event goes to, and how.
pub(crate) fn broadcast(io: &Emitter, target: &Target, delivery: Delivery) -> Broadcast {
    let mut broadcast = select(io, target);
    if delivery.volatile {
        broadcast = broadcast.volatile();
    }
    if delivery.no_compress {
        broadcast = broadcast.compress(false);
    }
    broadcast
}

/// An event as a message that can be shown.
pub(crate) fn plan(broadcast: &Broadcast, event: &str, args: &impl Serialize) -> Result<Message, Failure> {
    let plan = somebody(broadcast.plan_emit(event, args)?)?;
    Ok(Message { plan, done: String::new(), about: ("event", event.to_owned()) })
}

/// The arguments of an event, one for each value.
pub(crate) struct List<'a>(pub(crate) &'a [Value]);

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|value| list.serialize_element(value))?;
        list.end()
    }
}

pub(crate) fn join(settings: &Settings, rooms: &Membership) -> Result<Message, Failure> {
    let io = planner(settings, &settings.nsp)?;
    Ok(Message {
        plan: somebody(select(&io, &rooms.target).plan_sockets_join(&rooms.rooms)?)?,
        done: format!("asked for clients of {} to join {}", whom(&io, &rooms.target), rooms.rooms.join(", ")),
        about: ("request", "join".to_owned()),
    })
}

pub(crate) fn leave(settings: &Settings, rooms: &Membership) -> Result<Message, Failure> {
    let io = planner(settings, &settings.nsp)?;
    Ok(Message {
        plan: somebody(select(&io, &rooms.target).plan_sockets_leave(&rooms.rooms)?)?,
        done: format!("asked for clients of {} to leave {}", whom(&io, &rooms.target), rooms.rooms.join(", ")),
        about: ("request", "leave".to_owned()),
    })
}

pub(crate) fn disconnect(settings: &Settings, whom_to: &Disconnect) -> Result<Message, Failure> {
    let io = planner(settings, &settings.nsp)?;
    Ok(Message {
        plan: somebody(select(&io, &whom_to.target).plan_disconnect_sockets(whom_to.close)?)?,
        done: format!("asked for clients of {} to be disconnected", whom(&io, &whom_to.target)),
        about: ("request", "disconnect".to_owned()),
    })
}

pub(crate) fn server_emit(settings: &Settings, emit: &ServerEmit) -> Result<Message, Failure> {
    let io = planner(settings, &settings.nsp)?;
    let values = Payload::read(&emit.arguments, false)?.values(None, None)?;
    let args = Args::from_values(&values).map_err(EmitError::from)?;
    let event = &emit.event;
    Ok(Message {
        plan: io.plan_server_side_emit(event, &args)?,
        done: format!("emitted {event:?} to the servers of {}", io.nsp()),
        about: ("event", event.clone()),
    })
}

pub(crate) fn select(io: &Emitter, target: &Target) -> Broadcast {
    if target.except.is_empty() && !target.to.is_empty() {
        return io.to(&target.to);
    }
    let broadcast = io.except(&target.except);
    if target.to.is_empty() { broadcast } else { broadcast.to(&target.to) }
}

fn somebody(plan: Option<Plan>) -> Result<Plan, Failure> {
    plan.ok_or_else(|| Failure::usage("this is for nobody").tip("name a room with --to, or none for everybody"))
}

/// `/`, `/chat (room a, except b)`
pub(crate) fn whom(io: &Emitter, target: &Target) -> String {
    let some = |word: &str, names: &[String]| (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")));
    let rooms = if target.to.len() == 1 { "room" } else { "rooms" };
    let parts: Vec<_> = some(rooms, &target.to).into_iter().chain(some("except", &target.except)).collect();
    if parts.is_empty() { io.nsp().to_owned() } else { format!("{} ({})", io.nsp(), parts.join(", ")) }
}
