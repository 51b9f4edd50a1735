//! The program `socketio-server` as an operator has it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use socketio_tests::{Program, free_port, until, workspace_binary};

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
