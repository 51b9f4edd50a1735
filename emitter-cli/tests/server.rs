//! `--server`: one server, without Redis.

mod support;

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc,
    time::Duration,
};

use socketio_server::{ConnectError, Data, Listener, Server, Socket, Value};
use support::{Ended, cli, free_port, run};

/// A server in this process, for as long as the value lives, and what it heard.
struct Node {
    _runtime: tokio::runtime::Runtime,
    url: String,
    heard: mpsc::Receiver<String>,
}

#[derive(serde::Deserialize)]
struct Token {
    token: String,
}

impl Node {
    fn start() -> Node {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (sender, heard) = mpsc::channel();
        let url = runtime.block_on(async {
            let io = Server::new();
            io.on("log", async move |Data(line): Data<Value>| sender.send(format!("{line:?}")).unwrap());
            io.on("sum", async |Data((a, b)): Data<(i64, i64)>| a + b);
            io.on("bench", async |_: Socket| true);
            io.on("tell", async |socket: Socket, Data(text): Data<String>| {
                let _ = socket.broadcast().emit("told", (text, 1));
            });
            io.of("/closed").middleware(async |socket: Socket| match socket.handshake().auth::<Token>() {
                Ok(Token { token }) if token == "s3cret" => Ok(()),
                _ => Err(ConnectError::new("no token")),
            });
            let listener = Listener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(async move { io.serve([listener]).await });
            url
        });
        Node { _runtime: runtime, url, heard }
    }

    fn run(&self, words: &[&str], input: &str) -> Ended {
        run("redis://127.0.0.1:1", &[&["--server", &self.url], words].concat(), input)
    }

    fn hears(&self) -> String {
        self.heard.recv_timeout(Duration::from_secs(10)).expect("it hears in time")
    }
}

#[test]
fn emit_request_and_bench_reach_a_server() {
    let node = Node::start();
    let url = &node.url;
    let once = node.run(&["emit", "log", "hello"], "");
    assert_eq!(once, Ended::new(0, &format!("emitted \"log\" to the server {url}\n"), ""));
    assert_eq!(node.hears(), r#"String("hello")"#);
    let lines = node.run(&["emit", "log", "--lines", "--json"], "1\ntwo\n");
    assert_eq!(lines, Ended::new(0, &format!("{{\"event\":\"log\",\"server\":\"{url}\",\"count\":2}}\n"), ""));
    assert_eq!([node.hears(), node.hears()], ["Number(Number(1))", r#"String("two")"#]);
    let input =
        "{\"event\":\"log\",\"args\":[3]}\n\n{\"args\":\"four\",\"nsp\":\"/\"}\nnonsense\n{\"args\":5,\"to\":\"r\"}\n";
    let ndjson = node.run(&["emit", "log", "--ndjson"], input);
    let err = "error: line 4: not an event: expected ident at column 2\n\
        error: line 5: a client sends to its server only, in one namespace: \"to\", \"except\" and another \"nsp\" are for Redis\n\
        error: 2 of 4 failed\n";
    assert_eq!(ndjson, Ended::new(5, &format!("emitted 2 events to the server {url}\n"), err));
    assert_eq!([node.hears(), node.hears()], ["Number(Number(3))", r#"String("four")"#]);
    let dry = node.run(&["-N", "emit", "log", "-c", "2"], "");
    assert_eq!(dry, Ended::new(0, &format!("would emit \"log\" [] to {url}\n").repeat(2), ""));
    assert_eq!(node.run(&["request", "sum", "1", "2"], ""), Ended::new(0, "[3]\n", ""));
    let silent = node.run(&["request", "no such event", "--timeout", "200ms"], "");
    assert_eq!((silent.code, silent.out.as_str()), (3, ""), "{}", silent.err);
    let bench = node.run(&["bench", "--for", "200ms", "--in-flight", "8"], "");
    assert!(bench.code == 0 && bench.out.starts_with("round trip  p50 "), "{bench:?}");
    let doctor = node.run(&["doctor"], "");
    assert_eq!((doctor.code, doctor.out.matches("let in as").count()), (0, 2), "{}", doctor.out);
}

#[test]
fn watch_prints_what_the_server_sends() {
    let node = Node::start();
    let mut command = cli("redis://127.0.0.1:1");
    command.args(["--server", &node.url, "watch", "--count", "1", "--for", "20s"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("watching http://"), "{first}");
    assert_eq!(node.run(&["emit", "tell", "hi", "-q"], ""), Ended::new(0, "", ""));
    let output = child.wait_with_output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(line.trim_end().ends_with(r#" / "told" ["hi",1]  (8 B)"#), "{line}");
    assert!(output.status.success());
}

#[test]
fn what_a_server_refuses_is_told() {
    let node = Node::start();
    let denied = node.run(&["-n", "closed", "emit", "log"], "");
    assert_eq!((denied.code, denied.out.as_str()), (1, ""));
    assert!(
        denied.err.starts_with("error: the server does not let us into /closed\ncause: no token\ntip:   "),
        "{}",
        denied.err
    );
    let auth = r#"{"token":"s3cret"}"#;
    let let_in = node.run(&["-n", "closed", "emit", "log", "-q", "--auth", auth], "");
    assert_eq!(let_in, Ended::new(0, "", ""));
    let doctor = node.run(&["-n", "closed", "doctor", "--auth", auth], "");
    assert_eq!((doctor.code, doctor.out.matches("let in as").count()), (0, 2), "{}", doctor.out);
    for (words, code, says) in [
        (&["emit", "log", "--to", "r"][..], 2, "a client cannot say who hears"),
        (&["join", "r"], 2, "this goes through Redis"),
        (&["emit", "disconnect"], 2, "reserved event name"),
        (&["emit", "log", "--auth", "{"], 2, "--auth is not JSON"),
        (&["-n", "/none", "emit", "log"], 1, "Invalid namespace"),
    ] {
        let ended = node.run(words, "");
        assert_eq!(ended.code, code, "{words:?} {}", ended.err);
        assert!(ended.err.contains(says), "{words:?} {}", ended.err);
    }
    let away = format!("http://127.0.0.1:{}", free_port());
    let away = run("redis://127.0.0.1:1", &["--server", &away, "emit", "log", "--retries", "0"], "");
    assert_eq!(away.code, 3);
    assert!(away.err.contains("cause: connection refused\ntip:   start it, or correct --server"), "{}", away.err);
}
