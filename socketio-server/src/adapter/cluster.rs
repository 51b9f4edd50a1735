//! A namespace that several servers share: questions, answers, and who is still to be waited for.
//!
//! [`ClusterAdapter`] is the [`MemoryAdapter`] plus a [`Channel`] that writes and carries messages. What a server does
//! with a message, and when an asker has heard enough, is here once for every format. Local sockets are served first and
//! never wait for the channel, except with connection state recovery over streams, where events go through the stream
//! first.
//!
//! Whom a question waits for is [`questions`](super::questions)' part.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytestring::ByteString;
use socketio_protocol::NEVER;
use socketio_protocol::cluster::{
    Bus, BusError, BusStatus, Channel, Envelope, Inbox, Message, Offset, Published, READS_MORE, RemoteSocket, Want,
};
use socketio_protocol::socket::{Args, Value};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, timeout_at};

use super::acks::forward;
use super::cluster_stats::Hearing;
use super::memory::RoomObserver;
use super::questions::{Questions, RemoteAcks, servers_that_answer};
use super::{
    AckItem, AckSource, AckTally, Adapter, Answers, DEFAULT_ACK_TIMEOUT, Emitted, Fields, MemoryAdapter, Outgoing,
    ServerEvent, ServerEvents, Target,
};
use crate::engine::counters::bump;

/// See the [module documentation](self).
pub(crate) struct ClusterAdapter {
    local: Arc<MemoryAdapter>,
    channel: Arc<dyn Channel>,
    questions: Arc<Questions>,
    /// How long servers may take to answer when nobody says.
    requests_timeout: Duration,
}

impl ClusterAdapter {
    pub(crate) fn open(bus: &dyn Bus, local: Arc<MemoryAdapter>, events: ServerEvents) -> Arc<dyn Adapter> {
        let questions = Arc::new(Questions::default());
        let desk = Arc::new(Desk {
            local: local.clone(),
            questions: questions.clone(),
            channel: OnceLock::new(),
            events,
            hearing: Hearing::new(local.cluster_counts().clone()),
        });
        let channel = bus.open(local.nsp(), desk.clone());
        let _ = desk.channel.set(Arc::downgrade(&channel));
        if let Some(history) = local.history()
            && let Some(log) = channel.log()
        {
            history.share(log, channel.uid(), &local);
        }
        local.observe(Box::new(Rooms(Arc::downgrade(&channel))));
        Arc::new(Self { local, channel, questions, requests_timeout: bus.requests_timeout() })
    }

    fn tell(&self, target: &Target, message: impl FnOnce() -> Message) -> Result<Emitted, BusError> {
        if target.local || target.is_nobody() {
            return Ok(Emitted::here());
        }
        self.channel.publish(&message()).map(Emitted::published)
    }

    /// Whether what is told to the others is done here, too, when it comes back from the log of the cluster: in one order
    /// with all else.
    fn comes_back(&self, target: &Target) -> bool {
        !target.local && self.local.shared_history().is_some()
    }

    /// Asks the other servers about sockets, unless the target is here only. Without a `want` for everything.
    async fn ask_about(
        &self,
        target: &Target,
        want: Option<Want>,
        take: impl FnMut(Message) + Send,
    ) -> Result<(usize, usize), BusError> {
        if target.local || target.is_nobody() {
            return Ok((0, 0));
        }
        let options = target.to_options();
        let question = |request| match want {
            Some(want) => Message::Summarize { options, request, want },
            None => Message::FetchSockets { options, request },
        };
        self.ask(target.timeout.unwrap_or(self.requests_timeout), question, take).await
    }

    /// Asks the other servers, and gathers what they answer until all have or the time is over.
    async fn ask(
        &self,
        timeout: Duration,
        question: impl FnOnce(String) -> Message + Send,
        mut take: impl FnMut(Message) + Send,
    ) -> Result<(usize, usize), BusError> {
        let deadline = Instant::now() + timeout.min(NEVER);
        let count = timeout_at(deadline, servers_that_answer(&*self.channel));
        let others = count.await.map_err(|_| timed_out(timeout))??.saturating_sub(1);
        if others == 0 {
            return Ok((0, 0));
        }
        let waiting = self.questions.open();
        drop(self.channel.publish(&question(waiting.id().to_owned()))?);
        let mut asked = waiting.asked(&*self.channel, others, deadline);
        while let Some(answer) = asked.next().await {
            take(answer);
        }
        Ok((asked.tally().servers(), asked.tally().missing_servers()))
    }
}

fn timed_out(timeout: Duration) -> BusError {
    BusError::Timeout { after_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX) }
}

#[async_trait]
impl Adapter for ClusterAdapter {
    fn local(&self) -> &Arc<MemoryAdapter> {
        &self.local
    }

    fn broadcast(&self, packet: &Outgoing, target: &Target) -> Result<Emitted, BusError> {
        if !self.comes_back(target) {
            self.local.deliver(packet, target);
        }
        self.tell(target, || Message::Broadcast { args: packet.args(), options: target.to_options(), request: None })
    }

    fn broadcast_with_ack(&self, args: Args, target: Target) -> AckSource {
        let tally = Arc::new(Mutex::new(AckTally::default()));
        let (sink, items) = mpsc::unbounded_channel();
        let deadline = Instant::now() + target.ack_timeout();
        if let Ok(acks) = self.local.ask(&args, &target) {
            tokio::spawn(forward(acks, deadline, sink.clone(), tally.clone()));
        }
        if !target.local && !target.is_nobody() {
            let (channel, questions) = (self.channel.clone(), self.questions.clone());
            let mut options = target.to_options();
            options.flags.timeout.get_or_insert(DEFAULT_ACK_TIMEOUT.as_millis() as u64);
            let tally = tally.clone();
            tokio::spawn(async move {
                let waiting = questions.open();
                let message = Message::Broadcast { args, options, request: Some(waiting.id().to_owned()) };
                RemoteAcks { sink, tally, clients: 0 }.gather(&*channel, waiting, message, deadline).await;
            });
        }
        AckSource::new(items, tally)
    }

    fn sockets_join(&self, target: &Target, rooms: &[ByteString]) -> Result<Emitted, BusError> {
        // Others first: what the local sockets join must not change whom the target means there.
        let emitted = self.tell(target, || Message::Join { options: target.to_options(), rooms: names(rooms) });
        if !self.comes_back(target) {
            self.local.join_all(target, rooms);
        }
        emitted
    }

    fn sockets_leave(&self, target: &Target, rooms: &[ByteString]) -> Result<Emitted, BusError> {
        let emitted = self.tell(target, || Message::Leave { options: target.to_options(), rooms: names(rooms) });
        if !self.comes_back(target) {
            self.local.leave_all(target, rooms);
        }
        emitted
    }

    fn disconnect_sockets(&self, target: &Target, close: bool) -> Result<Emitted, BusError> {
        let emitted = self.tell(target, || Message::Disconnect { options: target.to_options(), close });
        if !self.comes_back(target) {
            self.local.disconnect(target, close);
        }
        emitted
    }

    async fn fetch_sockets(&self, target: &Target, fields: Fields) -> Result<Answers<RemoteSocket>, BusError> {
        let mut received = self.local.describe(target, fields);
        let want = (fields != Fields::ALL).then(|| fields.want());
        let (asked, missing) = self
            .ask_about(target, want, |answer| {
                if let Message::FetchSocketsResponse { sockets, .. } = answer {
                    received.extend(sockets);
                }
            })
            .await?;
        Ok(Answers { received, asked: asked + 1, missing })
    }

    async fn count(&self, target: &Target) -> Result<Answers<u64>, BusError> {
        let mut received = vec![self.local.count(target)];
        let (asked, missing) = self
            .ask_about(target, Some(Want::Count), |answer| match answer {
                Message::Summary { count, .. } => received.push(count),
                Message::FetchSocketsResponse { sockets, .. } => received.push(sockets.len() as u64),
                _ => {}
            })
            .await?;
        Ok(Answers { received, asked: asked + 1, missing })
    }

    async fn room_sizes(&self, target: &Target) -> Result<Answers<(String, u64)>, BusError> {
        let mut sizes = self.local.room_sizes(target);
        let (asked, missing) = self
            .ask_about(target, Some(Want::RoomSizes), |answer| match answer {
                Message::Summary { rooms, .. } => {
                    rooms.into_iter().for_each(|(room, size)| *sizes.entry(room).or_default() += size);
                }
                Message::FetchSocketsResponse { sockets, .. } => {
                    for RemoteSocket { id, rooms, .. } in sockets {
                        let rooms = rooms.into_iter().filter(|room| *room != id);
                        rooms.for_each(|room| *sizes.entry(room).or_default() += 1);
                    }
                }
                _ => {}
            })
            .await?;
        Ok(Answers { received: sizes.into_iter().collect(), asked: asked + 1, missing })
    }

    fn patch_data(&self, target: &Target, patch: &Value) -> Result<Emitted, BusError> {
        // Others first, as with joins.
        let emitted = match target.local || target.is_nobody() {
            true => Ok(Emitted::here()),
            false => {
                let order = PatchOrder {
                    rooms: target.rooms.as_deref().map(names),
                    except: names(&target.except),
                    patch: patch.clone(),
                };
                let args = Args::new_event(PATCH_DATA, &order);
                let args = args.map_err(|error| BusError::Encode { reason: error.to_string() });
                args.and_then(|args| self.server_side_emit(args))
            }
        };
        self.local.patch_data(target, patch);
        emitted
    }

    async fn all_rooms(&self, timeout: Option<Duration>) -> Result<Answers<String>, BusError> {
        let mut rooms: HashSet<String> = self.local.all_rooms().iter().map(ToString::to_string).collect();
        let time = timeout.unwrap_or(self.requests_timeout);
        let mut take = |answer| match answer {
            Message::AllRoomsResponse { rooms: theirs, .. } => rooms.extend(theirs),
            Message::FetchSocketsResponse { sockets, .. } => {
                rooms.extend(sockets.into_iter().flat_map(|socket| socket.rooms));
            }
            _ => {}
        };
        let (asked, missing) = match self.ask(time, |request| Message::AllRooms { request }, &mut take).await {
            // Only the classic format has the question. The sockets know their rooms.
            Err(BusError::Encode { .. }) => {
                let target = Target { timeout, ..Target::default() };
                self.ask_about(&target, Some(Fields::NONE.rooms().want()), take).await?
            }
            answered => answered?,
        };
        Ok(Answers { received: rooms.into_iter().collect(), asked: asked + 1, missing })
    }

    fn server_side_emit(&self, args: Args) -> Result<Emitted, BusError> {
        self.channel.publish(&Message::ServerSideEmit { args, request: None }).map(Emitted::published)
    }

    async fn server_side_emit_with_ack(
        &self,
        args: Args,
        timeout: Option<Duration>,
    ) -> Result<Answers<Args>, BusError> {
        let mut received = Vec::new();
        let question = |request| Message::ServerSideEmit { args, request: Some(request) };
        let (asked, missing) = self
            .ask(timeout.unwrap_or(self.requests_timeout), question, |answer| {
                if let Message::ServerSideEmitResponse { answer, .. } = answer {
                    received.push(answer);
                }
            })
            .await?;
        Ok(Answers { received, asked, missing })
    }

    async fn server_count(&self) -> Result<usize, BusError> {
        self.channel.server_count().await
    }

    async fn ready(&self) -> Result<(), BusError> {
        self.channel.ready().await?;
        if let Some(history) = self.local.shared_history() {
            history.ready().await;
        }
        Ok(())
    }

    fn close(&self) {
        self.channel.close();
    }
}

/// The event by which a server has the others change what is kept with sockets. Node.js servers hear it, too, as an
/// event of another server that nobody listens to.
const PATCH_DATA: &str = "socketio-rs:patch-data";

/// The event by which a server has the one that holds a client's dead connection let go of it; with the client's secret.
pub(crate) const GIVE_WAY: &str = "socketio-rs:give-way";

/// What comes with [`PATCH_DATA`].
#[derive(serde::Serialize, serde::Deserialize)]
struct PatchOrder {
    /// None is everybody.
    rooms: Option<Vec<String>>,
    except: Vec<String>,
    patch: Value,
}

fn names(rooms: &[ByteString]) -> Vec<String> {
    rooms.iter().map(ToString::to_string).collect()
}

/// Tells the channel which rooms have members here.
struct Rooms(Weak<dyn Channel>);

impl std::fmt::Debug for Rooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rooms")
    }
}

impl RoomObserver for Rooms {
    fn created(&self, room: &str) {
        if let Some(channel) = self.0.upgrade() {
            channel.room_created(room);
        }
    }

    fn deleted(&self, room: &str) {
        if let Some(channel) = self.0.upgrade() {
            channel.room_deleted(room);
        }
    }
}

// ---- answering ------------------------------------------------------------------------------------------------

/// Takes what other servers send to this one.
struct Desk {
    local: Arc<MemoryAdapter>,
    questions: Arc<Questions>,
    channel: OnceLock<Weak<dyn Channel>>,
    events: ServerEvents,
    hearing: Hearing,
}

impl Desk {
    fn respond(&self, requester: Option<&str>, message: &Message) {
        let Some(channel) = self.channel.get().and_then(Weak::upgrade) else { return };
        if let Err(error) = channel.respond(requester, message).map(drop::<Published>) {
            tracing::warn!(%error, nsp = %self.local.nsp(), "another server's question could not be answered");
        }
    }

    fn broadcast_with_ack(&self, uid: Option<String>, args: &Args, target: Target, request: String) {
        let Ok(acks) = self.local.ask(args, &target) else { return };
        let count = acks.asked.len() as u64;
        let reads_more = request.starts_with(READS_MORE);
        let asked = match reads_more {
            true => Message::ClientsAsked { request: request.clone(), ids: names(&acks.asked) },
            false => Message::BroadcastClientCount { request: request.clone(), count },
        };
        self.respond(uid.as_deref(), &asked);
        let Some(channel) = self.channel.get().cloned().filter(|_| count > 0) else { return };
        let deadline = Instant::now() + target.ack_timeout();
        let (sink, mut items) = mpsc::unbounded_channel();
        tokio::spawn(forward(acks, deadline, sink, Arc::default()));
        tokio::spawn(async move {
            while let Some(item) = items.recv().await {
                let Some(channel) = channel.upgrade() else { return };
                let request = request.clone();
                let message = match item {
                    AckItem::Answer { id: Some(id), args } if reads_more => {
                        Message::AckOf { request, sid: id.to_string(), answer: Some(args) }
                    }
                    AckItem::Gone { id } if reads_more => Message::AckOf { request, sid: id.to_string(), answer: None },
                    AckItem::Answer { args, .. } => Message::BroadcastAck { request, answer: args },
                    AckItem::Gone { .. } => continue,
                };
                let _ = channel.respond(uid.as_deref(), &message).map(drop::<Published>);
            }
        });
    }

    fn server_side_emit(&self, uid: Option<String>, args: Args, request: Option<String>) {
        if args.event().is_some_and(|event| event == PATCH_DATA) {
            match args.to::<PatchOrder>() {
                Ok(PatchOrder { rooms, except, patch }) => {
                    let target = Target { rooms: rooms.map(shared), except: shared(except), ..Target::default() };
                    self.local.patch_data(&target, &patch);
                }
                Err(error) => tracing::warn!(%error, "another server's change of data could not be read"),
            }
            return;
        }
        if args.event().is_some_and(|event| event == GIVE_WAY) {
            if let (Some(history), Ok((pid,))) = (self.local.shared_history(), args.to::<(String,)>()) {
                history.let_go(&pid);
            }
            return;
        }
        let (answer, answered) = match &request {
            Some(_) => {
                let (sender, receiver) = tokio::sync::oneshot::channel();
                (Some(sender), Some(receiver))
            }
            None => (None, None),
        };
        if let Err(error) = self.events.try_send(ServerEvent { args, answer }) {
            bump(&self.local.cluster_counts().lost);
            let nsp = self.local.nsp();
            match error {
                TrySendError::Full(_) => {
                    tracing::warn!(%nsp, "events of other servers come faster than they are handled");
                }
                TrySendError::Closed(_) => {
                    tracing::warn!(%nsp, "an event of another server comes when nobody handles any more");
                }
            }
            return;
        }
        let (Some(request), Some(answered), Some(channel)) = (request, answered, self.channel.get().cloned()) else {
            return;
        };
        tokio::spawn(async move {
            // No listener, no answer: as in the reference, the asker learns of it by its deadline.
            let Ok(answer) = answered.await else { return };
            let Some(channel) = channel.upgrade() else { return };
            let message = Message::ServerSideEmitResponse { request, answer };
            let _ = channel.respond(uid.as_deref(), &message).map(drop::<Published>);
        });
    }

    fn one(&self, uid: Option<&str>, sid: &str, request: String, act: impl FnOnce()) {
        if self.local.member(sid).is_some() {
            act();
            self.respond(uid, &Message::OneDone { request });
        }
    }

    /// What panics here is an application's: a hook, or what writes the data of a socket. Who brings messages goes on.
    fn guard(&self, work: impl FnOnce()) {
        if std::panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
            let nsp = self.local.nsp();
            tracing::error!(target: "socketio::cluster", %nsp, "something panicked over what other servers sent");
        }
    }

    fn take(&self, envelope: Envelope) {
        let Envelope { uid, message, .. } = envelope;
        let asker = uid.as_deref();
        let local = &self.local;
        match message {
            Message::Broadcast { args, options, request: None } => {
                match Outgoing::from_args(local.parser(), local.nsp(), None, &args) {
                    Ok(packet) => local.deliver(&packet, &Target::from_options(options)),
                    Err(error) => tracing::warn!(%error, "a broadcast of another server is no event"),
                }
            }
            Message::Broadcast { args, options, request: Some(request) } => {
                self.broadcast_with_ack(uid, &args, Target::from_options(options), request);
            }
            Message::Join { options, rooms } => local.join_all(&Target::from_options(options), &shared(rooms)),
            Message::Leave { options, rooms } => local.leave_all(&Target::from_options(options), &shared(rooms)),
            Message::Disconnect { options, close } => local.disconnect(&Target::from_options(options), close),
            Message::FetchSockets { options, request } => {
                let sockets = local.describe(&Target::from_options(options), Fields::ALL);
                self.respond(asker, &Message::FetchSocketsResponse { request, sockets });
            }
            Message::Summarize { options, request, want } => {
                let target = Target::from_options(options);
                self.respond(
                    asker,
                    &match want {
                        Want::Sockets { handshake, rooms, data } => {
                            let sockets = local.describe(&target, Fields { handshake, rooms, data });
                            Message::FetchSocketsResponse { request, sockets }
                        }
                        Want::Count => Message::Summary { request, count: local.count(&target), rooms: Vec::new() },
                        Want::RoomSizes => {
                            let rooms = local.room_sizes(&target).into_iter().collect();
                            Message::Summary { request, count: local.count(&target), rooms }
                        }
                    },
                );
            }
            Message::AllRooms { request } => {
                let rooms = names(&local.all_rooms());
                self.respond(asker, &Message::AllRoomsResponse { request, rooms });
            }
            Message::Sockets { rooms, request } => {
                let rooms = (!rooms.is_empty()).then(|| shared(rooms));
                let ids = names(&local.ids(&Target { rooms, ..Target::default() }));
                self.respond(asker, &Message::SocketsResponse { request, ids });
            }
            Message::ServerSideEmit { args, request } => self.server_side_emit(uid, args, request),
            Message::JoinOne { sid, room, request } => self.one(asker, &sid, request, || local.order_join(&sid, &room)),
            Message::LeaveOne { sid, room, request } => self.one(asker, &sid, request, || local.leave(&sid, &room)),
            Message::DisconnectOne { sid, close, request } => {
                let target = Target::socket(sid.as_str());
                self.one(asker, &sid, request, || local.disconnect(&target, close));
            }
            answer => {
                if let Some(request) = answer.answers().map(str::to_owned) {
                    self.questions.answer(&request, uid, answer);
                }
            }
        }
    }
}

impl Inbox for Desk {
    fn receive(&self, envelope: Envelope) {
        bump(&self.local.cluster_counts().received);
        self.guard(|| self.take(envelope));
    }

    fn logged(&self, at: Offset, own: bool, envelope: Option<Envelope>) {
        let Some(history) = self.local.shared_history() else {
            return envelope.filter(|_| !own).map_or((), |envelope| self.receive(envelope));
        };
        self.guard(|| match envelope {
            Some(Envelope { message: Message::Broadcast { args, options, request: None }, .. }) => {
                let packet = Outgoing::from_args(self.local.parser(), self.local.nsp(), None, &args);
                match packet {
                    Ok(packet) => {
                        self.local.deliver_logged(history, at, &packet, &Target::from_options(options));
                    }
                    Err(error) => tracing::warn!(%error, "a broadcast of another server is no event"),
                }
            }
            Some(envelope) => self.receive(envelope),
            None => {}
        });
        history.advance(at);
    }

    fn has_room(&self, room: &str) -> bool {
        self.local.hears(room)
    }

    fn wants(&self, request: &str) -> bool {
        self.questions.contains(request)
    }

    fn status(&self, status: BusStatus) {
        let nsp = self.local.nsp();
        self.guard(|| self.hearing.count(nsp, &status));
        match status {
            BusStatus::Up => tracing::info!(target: "socketio::cluster", %nsp, "the other servers can be reached"),
            BusStatus::Down { error } => {
                tracing::warn!(target: "socketio::cluster", %nsp, %error, "the link to the other servers is gone");
            }
            BusStatus::Gap { since, until, lost } => {
                let gap = until.duration_since(since);
                tracing::warn!(target: "socketio::cluster", %nsp, ?gap, lost, "messages of the other servers may have been lost meanwhile");
            }
            BusStatus::Lost { count } => {
                tracing::warn!(target: "socketio::cluster", %nsp, count, "messages of the other servers were lost");
            }
            BusStatus::Malformed { channel, error } => {
                tracing::debug!(target: "socketio::cluster", %nsp, channel, error, "a message of another server could not be read");
            }
            _ => {}
        }
    }
}

fn shared(rooms: Vec<String>) -> Vec<ByteString> {
    rooms.into_iter().map(ByteString::from).collect()
}

#[cfg(test)]
mod simulation;
