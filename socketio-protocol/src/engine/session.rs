//! One Engine.IO session from its handshake to its end.
//!
//! [`Session`] is told what happened and when, and says what to do. It decides who pings whom and when silence means
//! death, how a polling session moves to a WebSocket, which requests overlap, and for which reason a session ends. It
//! neither reads nor writes: transports turn frames into [`Input`]s and [`Output`]s into frames. Messages that arrive
//! need not pass through here; a transport that delivers them itself only says with [`Session::heard`] that the client
//! is alive.
//!
//! Engine.IO protocol v4 (and v3), "Transports", "Upgrade", "Heartbeat".

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytestring::ByteString;

use super::{Message, Packet, TransportKind, Version};
use crate::NEVER;

/// The times a session keeps, in the words of the reference server.
///
/// ```
/// use std::time::Duration;
/// use socketio_protocol::engine::Timing;
///
/// let patient = Timing { ping_timeout: Duration::from_secs(60), ..Timing::default() };
/// assert_eq!(patient.ping_interval, Duration::from_secs(25));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From the open packet or the last pong to the next ping. Default 25 s.
    pub ping_interval: Duration,
    /// How long a ping may stay unanswered. Default 20 s.
    pub ping_timeout: Duration,
    /// How long an upgrade may take, from the opened probe to the upgrade packet. Default 10 s.
    pub upgrade_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
        }
    }
}

/// What happened.
///
/// ```
/// use std::time::Instant;
/// use socketio_protocol::engine::{CloseReason, Input, Output, Session, Timing, TransportKind, Version};
///
/// let now = Instant::now();
/// let mut session = Session::new(now, Version::V4, TransportKind::WebSocket, Timing::default());
/// session.handle(now, Input::TransportClosed);
/// let outputs: Vec<_> = std::iter::from_fn(|| session.poll()).collect();
/// assert!(outputs.contains(&Output::Close(CloseReason::TransportClose)), "{outputs:?}");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A packet came on the transport in use.
    Received(Packet),
    /// Something that is no packet came on the transport in use.
    Undecodable,
    /// The transport in use was closed by the client.
    TransportClosed,
    /// The transport in use failed; the text says how.
    TransportFailed(&'static str),
    /// A GET came, to fetch packets.
    PollOpened,
    /// The waiting GET was answered.
    PollAnswered,
    /// The client went away while its GET waited.
    PollAborted,
    /// A POST came, with packets.
    PostOpened,
    /// The POST was answered.
    PostAnswered,
    /// The client went away before its POST was complete.
    PostAborted,
    /// A WebSocket was opened for this session.
    ProbeOpened,
    /// A packet came on that WebSocket, which is not in use yet.
    ProbeReceived(Packet),
    /// That WebSocket was closed, failed, or carried something that is no packet.
    ProbeClosed,
    /// The server wants the session closed.
    Close,
    /// A GET was answered with the close packet that [`Output::ClosePoll`] asked for.
    ToldClosed,
    /// Time has passed; nothing else happened.
    Tick,
}

/// What to do.
///
/// What a transport does with each (shortened):
///
/// ```
/// use socketio_protocol::engine::{Message, Output, Packet, Session};
///
/// fn turn(session: &mut Session, inbox: &mut Vec<Message>, outbox: &mut Vec<Packet>) -> bool {
///     while let Some(output) = session.poll() {
///         match output {
///             Output::Deliver(message) => inbox.push(message),
///             Output::Send(packet) => outbox.push(packet),
///             Output::Close(reason) => println!("ended: {}", reason.as_str()),
///             Output::Forget => return false,
///             _ => {}
///         }
///     }
///     true
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Hand this to the application.
    Deliver(Message),
    /// Queue this for the client, on the transport in use.
    Send(Packet),
    /// Write this on the WebSocket that probes.
    SendProbe(Packet),
    /// Answer the waiting GET with a noop, if nothing else is queued for it.
    ReleasePoll,
    /// Answer the waiting GET with what is queued and a close packet.
    EndPoll,
    /// Answer the waiting GET with what is queued; if that is nothing, with a close packet, and say
    /// [`Input::ToldClosed`]. (The stock client drops what it is told in one body with a close packet: it would take a
    /// disconnection by the server for a failure, and come back.)
    ClosePoll,
    /// The WebSocket that probed is the transport in use now; what is queued leaves through it.
    Upgraded,
    /// Close the WebSocket that probes; the session goes on without it.
    DropProbe,
    /// Refuse the request that was just reported.
    Refuse(Refusal),
    /// The session has ended for the application: close the transport, tell the reason.
    Close(CloseReason),
    /// The session is unknown from now on.
    Forget,
}

/// Why a request for a session is refused.
///
/// ```
/// use std::time::Instant;
/// use socketio_protocol::engine::{Input, Output, Refusal, Session, Timing, TransportKind, Version};
///
/// let now = Instant::now();
/// let mut session = Session::new(now, Version::V4, TransportKind::Polling, Timing::default());
/// session.handle(now, Input::PollOpened);
/// session.handle(now, Input::PollOpened);
/// let outputs: Vec<_> = std::iter::from_fn(|| session.poll()).collect();
/// assert!(outputs.contains(&Output::Refuse(Refusal::Overlap)), "{outputs:?}");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Another GET waits, or another POST runs. The session ends for it.
    Overlap,
    /// The session does not use the transport of the request (any more).
    TransportMismatch,
    /// The session is closed.
    Closed,
}

/// Why a session ended, as the application is told. [`as_str`](CloseReason::as_str) gives the reference server's text.
///
/// ```
/// use socketio_protocol::engine::CloseReason;
///
/// assert_eq!(CloseReason::PingTimeout.as_str(), "ping timeout");
/// assert_eq!(CloseReason::TransportError("broken pipe").as_str(), "transport error");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client closed the transport, or said that it would.
    TransportClose,
    /// The transport failed, or was used against the rules; the text says how.
    TransportError(&'static str),
    /// Nothing was heard in time.
    PingTimeout,
    /// What came was no packet.
    ParseError,
    /// The server closed the session.
    ForcedClose,
    /// The server closed the session while packets were still queued for it.
    ForcedServerClose,
    /// The server is shutting down.
    ServerShutdown,
    /// More was queued for the client than it is allowed to leave unread.
    SlowConsumer,
}

impl CloseReason {
    /// The text that applications and logs know, for example `transport close`.
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::TransportClose => "transport close",
            CloseReason::TransportError(_) => "transport error",
            CloseReason::PingTimeout => "ping timeout",
            CloseReason::ParseError => "parse error",
            CloseReason::ForcedClose => "forced close",
            CloseReason::ForcedServerClose => "forced server close",
            CloseReason::ServerShutdown => "server shutting down",
            CloseReason::SlowConsumer => "slow consumer",
        }
    }
}

/// How long a closed polling session waits for the GET that tells the client.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// A pong is not looked for more often than that, however often pings are sent.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);

/// How often a waiting GET is released once a probe was answered. The client waits for its GET before it sends the upgrade
/// packet. The reference server's time: clients have seen nothing sooner, and their tests count what comes.
const RELEASE_INTERVAL: Duration = Duration::from_millis(100);

/// ```text
///           PollOpened, PostOpened ..                Close (no GET waits)
///                 +----+                          +----------------------+
///                 |    v                          |                      v
///  polling ----> Polling { probe: None } ---------+------------------> Closing --GET, 30 s--> Closed
///                 |    ^                          |                      
///     ProbeOpened |    | DropProbe                | anything that ends the session
///                 v    |                          v
///                Polling { probe: Some } ------> Closed
///                 |                               ^
///     "5" Upgrade |                               |
///                 v                               |
///  websocket --> WebSocket -----------------------+
/// ```
#[derive(Debug)]
enum State {
    Polling {
        poll_waits: bool,
        post_runs: bool,
        probe: Option<Probe>,
    },
    WebSocket,
    /// The client has not been told. It is, by its next GET, or on the WebSocket that it is about to change to.
    Closing {
        until: Instant,
        probe: Option<Probe>,
    },
    Closed,
}

/// A WebSocket that wants to become the transport.
#[derive(Debug)]
struct Probe {
    /// When it has taken too long.
    deadline: Instant,
    /// Set once it was answered: when to release the waiting GET again.
    release: Option<Instant>,
}

impl Probe {
    /// A client whose probe was answered has stopped polling, or is about to: to drop the probe then would leave it deaf
    /// until its own heartbeat fails. It is told of the end once it has changed.
    fn was_answered(&self) -> bool {
        self.release.is_some()
    }
}

/// Who is waited for.
#[derive(Debug)]
enum Heartbeat {
    /// v4: the next ping is due at this time.
    PingDue(Instant),
    /// v4: a ping went out, and it is looked whether something has been heard since.
    PongDue { sent: Instant, look: Instant },
    /// v3: the client pings.
    ClientPings,
}

/// One session; the module's own documentation tells the whole.
///
/// Created when the open packet is sent, told of everything that happens with [`handle`](Session::handle), asked with
/// [`poll`](Session::poll) what to do.
///
/// A client that leaves a ping unanswered:
///
/// ```
/// use socketio_protocol::engine::{CloseReason, Input, Output, Packet, Session, Timing, TransportKind, Version};
///
/// let timing = Timing::default();
/// let mut session = Session::new(std::time::Instant::now(), Version::V4, TransportKind::WebSocket, timing);
/// session.handle(session.deadline().unwrap(), Input::Tick);
/// assert_eq!(session.poll(), Some(Output::Send(Packet::Ping("".into()))));
///
/// session.handle(session.deadline().unwrap(), Input::Tick);
/// let outputs: Vec<_> = std::iter::from_fn(|| session.poll()).collect();
/// assert!(outputs.contains(&Output::Close(CloseReason::PingTimeout)), "{outputs:?}");
/// assert_eq!(session.deadline(), None);
/// ```
#[derive(Debug)]
pub struct Session {
    version: Version,
    timing: Timing,
    state: State,
    heartbeat: Heartbeat,
    heard: Instant,
    outputs: VecDeque<Output>,
}

impl Session {
    /// A session whose open packet is sent at `now`, over `transport`.
    pub fn new(now: Instant, version: Version, transport: TransportKind, timing: Timing) -> Self {
        let timing = Timing {
            ping_interval: timing.ping_interval.min(NEVER),
            ping_timeout: timing.ping_timeout.min(NEVER),
            upgrade_timeout: timing.upgrade_timeout.min(NEVER),
        };
        let state = match transport {
            TransportKind::Polling => State::Polling { poll_waits: false, post_runs: false, probe: None },
            TransportKind::WebSocket | TransportKind::WebTransport => State::WebSocket,
        };
        let heartbeat = match version {
            Version::V4 => Heartbeat::PingDue(now + timing.ping_interval),
            Version::V3 => Heartbeat::ClientPings,
        };
        Self { version, timing, state, heartbeat, heard: now, outputs: VecDeque::new() }
    }

    /// Notes that something arrived at `at`: any packet is a sign of life, not only a pong.
    pub fn heard(&mut self, at: Instant) {
        self.heard = self.heard.max(at);
    }

    /// Whether packets leave in answers to GETs.
    pub fn is_polling(&self) -> bool {
        matches!(self.state, State::Polling { .. } | State::Closing { .. })
    }

    /// Whether a GET waits for packets.
    pub fn poll_waits(&self) -> bool {
        matches!(self.state, State::Polling { poll_waits: true, .. })
    }

    /// Whether a WebSocket is probing.
    pub fn is_probed(&self) -> bool {
        matches!(self.state, State::Polling { probe: Some(_), .. })
    }

    /// Takes in what happened at `now`. Deadlines that have passed are looked at first.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.check_deadlines(now);
        match input {
            Input::Tick => {}
            Input::Received(packet) => self.received(now, packet),
            Input::Undecodable => self.end(now, CloseReason::ParseError),
            Input::TransportClosed => self.end(now, CloseReason::TransportClose),
            Input::TransportFailed(how) => self.end(now, CloseReason::TransportError(how)),
            Input::PollOpened => self.poll_opened(now),
            Input::PollAnswered => {
                if let State::Polling { poll_waits, .. } = &mut self.state {
                    *poll_waits = false;
                }
            }
            Input::PollAborted => {
                if let State::Polling { poll_waits, .. } = &mut self.state {
                    *poll_waits = false;
                    self.end(now, CloseReason::TransportError("poll connection closed prematurely"));
                }
            }
            Input::PostOpened => self.post_opened(now),
            Input::PostAnswered => {
                if let State::Polling { post_runs, .. } = &mut self.state {
                    *post_runs = false;
                }
            }
            Input::PostAborted => {
                if let State::Polling { .. } = self.state {
                    self.end(now, CloseReason::TransportError("data request connection closed prematurely"));
                }
            }
            Input::ProbeOpened => self.probe_opened(now),
            Input::ProbeReceived(packet) => self.probe_received(now, packet),
            Input::ProbeClosed => {
                if let State::Polling { probe, .. } | State::Closing { probe, .. } = &mut self.state {
                    *probe = None;
                }
            }
            Input::Close => self.close(now),
            Input::ToldClosed => {
                if let State::Closing { .. } = self.state {
                    self.end(now, CloseReason::ForcedClose);
                }
            }
        }
    }

    /// Gives back what to do next, until there is nothing left.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Tick`] if nothing happens before. `None` once the session is over.
    pub fn deadline(&self) -> Option<Instant> {
        let heartbeat = match self.heartbeat {
            Heartbeat::PingDue(at) => at,
            Heartbeat::PongDue { look, .. } => look,
            Heartbeat::ClientPings => self.heard + self.timing.ping_interval + self.timing.ping_timeout,
        };
        match &self.state {
            State::Closed => None,
            State::Closing { until, .. } => Some(*until),
            State::Polling { probe: Some(probe), .. } => {
                let release = probe.release.unwrap_or(probe.deadline);
                Some(heartbeat.min(probe.deadline).min(release))
            }
            State::Polling { .. } | State::WebSocket => Some(heartbeat),
        }
    }

    fn check_deadlines(&mut self, now: Instant) {
        match &mut self.state {
            State::Closed => return,
            State::Closing { until, .. } => {
                if now >= *until {
                    self.end(now, CloseReason::ForcedClose);
                }
                return;
            }
            State::Polling { probe, poll_waits, .. } => {
                if probe.as_ref().is_some_and(|probe| now >= probe.deadline) {
                    *probe = None;
                    self.outputs.push_back(Output::DropProbe);
                } else if let Some(Probe { release: Some(at), .. }) = probe
                    && now >= *at
                {
                    *at = now + RELEASE_INTERVAL;
                    if *poll_waits {
                        self.outputs.push_back(Output::ReleasePoll);
                    }
                }
            }
            State::WebSocket => {}
        }
        self.check_heartbeat(now);
    }

    /// A pong, or anything else heard since the ping, starts the next interval when it was heard.
    fn check_heartbeat(&mut self, now: Instant) {
        if let Heartbeat::PongDue { sent, look } = self.heartbeat {
            // At the same instant too: clocks are coarse, and a client may be near.
            if self.heard >= sent {
                self.heartbeat = Heartbeat::PingDue(self.heard + self.timing.ping_interval);
            } else if now >= sent + self.timing.ping_timeout {
                return self.end(now, CloseReason::PingTimeout);
            } else if now >= look {
                self.heartbeat = self.pong_due(sent, now);
            }
        }
        match self.heartbeat {
            Heartbeat::PingDue(at) if now >= at => {
                self.heartbeat = self.pong_due(now, now);
                self.outputs.push_back(Output::Send(Packet::Ping(ByteString::new())));
            }
            Heartbeat::ClientPings if now >= self.heard + self.timing.ping_interval + self.timing.ping_timeout => {
                self.end(now, CloseReason::PingTimeout);
            }
            _ => {}
        }
    }

    /// It is looked for a pong before the next ping would be due: who keeps the deadline need not be told of a pong.
    fn pong_due(&self, sent: Instant, now: Instant) -> Heartbeat {
        let next = now + self.timing.ping_interval.max(SHORTEST_LOOK);
        Heartbeat::PongDue { sent, look: next.min(sent + self.timing.ping_timeout) }
    }

    fn received(&mut self, now: Instant, packet: Packet) {
        match self.state {
            State::Closing { .. } if packet == Packet::Close => return self.end(now, CloseReason::TransportClose),
            State::Closing { .. } | State::Closed => return,
            State::Polling { .. } | State::WebSocket => {}
        }
        self.heard(now);
        match (packet, self.version) {
            (Packet::Message(message), _) => self.outputs.push_back(Output::Deliver(message)),
            (Packet::Ping(data), Version::V3) => self.outputs.push_back(Output::Send(Packet::Pong(data))),
            (Packet::Pong(_), Version::V4) => {}
            (Packet::Ping(_), Version::V4) | (Packet::Pong(_), Version::V3) => {
                self.end(now, CloseReason::TransportError("invalid heartbeat direction"));
            }
            (Packet::Close, _) => {
                // The reference answers a waiting GET with a noop: the client asked for the end, it need not be told.
                if self.poll_waits() {
                    self.outputs.push_back(Output::ReleasePoll);
                    self.handle(now, Input::PollAnswered);
                }
                self.end(now, CloseReason::TransportClose);
            }
            (Packet::Open(_) | Packet::Upgrade | Packet::Noop, _) => {}
        }
    }

    fn poll_opened(&mut self, now: Instant) {
        match &mut self.state {
            State::Polling { poll_waits: true, .. } => {
                self.outputs.push_back(Output::Refuse(Refusal::Overlap));
                self.end(now, CloseReason::TransportError("overlap from client"));
            }
            State::Polling { poll_waits, .. } => *poll_waits = true,
            State::Closing { .. } => self.outputs.push_back(Output::ClosePoll),
            State::WebSocket => self.outputs.push_back(Output::Refuse(Refusal::TransportMismatch)),
            State::Closed => self.outputs.push_back(Output::Refuse(Refusal::Closed)),
        }
    }

    fn post_opened(&mut self, now: Instant) {
        match &mut self.state {
            State::Polling { post_runs: true, .. } => {
                self.outputs.push_back(Output::Refuse(Refusal::Overlap));
                self.end(now, CloseReason::TransportError("data request overlap from client"));
            }
            State::Polling { post_runs, .. } => *post_runs = true,
            // What it brings is dropped. A refusal would be the end to the client, before it has fetched what is queued.
            State::Closing { .. } => {}
            State::WebSocket => self.outputs.push_back(Output::Refuse(Refusal::TransportMismatch)),
            State::Closed => self.outputs.push_back(Output::Refuse(Refusal::Closed)),
        }
    }

    fn probe_opened(&mut self, now: Instant) {
        match &mut self.state {
            State::Polling { probe: probe @ None, .. } => {
                *probe = Some(Probe { deadline: now + self.timing.upgrade_timeout, release: None });
            }
            State::Polling { .. } | State::WebSocket => {
                self.outputs.push_back(Output::Refuse(Refusal::TransportMismatch));
            }
            State::Closing { .. } | State::Closed => self.outputs.push_back(Output::Refuse(Refusal::Closed)),
        }
    }

    fn probe_received(&mut self, now: Instant, packet: Packet) {
        if let State::Closing { probe: Some(_), .. } = self.state {
            if packet == Packet::Upgrade {
                // What is queued, and the end, are told here: the client polls no more.
                self.state = State::Closed;
                self.outputs.extend([Output::Upgraded, Output::Forget]);
            }
            return;
        }
        let State::Polling { probe: Some(probe), poll_waits, .. } = &mut self.state else {
            return;
        };
        match packet {
            Packet::Ping(data) if data == "probe" => {
                probe.release = Some(now + RELEASE_INTERVAL);
                self.heard(now);
                self.outputs.push_back(Output::SendProbe(Packet::Pong(data)));
            }
            Packet::Upgrade if probe.was_answered() => {
                if *poll_waits {
                    self.outputs.push_back(Output::EndPoll);
                }
                self.state = State::WebSocket;
                self.heard(now);
                self.outputs.push_back(Output::Upgraded);
            }
            _ => {
                if let State::Polling { probe, .. } = &mut self.state {
                    *probe = None;
                }
                self.outputs.push_back(Output::DropProbe);
            }
        }
    }

    fn close(&mut self, now: Instant) {
        match &mut self.state {
            State::Polling { poll_waits, probe, .. } => {
                if *poll_waits {
                    self.outputs.push_back(Output::ClosePoll);
                }
                let answered = probe.take_if(|probe| probe.was_answered());
                if probe.is_some() {
                    self.outputs.push_back(Output::DropProbe);
                }
                self.state = State::Closing { until: now + CLOSE_TIMEOUT, probe: answered };
                self.outputs.push_back(Output::Close(CloseReason::ForcedClose));
            }
            State::WebSocket => self.end(now, CloseReason::ForcedClose),
            State::Closing { .. } | State::Closed => {}
        }
    }

    /// Ends the session now. A waiting GET is told; without one, a client that changes to a WebSocket is told there.
    fn end(&mut self, now: Instant, reason: CloseReason) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Polling { poll_waits: false, probe: Some(probe), .. }
                if probe.was_answered() && reason != CloseReason::TransportClose =>
            {
                self.state = State::Closing { until: now + CLOSE_TIMEOUT, probe: Some(probe) };
                return self.outputs.push_back(Output::Close(reason));
            }
            State::Polling { poll_waits, probe, .. } => {
                if poll_waits {
                    self.outputs.push_back(Output::EndPoll);
                }
                if probe.is_some() {
                    self.outputs.push_back(Output::DropProbe);
                }
            }
            State::WebSocket => {}
            State::Closing { probe, .. } => {
                if probe.is_some() {
                    self.outputs.push_back(Output::DropProbe);
                }
                return self.outputs.push_back(Output::Forget);
            }
            State::Closed => return,
        }
        self.outputs.extend([Output::Close(reason), Output::Forget]);
    }
}

#[cfg(test)]
mod tests;
