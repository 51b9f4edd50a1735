//! What the program does with a redis-server.

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use support::{Ended, Redis, Server, cli, run};

#[test]
fn an_event_is_heard_and_reported() {
    let redis = Redis::start();
    let servers = [Server::start(&redis, "socket.io", "/"), Server::start(&redis, "socket.io", "/")];
    let ended = run(&redis.url(), &["emit", "time", "2026-11-25T01:00:00+00:00"], "");
    assert_eq!(ended, Ended::new(0, "emitted \"time\" to / → 2 servers\n", ""));
    for server in &servers {
        let heard = ("socket.io#/#".to_owned(), r#"["time","2026-11-25T01:00:00+00:00"]"#.to_owned());
        assert_eq!(server.hears_event(), heard);
    }
    let reports: &[(&[&str], &str)] = &[
        (&["emit", "x", "--json"], "{\"event\":\"x\",\"channel\":\"socket.io#/#\",\"bytes\":53,\"receivers\":2}\n"),
        (&["emit", "x", "-q"], ""),
        (&["emit", "x", "-R=2"], "emitted \"x\" to / → 2 servers\n"),
        (&["emit", "x", "-t", "a", "-t", "b", "-x", "c"], "emitted \"x\" to / (rooms a, b, except c) → 2 servers\n"),
        (&["join", "r1", "r2", "-t", "a"], "asked for clients of / (room a) to join r1, r2 → 2 servers\n"),
        (&["leave", "r1", "-x", "a"], "asked for clients of / (except a) to leave r1 → 2 servers\n"),
        (&["disconnect", "-t", "a"], "asked for clients of / (room a) to be disconnected → 2 servers\n"),
        (
            &["disconnect", "--all", "--json"],
            "{\"request\":\"disconnect\",\"channel\":\"socket.io-request#/#\",\"bytes\":56,\"receivers\":2}\n",
        ),
        (&["server-emit", "reload", "1"], "emitted \"reload\" to the servers of / → 2 servers\n"),
    ];
    for (words, out) in reports {
        assert_eq!(run(&redis.url(), words, ""), Ended::new(0, out, ""), "{words:?}");
    }
    let heard: Vec<_> = reports.iter().map(|_| servers[0].hears()).collect();
    assert_eq!(heard[4].1, br#"{"type":2,"opts":{"rooms":["a"],"except":[]},"rooms":["r1","r2"]}"#);
    assert_eq!(heard[7].1, br#"{"type":4,"opts":{"rooms":[],"except":[]},"close":false}"#);
    assert_eq!(heard[8].1, br#"{"uid":"emitter","type":6,"data":["reload",1]}"#);
}

#[test]
fn when_nobody_listens_it_says_where_somebody_does() {
    let redis = Redis::start();
    let warning = |channel: &str, key: &str| {
        format!("warning: no Socket.IO server is listening on {channel} (key {key:?}, adapter pubsub)\n")
    };
    let out = "emitted \"x\" to / → 0 servers\n";
    let tip = "tip:   start a server that has this Redis as its adapter\n";
    let ended = run(&redis.url(), &["emit", "x"], "");
    assert_eq!(ended, Ended::new(0, out, &format!("{}{tip}", warning("socket.io#/#", "socket.io"))));
    assert_eq!(run(&redis.url(), &["emit", "x", "-q"], ""), Ended::new(0, "", ""));
    let required = run(&redis.url(), &["emit", "x", "-q", "-R"], "");
    assert_eq!(required, Ended::new(4, "", "error: 0 servers received it, 1 required\n"));

    let _server = Server::start(&redis, "app", "/");
    let ended = run(&redis.url(), &["emit", "x"], "");
    let tip = "tip:   servers listen with another key: app; name it with --key\n";
    assert_eq!(ended, Ended::new(0, out, &format!("{}{tip}", warning("socket.io#/#", "socket.io"))));
    let ended = run(&redis.url(), &["emit", "x", "-k", "app", "-n", "chat"], "");
    let tip = "tip:   servers listen in other namespaces: /; name one with --nsp\n";
    let out = "emitted \"x\" to /chat → 0 servers\n";
    assert_eq!(ended, Ended::new(0, out, &format!("{}{tip}", warning("app#/chat#", "app"))));
}

#[test]
fn an_entry_is_added_also_where_servers_may_not_be_counted() {
    let redis = Redis::start();
    redis.cli(&["ACL", "SETUSER", "app", "on", ">pass", "~*", "&*", "+@all", "-pubsub"]);
    let url = format!("redis://app:pass@127.0.0.1:{}", redis.port);
    let emit =
        |words: &[&str], input: &str| run(&url, &[&["emit", "x", "--adapter", "streams"], words].concat(), input);
    let entries = || redis.cli(&["XLEN", "socket.io"]).trim_end().to_owned();

    let once = emit(&[], "");
    assert_eq!((once.code, once.out.as_str()), (0, "emitted \"x\" to /\n"), "{}", once.err);
    assert!(once.err.starts_with("warning: it was added; who reads it is not known: "), "{}", once.err);
    let required = emit(&["-R"], "");
    assert_eq!((required.code, required.out.as_str()), (4, "emitted \"x\" to /\n"), "{}", required.err);
    let json = emit(&["--json", "-q"], "");
    assert!(json.code == 0 && json.out.contains(r#""receivers":null,"id":""#), "{json:?}");
    assert_eq!(entries(), "3");

    let lines = emit(&["--lines"], "1\n2\n");
    assert_eq!((lines.code, lines.out.as_str()), (0, "emitted \"x\" 2 times\n"), "{}", lines.err);
    assert!(lines.err.starts_with("warning: who reads the stream is not known: "), "{}", lines.err);
    let required = emit(&["--lines", "-R", "-q"], "1\n2\n");
    assert_eq!((required.code, required.out.as_str()), (4, ""), "{}", required.err);
    assert_eq!(entries(), "5", "nothing is sent where nobody may be said to hear it");
}

#[test]
fn a_password_is_used_and_never_printed() {
    let redis = Redis::with(&["--requirepass", "s3cret"]);
    let url = format!("redis://:s3cret@127.0.0.1:{}", redis.port);
    for words in
        [&["emit", "x", "-vv"][..], &["-N", "emit", "x"], &["emit", "x", "--json"], &["--help"], &["emit", "--help"]]
    {
        let ended = run(&url, words, "");
        assert_eq!(ended.code, 0, "{words:?} {}", ended.err);
        assert!(!format!("{ended:?}").contains("s3cret"), "{words:?} {ended:?}");
    }
    let wrong = url.replace("s3cret", "wr0ng");
    let err = format!(
        "error: Redis at {} refuses the login\ncause: WRONGPASS invalid username-password pair or user is disabled.\n\
         tip:   put user and password into REDIS_URL: redis://user:password@host\n",
        wrong.replace("wr0ng", "***")
    );
    assert_eq!(run(&wrong, &["emit", "x"], ""), Ended::new(1, "", &err));
    let on_the_line = run("redis://127.0.0.1:1", &["emit", "x", "-u", &url], "");
    assert_eq!(on_the_line.code, 0);
    assert!(!on_the_line.err.contains("s3cret"), "{}", on_the_line.err);
}

#[test]
fn lines_arrive_in_order() {
    let redis = Redis::start();
    let server = Server::start(&redis, "socket.io", "/");
    let lines: String = (0..5_000).map(|n| format!("{n}\n")).collect();
    let ended = run(&redis.url(), &["emit", "n", "first", "--lines", "--to", "r"], &lines);
    assert_eq!(ended, Ended::new(0, "emitted \"n\" 5000 times → 1 server\n", ""));
    for n in 0..5_000 {
        assert_eq!(server.hears_event().1, format!(r#"["n","first",{n}]"#));
    }
    let ended = run(&redis.url(), &["emit", "n", "-l"], "a\r\n\n{\"b\":1}");
    assert_eq!(ended.out, "emitted \"n\" 3 times → 1 server\n");
    for expected in [r#"["n","a"]"#, r#"["n",""]"#, r#"["n",{"b":1}]"#] {
        assert_eq!(server.hears_event().1, expected);
    }
}

#[test]
fn a_line_that_is_wrong_is_told_and_the_others_go_on() {
    let redis = Redis::start();
    let server = Server::start(&redis, "socket.io", "/");
    let input = "{\"event\":\"a\",\"args\":[1,\"b\"]}\n\nnonsense\n{\"args\":1}\n{\"event\":\"b\",\"to\":\"r\",\"args\":{\"c\":1}}\n\
        {\"event\":\"b\",\"to\":[]}\n{\"event\":\"connect\"}\n{\"event\":\"a\",\"rooms\":1}\n{\"event\":\"c\",\"to\":[\"r\",\"s\"],\"except\":\"t\",\"nsp\":\"/\"}\n";
    let ended = run(&redis.url(), &["emit", "--ndjson"], input);
    let err = "error: line 3: not an event: expected ident at column 2\n\
        error: line 4: not an event: \"event\" is missing\n\
        error: line 6: \"to\" names no room; leave it out for everybody\n\
        error: line 7: \"connect\" is a reserved event name: clients and servers use it for news of their own\n\
        error: line 8: not an event: unknown field `rooms`, expected one of `event`, `args`, `to`, `except`, `nsp` at column 20\n\
        error: 5 of 8 failed\n";
    assert_eq!(ended, Ended::new(5, "emitted 3 events → 1 server\n", err));
    for expected in
        [("socket.io#/#", r#"["a",1,"b"]"#), ("socket.io#/#r#", r#"["b",{"c":1}]"#), ("socket.io#/#", r#"["c"]"#)]
    {
        assert_eq!(server.hears_event(), (expected.0.to_owned(), expected.1.to_owned()));
    }
    let all_wrong = run(&redis.url(), &["emit", "x", "-l", "--strict"], "a\nb\n");
    assert_eq!((all_wrong.code, all_wrong.out.as_str()), (2, "emitted \"x\" 0 times\n"));
    let unheard = run(&redis.url(), &["emit", "x", "-l", "-R=2", "-q"], "1\n");
    assert_eq!(unheard, Ended::new(4, "", "error: line 1: 1 server received it, 2 required\n"));
}

#[test]
fn counted_emits_keep_their_interval() {
    let redis = Redis::start();
    let server = Server::start(&redis, "socket.io", "/");
    let started = Instant::now();
    let ended = run(&redis.url(), &["emit", "tick", "{{count}}", "-T", "-c", "4", "-i", "100ms", "--json"], "");
    assert!((300..2_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    assert_eq!((ended.code, ended.out.lines().count()), (0, 4), "{ended:?}");
    for n in 1..=4 {
        assert_eq!(server.hears_event().1, format!(r#"["tick",{n}]"#));
    }
}

#[test]
fn ctrl_c_ends_with_a_summary_and_130() {
    let redis = Redis::start();
    let server = Server::start(&redis, "socket.io", "/");
    let mut command = cli(&redis.url());
    command.args(["emit", "n", "--lines"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"1\n2\n").unwrap();
    assert_eq!(server.hears_event().1, r#"["n",1]"#);
    assert_eq!(server.hears_event().1, r#"["n",2]"#);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let started = Instant::now();
    // Its stdin stays open all the while.
    let status = child.wait().unwrap();
    assert!(started.elapsed() < Duration::from_secs(3));
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((status.code(), out.as_str(), err.as_str()), (Some(130), "emitted \"n\" 2 times → 1 server\n", ""));
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let redis = Redis::start();
    let _server = Server::start(&redis, "socket.io", "/");
    let mut command = cli(&redis.url());
    command.args(["emit", "n", "-c", "1000000", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(first.starts_with(r#"{"event":"n","#), "{first}");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(141), ""));
}

#[test]
fn settings_come_from_the_environment_too() {
    let redis = Redis::start();
    let server = Server::start(&redis, "app", "/chat");
    let mut command = cli(&redis.url());
    let output = command.args(["emit", "x"]).env("EMITTER_KEY", "app").env("EMITTER_NSP", "chat").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "emitted \"x\" to /chat → 1 server\n");
    assert_eq!(server.hears_event().0, "app#/chat#");
}
