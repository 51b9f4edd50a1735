//! Three servers that are one, over a bus in memory: what each asks of the others, and what it does alone.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use socketio_protocol::cluster::{Bus, BusError, Channel, Envelope, Inbox, Message, Published};
use socketio_server::testing::TestClient;
use socketio_server::{Broadcast, Data, EmitError, Namespace, Server, ServerAnswer, State};
use tokio::sync::mpsc;

use crate::{Log, settle, socket_of, sorted};

const SECOND: Duration = Duration::from_secs(1);

/// Carries messages between the servers of a test.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<WireState>>);

#[derive(Default)]
struct WireState {
    members: Vec<(Member, mpsc::UnboundedSender<Message>)>,
    is_cut: bool,
    named: usize,
}

#[derive(Clone, PartialEq)]
struct Member {
    nsp: String,
    uid: String,
}

struct MemberChannel {
    wire: Wire,
    member: Member,
}

impl Bus for Wire {
    fn open(&self, nsp: &str, inbox: Arc<dyn Inbox>) -> Arc<dyn Channel> {
        let (sender, mut messages) = mpsc::unbounded_channel();
        let mut state = self.0.lock().unwrap();
        state.named += 1;
        let member = Member { nsp: nsp.to_owned(), uid: format!("server {}", state.named) };
        state.members.push((member.clone(), sender));
        let nsp = nsp.to_owned();
        tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                inbox.receive(Envelope { uid: None, nsp: nsp.clone(), message });
            }
        });
        Arc::new(MemberChannel { wire: self.clone(), member })
    }
}

impl Channel for MemberChannel {
    fn uid(&self) -> &str {
        &self.member.uid
    }

    fn publish(&self, message: &Message) -> Result<Published, BusError> {
        let state = self.wire.0.lock().unwrap();
        if state.is_cut {
            return Err(BusError::Unreachable { reason: "it was cut".into() });
        }
        let others = state.members.iter().filter(|(other, _)| *other != self.member && other.nsp == self.member.nsp);
        for (_, messages) in others {
            let _ = messages.send(message.clone());
        }
        Ok(Published::settled(Ok(())))
    }

    fn respond(&self, _: Option<&str>, message: &Message) -> Result<Published, BusError> {
        self.publish(message)
    }

    fn server_count(&self) -> Pin<Box<dyn Future<Output = Result<usize, BusError>> + Send + '_>> {
        let state = self.wire.0.lock().unwrap();
        let count = state.members.iter().filter(|(other, _)| other.nsp == self.member.nsp).count();
        Box::pin(std::future::ready(Ok(count)))
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = Result<(), BusError>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn close(&self) {
        self.wire.0.lock().unwrap().members.retain(|(other, _)| *other != self.member);
    }
}

/// Three servers with a client each, of which the second is in the room `red`.
struct Cluster {
    wire: Wire,
    servers: [Server; 3],
    clients: [TestClient; 3],
}

async fn cluster() -> Cluster {
    let wire = Wire::default();
    let servers = [(); 3].map(|()| Server::builder().adapter(wire.clone()).build());
    for io in &servers {
        io.of("/chat");
    }
    let mut clients = Vec::new();
    for io in &servers {
        clients.push(TestClient::connect(io).await);
    }
    let clients: [TestClient; 3] = clients.try_into().unwrap();
    socket_of(&servers[1], &clients[1]).join("red");
    Cluster { wire, servers, clients }
}

impl Cluster {
    /// Which clients have heard exactly one event, of this name, and which none.
    async fn heard(&mut self, event: &str) -> [bool; 3] {
        settle().await;
        let mut heard = [false; 3];
        for (client, heard) in self.clients.iter_mut().zip(&mut heard) {
            while let Some(came) = client.next_event(Duration::from_millis(10)).await {
                assert_eq!((came.name(), *heard), (event, false));
                *heard = true;
            }
        }
        heard
    }

    /// How many sockets a server knows of.
    async fn found(&self, whom: Broadcast) -> usize {
        whom.fetch_sockets().await.unwrap().complete().unwrap().len()
    }
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_reaches_who_it_is_for_on_every_server() {
    let mut cluster = cluster().await;
    let io = cluster.servers[0].clone();
    let third = cluster.clients[2].id().to_owned();
    for (name, operator, expected) in [
        ("all", io.everyone(), [true, true, true]),
        ("a room", io.to("red"), [false, true, false]),
        ("all but a room", io.except("red"), [true, false, true]),
        ("a room and a socket", io.to("red").to(&third), [false, true, true]),
        ("this server", io.local(), [true, false, false]),
        ("nobody", io.to("blue"), [false, false, false]),
    ] {
        operator.emit(name, Bytes::from_static(b"\x01")).unwrap();
        assert_eq!(cluster.heard(name).await, expected, "{name}");
    }
    let chat = cluster.clients[2].enter("/chat", ()).await.unwrap();
    io.of("/chat").emit("chat", ()).unwrap();
    assert_eq!(cluster.heard("chat").await, [false; 3], "another namespace");
    drop(chat);

    cluster.wire.0.lock().unwrap().is_cut = true;
    let sent = io.emit("alone", ());
    assert!(matches!(sent, Err(EmitError::Adapter(_))), "{sent:?}");
    assert_eq!(cluster.heard("alone").await, [true, false, false], "its own sockets, when the others are out of reach");
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_by_the_sockets_of_every_server() {
    let mut cluster = cluster().await;
    let io = cluster.servers[0].clone();
    let asking = tokio::spawn(io.timeout(SECOND).emit_with_ack::<Bytes>("ask", ()).into_future());
    for (n, client) in cluster.clients.iter_mut().enumerate() {
        client.expect_event("ask").await.answer(Bytes::from(vec![n as u8]));
    }
    let answers = asking.await.unwrap().unwrap().complete().unwrap();
    assert_eq!(sorted(answers), [&[0][..], &[1], &[2]].map(Bytes::from_static));

    let asking = tokio::spawn(io.timeout(SECOND).emit_with_ack::<i32>("ask", ()).into_future());
    cluster.clients[1].expect_event("ask").await.answer(1);
    let acks = asking.await.unwrap().unwrap();
    assert_eq!((&acks.answers[..], acks.missing), (&[1][..], 2));

    let nobody = io.to("blue").timeout(SECOND).emit_with_ack::<i32>("ask", ()).await.unwrap();
    assert!(nobody.is_complete() && nobody.answers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_socket_is_asked_moved_and_disconnected_wherever_it_is() {
    let mut cluster = cluster().await;
    let io = cluster.servers[0].clone();
    for n in 0..3 {
        let id = cluster.clients[n].id().to_owned();
        let socket = io.to(&id).fetch_sockets().await.unwrap().complete().unwrap().remove(0);
        let asking = tokio::spawn({
            let socket = socket.timeout(SECOND);
            async move { socket.emit_with_ack::<i32>("ask", 1).await }
        });
        cluster.clients[n].expect_event("ask").await.answer(n);
        assert_eq!(asking.await.unwrap().unwrap(), n as i32);
        socket.join("special").unwrap();
        settle().await;
        assert_eq!(cluster.found(io.to("special")).await, 1);
        socket.leave("special").unwrap();
        settle().await;
        assert_eq!(cluster.found(io.to("special")).await, 0);
        socket.disconnect(false).unwrap();
        assert_eq!(cluster.clients[n].disconnected().await, "io server disconnect");
    }
}

#[tokio::test(start_paused = true)]
async fn sockets_are_found_join_leave_and_are_disconnected_on_every_server() {
    let mut cluster = cluster().await;
    let io = cluster.servers[0].clone();
    assert_eq!(cluster.found(io.everyone()).await, 3);
    assert_eq!(cluster.found(io.to("red")).await, 1);
    assert_eq!(cluster.found(io.local()).await, 1);
    io.sockets_join("all").unwrap();
    io.to("red").sockets_join(["green", "blue"]).unwrap();
    settle().await;
    for (room, size) in [("all", 3), ("green", 1), ("blue", 1)] {
        assert_eq!(cluster.found(io.to(room)).await, size, "{room}");
    }
    io.to("red").sockets_leave(["green", "all"]).unwrap();
    settle().await;
    assert_eq!((cluster.found(io.to("all")).await, cluster.found(io.to("green")).await), (2, 0));
    io.sockets_leave("all").unwrap();
    settle().await;
    assert_eq!(cluster.found(io.to("all")).await, 0);

    io.emit("last words", ()).unwrap();
    io.disconnect_sockets(true).unwrap();
    for client in &mut cluster.clients {
        client.expect::<()>("last words").await;
        assert_eq!(client.disconnected().await, "io server disconnect");
    }
}

#[tokio::test(start_paused = true)]
async fn servers_tell_and_ask_each_other_and_a_silent_one_is_missing() {
    let cluster = cluster().await;
    let log = Log::default();
    for (n, io) in cluster.servers.iter().enumerate() {
        let log = log.clone();
        io.on_server_event("tell", async move |Data((a, b)): Data<(i32, Bytes)>| log.note(format!("{n}: {a} {b:?}")));
        io.on_server_event("all answer", async move || n);
        if n != 2 {
            io.on_server_event("one is silent", async move |answer: ServerAnswer| answer.send(n));
        }
    }
    let io = &cluster.servers[0];
    io.server_side_emit("tell", (1, Bytes::from_static(b"x"))).unwrap();
    settle().await;
    assert_eq!(sorted(log.taken()), [r#"1: 1 b"x""#, r#"2: 1 b"x""#], "the others");
    let answers = io.server_side_emit_with_ack::<usize>("all answer", ()).await.unwrap();
    assert_eq!(sorted(answers.complete().unwrap()), [1, 2]);
    let answers = io.server_side_emit_with_ack::<usize>("one is silent", ()).await.unwrap();
    assert_eq!((&answers.received[..], answers.missing), (&[1][..], 1));
    let error = answers.complete().unwrap_err();
    assert_eq!(error.to_string(), "timeout reached: only 1 responses received out of 2");

    cluster.servers[2].close().await;
    let answers = io.server_side_emit_with_ack::<usize>("one is silent", ()).await.unwrap();
    assert_eq!(answers.complete().unwrap(), [1], "one that has left is not waited for");
}

/// What is beyond the reference, whose handlers are not typed.
#[tokio::test(start_paused = true)]
async fn events_of_servers_have_handlers_with_types_states_and_answers_that_take_their_time() {
    let wire = Wire::default();
    let servers = [0, 1].map(|n: u32| Server::builder().adapter(wire.clone()).state(n).build());
    let errors = Log::default();
    let reported = errors.clone();
    let [asker, io] = &servers;
    io.on_error(move |error| reported.note(format!("{}{}: {}", error.socket, error.event, error.kind)));
    let boards = io.of_matching(|name| name.starts_with("/board-"));
    boards.on_server_event("where", async |namespace: Namespace| namespace.name().to_string());
    io.of("/board-1");
    io.on_server_event("add", async |Data((a, b)): Data<(u32, u32)>, n: State<u32>| {
        tokio::time::sleep(Duration::from_millis(50)).await;
        a + b + *n
    });
    io.on_server_event("refuse", async || Err::<(), _>("no"));
    io.on_server_event("panic", async || -> u32 { panic!("as the asker wished") });

    let sum = asker.server_side_emit_with_ack::<u32>("add", (1, 2)).await.unwrap();
    assert_eq!(sum.complete().unwrap(), [4]);
    let place = asker.of("/board-1").server_side_emit_with_ack::<String>("where", ()).await.unwrap();
    assert_eq!(place.complete().unwrap(), ["/board-1"]);
    let does_not_fit = "the arguments do not fit: argument 1 is missing";
    for (event, answered, error) in [
        ("refuse", "no", "no"),
        ("panic", "\"Internal server error\"", "panic: as the asker wished"),
        ("add", does_not_fit, does_not_fit),
    ] {
        let answers = asker.server_side_emit_with_ack::<serde_json::Value>(event, ()).await.unwrap();
        let told = answers.complete().unwrap()[0]["error"].to_string();
        assert!(told.contains(answered), "{told}");
        let reported = errors.taken();
        assert!(matches!(&reported[..], [one] if one.starts_with(event) && one.contains(error)), "{reported:?}");
    }

    io.on_server_event("odd", async || std::collections::HashMap::from([(vec![1], 2)]));
    let answers = asker.server_side_emit_with_ack::<serde_json::Value>("odd", ()).await.unwrap();
    assert_eq!((answers.received.len(), answers.missing), (0, 1));
    let reported = errors.taken();
    assert!(matches!(&reported[..], [one] if one.starts_with("odd: the answer cannot be written")), "{reported:?}");
}
