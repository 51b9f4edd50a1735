//! The kit keeps its own promises: a test that relies on it would not notice if it did not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use socketio_tests::{NodeSuite, Program, Server, TestRedis, until};

#[test]
fn a_redis_can_be_killed_restarted_and_paused() {
    let mut redis = TestRedis::spawn();
    assert_eq!(ping(&redis).as_deref(), Some("+PONG"));

    redis.kill();
    assert_eq!(ping(&redis), None, "nobody listens");

    redis.restart();
    assert_eq!(ping(&redis).as_deref(), Some("+PONG"), "on the same port");

    redis.pause();
    assert_eq!(ping(&redis), None, "it stands still");
    redis.resume();
    assert_eq!(ping(&redis).as_deref(), Some("+PONG"));
}

#[test]
fn two_redis_do_not_meet() {
    let (mut one, other) = (TestRedis::spawn(), TestRedis::spawn());
    one.kill();
    assert_eq!((ping(&one), ping(&other).as_deref()), (None, Some("+PONG")));
}

#[test]
fn a_program_ends_with_its_owner() {
    let program = Program::start(Command::new("sleep").arg("60"), "");
    let alive = format!("/proc/{}", program.pid());
    assert!(std::path::Path::new(&alive).exists());
    drop(program);
    assert!(!std::path::Path::new(&alive).exists());
}

#[test]
fn what_a_program_printed_is_kept() {
    let program = Program::start(Command::new("sh").args(["-c", "echo out; echo err >&2; sleep 60"]), "");
    until(Duration::from_secs(5), "both lines are here", || {
        let output = program.output();
        (output.contains("out\n") && output.contains("err\n")).then_some(())
    });
}

#[test]
fn a_server_is_ready_when_it_is_returned_and_ends_on_sigterm() {
    let server = Server::node("conformance.mjs", [("MODE", "abuse")]);
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_ok());
    assert!(server.stop().success());
}

#[test]
#[should_panic(expected = "ended with")]
fn a_server_that_does_not_start_fails_the_test() {
    Server::node("conformance.mjs", [("MODE", "no such mode")]);
}

#[test]
#[should_panic(expected = "skipped cases")]
fn a_suite_with_skipped_cases_fails_the_test() {
    NodeSuite::new("fixtures/skipped.mjs").run();
}

#[test]
#[should_panic(expected = "one is not two")]
fn a_suite_that_fails_shows_its_report() {
    NodeSuite::new("fixtures/failing.mjs").run();
}

/// What the Redis answers to PING within half a second.
fn ping(redis: &TestRedis) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
    stream.write_all(b"PING\r\n").ok()?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).ok()?;
    String::from_utf8(answer.to_vec()).ok()
}
