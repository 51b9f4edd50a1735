//! Our client and the reference server, socket.io of npm.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use socketio_client::{Client, News, TransportKind};
use socketio_protocol::Bytes;
use socketio_tests::node_folder;

const SERVER: &str = r#"
import { createServer } from "node:http";
import { Server } from "socket.io";
const http = createServer();
const io = new Server(http, { pingInterval: 200, pingTimeout: 2000 });
io.on("connection", (socket) => {
  socket.on("echo", (...args) => socket.emit("echoed", ...args));
  socket.on("sum", (a, b, done) => done(a + b));
  socket.on("bytes", (bytes, done) => done(bytes, bytes.length));
  socket.on("ask", async () => socket.emit("told", await socket.timeout(5000).emitWithAck("name?", Buffer.from([1, 2]))));
  socket.on("break", () => socket.conn.close());
});
io.of("/closed").use((socket, next) => next(new Error("not you")));
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
"#;

struct Node(Child, String);

impl Node {
    fn start() -> Node {
        let mut command = Command::new("node");
        command.args(["--input-type=module", "-e", SERVER]).current_dir(node_folder()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("scripts/test.sh --setup-only installs Node.js");
        let mut port = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut port).expect("it tells its port");
        let url = format!("http://127.0.0.1:{}", port.trim());
        Node(child, url)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const SOON: Duration = Duration::from_secs(10);

async fn next(client: &mut Client) -> News {
    tokio::time::timeout(SOON, client.next()).await.expect("news in time").expect("it goes on")
}

async fn event(client: &mut Client) -> (String, String) {
    match next(client).await {
        News::Event(event) => (event.name(), event.args.without_name().to_json().0.to_string()),
        other => panic!("{other:?}"),
    }
}

async fn pass_everything(url: &str, transports: &[TransportKind]) {
    let mut client = Client::builder(url).transports(transports).connect().await.expect("connected");
    for n in 0..100 {
        client.emit("echo", (n, "é")).await.unwrap();
    }
    for n in 0..100 {
        assert_eq!(event(&mut client).await, ("echoed".to_owned(), format!(r#"[{n},"é"]"#)), "{transports:?}");
    }
    assert_eq!(client.emit_with_ack("sum", (1, 2), SOON).await.unwrap().to_json().0, "[3]");
    let bytes = Bytes::from(vec![7; 100_000]);
    let (back, length): (Bytes, usize) =
        client.emit_with_ack("bytes", bytes.clone(), SOON).await.unwrap().to().unwrap();
    assert_eq!((back, length), (bytes, 100_000));
    client.emit("ask", ()).await.unwrap();
    match next(&mut client).await {
        News::Event(event) if event.wants_answer() => {
            assert_eq!(event.args.without_name().to::<Bytes>().unwrap(), Bytes::from_static(&[1, 2]));
            client.answer(&event, "ana").await.unwrap();
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(event(&mut client).await, ("told".to_owned(), r#"["ana"]"#.to_owned()));
    // The connection lives by heartbeats: it is silent for longer than the server would wait.
    tokio::time::timeout(Duration::from_millis(2_500), client.next()).await.expect_err("nothing happens");
    client.emit("break", ()).await.unwrap();
    assert!(matches!(next(&mut client).await, News::Disconnected { .. }));
    assert!(matches!(next(&mut client).await, News::Connected { .. }));
    assert_eq!(client.emit_with_ack("sum", (2, 2), SOON).await.unwrap().to_json().0, "[4]");
    client.close().await;
}

#[tokio::test]
async fn the_client_and_the_reference_server_understand_each_other() {
    let node = Node::start();
    let [polling, websocket] = [[TransportKind::Polling], [TransportKind::WebSocket]];
    let both = [TransportKind::Polling, TransportKind::WebSocket];
    tokio::join!(
        pass_everything(&node.1, &polling),
        pass_everything(&node.1, &websocket),
        pass_everything(&node.1, &both),
    );
    let refused = Client::connect(&format!("{}/closed", node.1)).await.expect_err("refused");
    assert!(refused.to_string().contains("not you"), "{refused}");
}
