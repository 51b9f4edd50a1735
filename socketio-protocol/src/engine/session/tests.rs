use super::*;

const TIMING: Timing = Timing {
    ping_interval: Duration::from_millis(300),
    ping_timeout: Duration::from_millis(200),
    upgrade_timeout: Duration::from_secs(1),
};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

struct Story {
    start: Instant,
    session: Session,
}

impl Story {
    fn new(version: Version, transport: TransportKind) -> Self {
        let start = Instant::now();
        Self { start, session: Session::new(start, version, transport, TIMING) }
    }

    fn polling() -> Self {
        Self::new(Version::V4, TransportKind::Polling)
    }

    /// What comes back when `input` happens `at` milliseconds after the start.
    fn at(&mut self, at: u64, input: Input) -> Vec<Output> {
        self.session.handle(self.start + ms(at), input);
        std::iter::from_fn(|| self.session.poll()).collect()
    }

    fn deadline(&self) -> Option<u64> {
        self.session.deadline().map(|at| at.duration_since(self.start).as_millis() as u64)
    }
}

fn probe() -> Packet {
    Packet::Ping("probe".into())
}

fn ping() -> Output {
    Output::Send(Packet::Ping(ByteString::new()))
}

#[test]
fn the_first_ping_comes_one_interval_after_the_open_packet() {
    let mut story = Story::new(Version::V4, TransportKind::WebSocket);
    assert_eq!(story.deadline(), Some(300));
    assert_eq!(story.at(299, Input::Tick), []);
    assert_eq!(story.at(300, Input::Tick), [ping()]);
    assert_eq!(story.deadline(), Some(500));
}

#[test]
fn a_client_that_leaves_a_ping_unanswered_is_closed() {
    let mut story = Story::new(Version::V4, TransportKind::WebSocket);
    story.at(300, Input::Tick);
    assert_eq!(story.at(500, Input::Tick), [Output::Close(CloseReason::PingTimeout), Output::Forget]);
    assert_eq!(story.deadline(), None);
}

#[test]
fn the_pong_sets_the_time_of_the_next_ping_and_any_message_counts_as_a_pong() {
    for life in [Packet::Pong(ByteString::new()), Packet::Message(Message::Text("x".into()))] {
        let mut story = Story::new(Version::V4, TransportKind::WebSocket);
        story.at(300, Input::Tick);
        story.at(310, Input::Received(life));
        assert_eq!(story.at(500, Input::Tick), []);
        assert_eq!(story.deadline(), Some(610));
        assert_eq!(story.at(610, Input::Tick), [ping()]);
    }
}

#[test]
fn pings_come_each_interval_also_if_the_time_for_a_pong_is_longer() {
    let start = Instant::now();
    let timing = Timing { ping_interval: ms(100), ping_timeout: ms(350), ..TIMING };
    let mut story = Story { start, session: Session::new(start, Version::V4, TransportKind::WebSocket, timing) };
    let (mut at, mut pings) = (0, Vec::new());
    while pings.len() < 4 {
        at = story.deadline().unwrap();
        if story.at(at, Input::Tick) == [ping()] {
            pings.push(at);
            // As a server does that only notes when it has heard something.
            story.session.heard(start + ms(at + 1));
        }
    }
    assert_eq!(pings, [100, 201, 302, 403]);
    let mut last = vec![];
    while last.is_empty() || last == [ping()] {
        at = story.deadline().unwrap();
        last = story.at(at, Input::Tick);
    }
    assert_eq!((at, last), (504 + 350, vec![Output::Close(CloseReason::PingTimeout), Output::Forget]));
}

#[test]
fn for_ever_is_a_century() {
    let timing = Timing { ping_interval: Duration::MAX, ping_timeout: Duration::MAX, upgrade_timeout: Duration::MAX };
    let century = NEVER.as_millis() as u64;
    for (version, due, outputs) in [(Version::V4, century, vec![ping()]), (Version::V3, century + 1, vec![])] {
        let start = Instant::now();
        let mut story = Story { start, session: Session::new(start, version, TransportKind::Polling, timing) };
        story.at(1, Input::ProbeOpened);
        assert_eq!(story.deadline(), Some(due), "{version:?}");
        assert_eq!(story.at(century, Input::Tick), outputs, "{version:?}");
    }
}

#[test]
fn a_v3_client_pings_is_answered_and_is_closed_when_it_stops() {
    let mut story = Story::new(Version::V3, TransportKind::Polling);
    assert_eq!(story.at(400, Input::Received(Packet::Ping("x".into()))), [Output::Send(Packet::Pong("x".into()))]);
    assert_eq!(story.deadline(), Some(900));
    assert_eq!(story.at(900, Input::Tick), [Output::Close(CloseReason::PingTimeout), Output::Forget]);
}

#[test]
fn a_v3_client_is_timed_after_its_upgrade_too() {
    let mut story = Story::new(Version::V3, TransportKind::Polling);
    story.at(10, Input::ProbeOpened);
    story.at(20, Input::ProbeReceived(probe()));
    assert_eq!(story.at(30, Input::ProbeReceived(Packet::Upgrade)), [Output::Upgraded]);
    assert_eq!(story.at(530, Input::Tick), [Output::Close(CloseReason::PingTimeout), Output::Forget]);
}

#[test]
fn a_heartbeat_in_the_wrong_direction_is_an_error_of_the_transport() {
    for (version, packet) in
        [(Version::V4, Packet::Ping(ByteString::new())), (Version::V3, Packet::Pong(ByteString::new()))]
    {
        let mut story = Story::new(version, TransportKind::WebSocket);
        let reason = CloseReason::TransportError("invalid heartbeat direction");
        assert_eq!(story.at(1, Input::Received(packet)), [Output::Close(reason), Output::Forget]);
    }
}

#[test]
fn each_waiting_poll_is_released_within_100_ms_until_the_client_upgrades() {
    let mut story = Story::polling();
    assert_eq!(story.at(1, Input::PollOpened), []);
    assert_eq!(story.at(2, Input::ProbeOpened), []);
    let answer = [Output::SendProbe(Packet::Pong("probe".into()))];
    assert_eq!(story.at(3, Input::ProbeReceived(probe())), answer, "at once, and only that");
    assert_eq!(story.deadline(), Some(103));
    assert_eq!(story.at(103, Input::Tick), [Output::ReleasePoll]);
    story.at(103, Input::PollAnswered);
    assert_eq!(story.at(203, Input::Tick), [], "no poll waits");
    assert_eq!(story.at(204, Input::PollOpened), []);
    assert_eq!(story.deadline(), Some(300), "the ping");
    assert_eq!(story.at(303, Input::Tick), [Output::ReleasePoll, ping()]);
    assert_eq!(story.at(304, Input::ProbeReceived(Packet::Upgrade)), [Output::EndPoll, Output::Upgraded]);
    assert_eq!(story.at(305, Input::PollOpened), [Output::Refuse(Refusal::TransportMismatch)]);
    assert_eq!(story.at(306, Input::ProbeOpened), [Output::Refuse(Refusal::TransportMismatch)]);
}

#[test]
fn a_failed_probe_leaves_the_session_as_it_was() {
    for end in [Input::ProbeReceived(Packet::Upgrade), Input::ProbeReceived(Packet::Noop)] {
        let mut story = Story::polling();
        story.at(1, Input::ProbeOpened);
        assert_eq!(story.at(2, end), [Output::DropProbe]);
        assert_eq!(story.at(3, Input::PollOpened), []);
        assert_eq!(story.at(4, Input::ProbeOpened), [], "another attempt is allowed");
    }
    let mut story = Story::polling();
    story.session.timing.ping_interval = ms(5000);
    story.session.heartbeat = Heartbeat::PingDue(story.start + ms(5000));
    story.at(1, Input::ProbeOpened);
    assert_eq!(story.at(1001, Input::Tick), [Output::DropProbe]);
}

#[test]
fn a_second_poll_or_post_while_one_runs_ends_the_session() {
    let mut story = Story::polling();
    story.at(1, Input::PollOpened);
    assert_eq!(
        story.at(2, Input::PollOpened),
        [
            Output::Refuse(Refusal::Overlap),
            Output::EndPoll,
            Output::Close(CloseReason::TransportError("overlap from client")),
            Output::Forget
        ]
    );
    let mut story = Story::polling();
    story.at(1, Input::PostOpened);
    assert_eq!(
        story.at(2, Input::PostOpened),
        [
            Output::Refuse(Refusal::Overlap),
            Output::Close(CloseReason::TransportError("data request overlap from client")),
            Output::Forget
        ]
    );
}

#[test]
fn a_close_packet_over_polling_releases_the_waiting_poll() {
    let mut story = Story::polling();
    story.at(1, Input::PollOpened);
    assert_eq!(
        story.at(2, Input::Received(Packet::Close)),
        [Output::ReleasePoll, Output::Close(CloseReason::TransportClose), Output::Forget]
    );
}

#[test]
fn a_session_closed_between_two_polls_waits_for_the_next_to_tell() {
    let mut story = Story::polling();
    assert_eq!(story.at(1, Input::Close), [Output::Close(CloseReason::ForcedClose)]);
    assert_eq!(story.at(2, Input::PostOpened), [], "a refusal would be the end to the client");
    assert_eq!(story.at(2, Input::Received(Packet::Message(Message::Text("too late".into())))), []);
    assert_eq!(story.at(2, Input::PostAnswered), []);
    assert_eq!(story.at(3, Input::PollOpened), [Output::ClosePoll], "with what was queued");
    assert_eq!(story.at(4, Input::PollOpened), [Output::ClosePoll], "with the close packet");
    assert_eq!(story.at(5, Input::ToldClosed), [Output::Forget]);
    assert_eq!(story.at(6, Input::PollOpened), [Output::Refuse(Refusal::Closed)]);

    let mut story = Story::polling();
    story.at(1, Input::Close);
    assert_eq!(story.at(30_001, Input::Tick), [Output::Forget]);

    let mut story = Story::polling();
    story.at(1, Input::Close);
    assert_eq!(story.at(2, Input::Received(Packet::Close)), [Output::Forget], "the client ends it, too");
}

#[test]
fn a_session_closed_in_the_middle_of_an_upgrade_is_told_where_the_client_listens() {
    let closing = || {
        let mut story = Story::polling();
        story.at(1, Input::ProbeOpened);
        story.at(2, Input::ProbeReceived(probe()));
        assert_eq!(story.at(3, Input::Close), [Output::Close(CloseReason::ForcedClose)]);
        story
    };
    let upgrade = Input::ProbeReceived(Packet::Upgrade);
    assert_eq!(closing().at(4, upgrade), [Output::Upgraded, Output::Forget]);
    let mut story = closing();
    assert_eq!(story.at(4, Input::PollOpened), [Output::ClosePoll]);
    assert_eq!(story.at(4, Input::ToldClosed), [Output::DropProbe, Output::Forget]);
    assert_eq!(closing().at(30_003, Input::Tick), [Output::DropProbe, Output::Forget]);

    let mut story = Story::polling();
    story.at(1, Input::ProbeOpened);
    let unanswered = [Output::DropProbe, Output::Close(CloseReason::ForcedClose)];
    assert_eq!(story.at(2, Input::Close), unanswered, "this client still polls");
}

#[test]
fn a_session_that_fails_in_the_middle_of_an_upgrade_is_told_where_the_client_listens() {
    let failed = |poll_waits| {
        let mut story = Story::polling();
        story.at(1, Input::ProbeOpened);
        story.at(2, Input::ProbeReceived(probe()));
        if poll_waits {
            story.at(3, Input::PollOpened);
        }
        let outputs = story.at(4, Input::Undecodable);
        (story, outputs)
    };
    let close = Output::Close(CloseReason::ParseError);
    let (mut story, outputs) = failed(false);
    assert_eq!(outputs, std::slice::from_ref(&close));
    assert_eq!(story.at(5, Input::ProbeReceived(Packet::Upgrade)), [Output::Upgraded, Output::Forget]);
    let (mut story, _) = failed(false);
    assert_eq!(story.at(5, Input::PollOpened), [Output::ClosePoll]);
    assert_eq!(story.at(5, Input::ToldClosed), [Output::DropProbe, Output::Forget]);
    assert_eq!(failed(true).1, [Output::EndPoll, Output::DropProbe, close, Output::Forget]);
}

#[test]
fn the_server_closes_a_waiting_poll_and_a_web_socket_at_once() {
    let mut story = Story::polling();
    story.at(1, Input::PollOpened);
    assert_eq!(story.at(2, Input::Close), [Output::ClosePoll, Output::Close(CloseReason::ForcedClose)]);
    assert_eq!(story.at(2, Input::ToldClosed), [Output::Forget]);
    let end = [Output::Close(CloseReason::ForcedClose), Output::Forget];
    let mut story = Story::new(Version::V4, TransportKind::WebSocket);
    assert_eq!(story.at(2, Input::Close), end);
}
