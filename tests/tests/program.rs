//! The program `socketio-server` as an operator has it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use socketio_tests::{NodeSuite, Program, TestRedis, free_port, until, workspace_binary};

#[test]
fn its_page_in_a_browser() {
    NodeSuite::new("page.test.mjs")
        .server("PROGRAM", workspace_binary("socketio-server", "lifecycle"))
        .server("EMITTER_CMD", workspace_binary("emitter-cli", "without_redis"))
        .run();
}

#[test]
fn on_sigterm_clients_are_told_before_it_ends() {
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let mut command = Command::new(workspace_binary("socketio-server", "lifecycle"));
    let mut program = Program::start(command.args(["--no-bus", "--drain", "5", "--listen", &listen]), "");
    program.wait_until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());

    let open = request(port, "GET", "", "");
    let sid = open.split('"').nth(3).expect("the open packet names the session").to_owned();
    let session = format!("&sid={sid}");
    assert_eq!(request(port, "POST", &session, "40"), "ok");
    assert!(request(port, "GET", &session, "").starts_with("40"));

    let waiting = thread::spawn(move || {
        loop {
            let body = request(port, "GET", &session, "");
            if body.split('\u{1e}').any(|packet| packet == "1") {
                return;
            }
        }
    });
    thread::sleep(Duration::from_millis(100));
    program.signal("TERM");
    waiting.join().expect("the client that polls is told that its session is closed");
    until(Duration::from_secs(5), "nobody listens any more", || TcpStream::connect(("127.0.0.1", port)).err());
    assert!(program.stop().success());
}

/// Of `changeit`, and quick to check.
const ADMIN: &str = "ana:$2a$04$e7BrVKn63VCWoqvfra.Yd.cmileEISqNSXlkmVlB5.eSpwGt2ZWX6";

#[test]
fn who_has_shown_the_password_of_the_admin_ui_to_one_server_is_known_to_all() {
    let redis = TestRedis::spawn();
    let program = || {
        let port = free_port();
        let mut command = Command::new(workspace_binary("socketio-server", "lifecycle"));
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--redis", &redis.url(), "--admin", ADMIN]);
        let mut program = Program::start(&mut command, "");
        program.wait_until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        (port, program)
    };
    let ((one, _one), (other, _other)) = (program(), program());
    assert!(enter_admin(one, r#"{"username":"ana","password":"wrong"}"#).contains("invalid credentials"));
    let shown = enter_admin(one, r#"{"username":"ana","password":"changeit"}"#);
    let session = shown.split('"').nth(3).expect("a session is given before it is told that it is in");
    assert!(shown.starts_with("42/admin,[\"session\",") && session.len() == 16, "{shown}");

    let ask = |command: &str| {
        let key = format!("socket.io-admin#{session}");
        let asked = Command::new("redis-cli").args(["-p", &redis.port().to_string(), command, &key]).output();
        String::from_utf8(asked.expect("redis-cli is installed").stdout).expect("text").trim().to_owned()
    };
    assert_eq!(ask("GET"), "1");
    let lifetime: u32 = ask("TTL").parse().expect("a number");
    assert!((86_300..=86_400).contains(&lifetime), "{lifetime}");
    let known = enter_admin(other, &format!(r#"{{"sessionId":"{session}"}}"#));
    assert!(known.starts_with("40/admin,{"), "{known}");
    assert!(enter_admin(other, r#"{"sessionId":"0000000000000000"}"#).contains("invalid credentials"));
}

/// The first packet for the Admin UI that shows `auth`.
fn enter_admin(port: u16, auth: &str) -> String {
    let open = request(port, "GET", "", "");
    let session = format!("&sid={}", open.split('"').nth(3).expect("the open packet names the session"));
    assert_eq!(request(port, "POST", &session, &format!("40/admin,{auth}")), "ok");
    let body = request(port, "GET", &session, "");
    body.split('\u{1e}').next().expect("a packet").to_owned()
}

/// The body of the answer to a request of a client that polls.
fn request(port: u16, method: &str, query: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the program listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time can be set");
    let target = format!("/socket.io/?EIO=4&transport=polling{query}");
    let length = body.len();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .expect("a request can be written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer is text");
    answer.split_once("\r\n\r\n").expect("a head, and a body").1.to_owned()
}

#[test]
fn it_is_configured_by_a_file_and_watched_on_a_port_of_its_own() {
    let mut redis = TestRedis::spawn();
    let (port, metrics) = (free_port(), free_port());
    let file = std::env::temp_dir().join(format!("socketio-program-{port}.toml"));
    let config = format!(
        "listen = ['127.0.0.1:{port}']\nredis = 'redis://:secret@127.0.0.1:1'\nmetrics = {metrics}\nready-needs-redis = true\n"
    );
    std::fs::write(&file, config).expect("there is a place for temporary files");
    let command = |args: &[&str]| {
        let mut command = Command::new(workspace_binary("socketio-server", "lifecycle"));
        command.arg("--config").arg(&file).args(args).env("REDIS_URL", redis.url());
        command
    };

    let checked = command(&["check"]).output().expect("it starts");
    let told = String::from_utf8(checked.stdout).expect("text");
    assert!(checked.status.success() && told.contains(&format!("metrics = {metrics}")), "{told}");
    assert!(told.contains("# REDIS_URL") && !told.contains("secret"), "{told}");
    let wrong = command(&["check", "--listen", "nowhere"]).output().expect("it starts");
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("--listen"), "{wrong:?}");

    let mut program = Program::start(&mut command(&["--no-page", "--drain", "5"]), "");
    program.wait_until("it is ready", || get(metrics, "/readyz").is_some_and(|answer| answer.starts_with("200")));
    assert!(get(port, "/").expect("it answers").starts_with("404"), "there is no page");
    let numbers = get(metrics, "/metrics").expect("it answers");
    assert!(numbers.contains("\nsocketio_connections{transport=\"websocket\"} 0\n"), "{numbers}");

    redis.kill();
    program.wait_until("it is not ready without Redis", || {
        get(metrics, "/readyz").is_some_and(|answer| answer == "503 other servers are not heard: no Redis\n")
    });
    assert_eq!(get(metrics, "/healthz").as_deref(), Some("200 alive\n"));
    redis.restart();
    program.wait_until("it is ready again", || get(metrics, "/readyz").is_some_and(|answer| answer == "200 ready\n"));

    request(port, "GET", "", "");
    program.signal("TERM");
    program.wait_until("it is not ready while it drains", || {
        get(metrics, "/readyz").is_some_and(|answer| answer == "503 draining\n")
    });
    assert!(program.stop().success());
    std::fs::remove_file(&file).expect("it is still there");
}

/// The status of an answer, a space, and its body; `None` if nobody listens.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some(format!("{} {body}", head.split(' ').nth(1)?))
}
