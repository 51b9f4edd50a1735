//! Stories of a client that polls, told by calls of the engine, without a network.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};

use crate::{ConnectError, Data, HandlerError, Server, Socket};

/// A client of `server` that polls.
struct Polling<'a> {
    server: &'a Server,
    sid: String,
    unread: Vec<String>,
}

impl<'a> Polling<'a> {
    async fn open(server: &'a Server) -> Self {
        let mut client = Self { server, sid: String::new(), unread: Vec::new() };
        let (_, open) = client.request("").await;
        let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
        client.sid = open["sid"].as_str().unwrap().to_owned();
        client
    }

    /// GETs, or POSTs if there is something to send.
    async fn request(&self, body: &str) -> (u16, String) {
        let mut uri = "/socket.io/?EIO=4&transport=polling".to_owned();
        if !self.sid.is_empty() {
            uri += &format!("&sid={}", self.sid);
        }
        let method = if body.is_empty() { "GET" } else { "POST" };
        let request = http::Request::builder().method(method).uri(uri);
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        let response = self.server.engine().respond(request);
        let response = tokio::time::timeout(Duration::from_secs(5), response).await.expect("an answer");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn send(&self, packets: &[&str]) {
        let body: Vec<_> = packets.iter().map(|packet| format!("4{packet}")).collect();
        assert_eq!(self.request(&body.join("\u{1e}")).await, (200, "ok".into()));
    }

    /// The next Socket.IO packet.
    async fn next(&mut self) -> String {
        while self.unread.is_empty() {
            let (status, body) = self.request("").await;
            assert_eq!(status, 200, "{body}");
            self.unread = body.split('\u{1e}').filter_map(|packet| packet.strip_prefix('4')).map(Into::into).collect();
        }
        self.unread.remove(0)
    }

    async fn connect(server: &'a Server) -> Self {
        let mut client = Self::open(server).await;
        client.send(&["0"]).await;
        assert!(client.next().await.starts_with("0{\"sid\":"));
        client
    }
}

fn errors_of(io: &Server) -> Arc<Mutex<Vec<String>>> {
    let errors: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = errors.clone();
    io.on_error(move |HandlerError { event, kind, .. }| log.lock().unwrap().push(format!("{event}: {kind}")));
    errors
}

#[tokio::test]
async fn a_middleware_that_panics_refuses_its_client_and_is_reported() {
    let io = Server::new();
    let errors = errors_of(&io);
    io.of("/at-once").middleware(async |_| panic!("at once"));
    io.of("/later").middleware(async |_| {
        tokio::task::yield_now().await;
        panic!("later")
    });
    let mut client = Polling::connect(&io).await;
    for (name, text) in [("/at-once", "at once"), ("/later", "later")] {
        client.send(&[&format!("0{name},")]).await;
        assert_eq!(client.next().await, format!("4{name},{{\"message\":\"Internal server error\"}}"));
        assert_eq!(errors.lock().unwrap().pop().unwrap(), format!("middleware: panic: {text}"));
    }
    assert_eq!(io.local_count(), 1, "its other namespaces are not touched");
}

#[tokio::test]
async fn what_a_handler_panics_with_when_a_socket_comes_or_goes_is_reported_under_its_name() {
    let io = Server::new();
    let errors = errors_of(&io);
    io.on_connection(|_: Socket| -> std::future::Ready<()> { panic!("hello") });
    io.on_disconnecting(|_: Socket, _| -> std::future::Ready<()> { panic!("going") });
    io.on_disconnect(async |_: Socket, _| panic!("gone"));
    let _client = Polling::connect(&io).await;
    io.local_sockets().pop().unwrap().disconnect(false);
    let reported = ["connection: panic: hello", "disconnecting: panic: going", "disconnect: panic: gone"];
    assert_eq!(*errors.lock().unwrap(), reported);
}

#[tokio::test]
async fn a_panic_on_the_connections_task_ends_its_sockets_and_no_others() {
    let io = Server::new();
    io.on_error(|_| panic!("as the client wished"));
    io.on("panic", async || -> () { panic!("as the client wished") });
    io.on("echo", async |Data(n): Data<i32>| n);
    let mut healthy = Polling::connect(&io).await;
    let unlucky = Polling::connect(&io).await;
    assert_eq!(io.local_count(), 2);
    unlucky.send(&["2[\"panic\"]"]).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(io.local_count(), 1);
    healthy.send(&["21[\"echo\",5]"]).await;
    assert_eq!(healthy.next().await, "31[5]");
}

#[tokio::test]
async fn handlers_that_wait_for_the_client_do_not_keep_it_from_answering() {
    let io = Server::builder().max_waiting_handlers(2).build();
    io.on("ask", async |socket: Socket, Data(n): Data<u32>| socket.emit_with_ack::<u32>("question", n).await);
    let mut client = Polling::connect(&io).await;
    let asks: Vec<_> = (0..6).map(|n| format!("2{n}[\"ask\",{n}]")).collect();
    client.send(&asks.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut answers = Vec::new();
    for n in 0..6 {
        let question = client.next().await;
        let (id, asked) = question.strip_prefix('2').unwrap().split_once('[').unwrap();
        assert_eq!(asked, format!("\"question\",{n}]"));
        answers.push(format!("3{id}[{}]", n + 10));
    }
    client.send(&answers.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut heard = Vec::new();
    for _ in 0..6 {
        heard.push(client.next().await);
    }
    heard.sort();
    assert_eq!(heard, (0..6).map(|n| format!("3{n}[{}]", n + 10)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_client_whose_handlers_hang_is_not_read_but_can_be_told_to_go() {
    let io = Server::builder().max_waiting_handlers(2).build();
    io.on("hang", async || std::future::pending::<()>().await);
    io.on("echo", async |Data(n): Data<i32>| n);
    let mut client = Polling::connect(&io).await;
    client.send(&["2[\"hang\"]", "2[\"hang\"]", "21[\"echo\",5]"]).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let _ = io.disconnect_sockets(true);
    assert_eq!(client.next().await, "1", "the echo has not been handled");
    assert_eq!(io.local_count(), 0);
    assert_eq!(client.request("").await.1, "1", "the close packet of the engine");
}

#[tokio::test]
async fn a_post_is_answered_when_the_handlers_of_its_packets_have_run() {
    let io = Server::new();
    let heard: Arc<Mutex<Vec<i32>>> = Arc::default();
    let log = heard.clone();
    io.on("note", async move |Data(n): Data<i32>| log.lock().unwrap().push(n));
    io.on("leave", async |socket: Socket| socket.conn().close());
    let client = Polling::connect(&io).await;
    client.send(&["2[\"note\",1]", "2[\"note\",2]"]).await;
    assert_eq!(*heard.lock().unwrap(), [1, 2]);
    client.send(&["2[\"note\",3]", "2[\"leave\"]", "2[\"note\",4]"]).await;
    assert_eq!(heard.lock().unwrap()[2], 3, "also when the session ends with it");
}

#[tokio::test]
async fn what_comes_while_a_middleware_looks_waits_for_it() {
    let io = Server::new();
    io.middleware(async |socket: Socket| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        match socket.handshake().auth::<serde_json::Value>() {
            Ok(auth) if auth["token"] == 1 => Ok(()),
            _ => Err(ConnectError::new("no")),
        }
    });
    io.on("echo", async |Data(n): Data<i32>| n);
    let mut client = Polling::open(&io).await;
    client.send(&["0{\"token\":1}", "21[\"echo\",5]"]).await;
    assert!(client.next().await.starts_with("0{\"sid\":"));
    assert_eq!(client.next().await, "31[5]");
    let mut client = Polling::open(&io).await;
    client.send(&["0", "21[\"echo\",5]"]).await;
    assert_eq!(client.next().await, "4{\"message\":\"no\"}");
    client.send(&["22[\"echo\",5]", "0{\"token\":1}"]).await;
    assert!(client.next().await.starts_with("0{\"sid\":"), "what was too late did no harm");
    assert_eq!(io.local_count(), 2);
}

mod answers;
mod entering;
mod hearing;
#[cfg(feature = "testing")]
mod passing;
