//! What the program says before it reaches a Redis, or when there is none.

mod support;

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use support::{Ended, free_port, pretend, run};

/// Nothing listens there.
const NOWHERE: &str = "redis://127.0.0.1:1";

#[test]
fn a_dry_run_shows_what_would_be_published() {
    let cases: &[(&[&str], &str, &str)] = &[
        (
            &["-N", "emit", "time", "2026-11-25T01:00:00+00:00"],
            "",
            "would PUBLISH socket.io#/#  (82 B)\n\
             [\"emitter\",{\"type\":2,\"data\":[\"time\",\"2026-11-25T01:00:00+00:00\"],\"nsp\":\"/\"},{\"rooms\":[],\"flags\":{},\"except\":[]}]\n",
        ),
        (
            &["emit", "n", "42", "0042", r#"{"a":1}"#, r#""42""#, "hello", "--str", "42", "-1", "-N"],
            "",
            "would PUBLISH socket.io#/#  (76 B)\n\
             [\"emitter\",{\"type\":2,\"data\":[\"n\",42,\"0042\",{\"a\":1},\"42\",\"hello\",\"42\",-1],\"nsp\":\"/\"},{\"rooms\":[],\"flags\":{},\"except\":[]}]\n",
        ),
        (
            &[
                "-N",
                "emit",
                "x",
                "-",
                "--to",
                "a",
                "--to",
                "b",
                "-x",
                "c",
                "--volatile",
                "--no-compress",
                "-n",
                "chat",
                "-k",
                "app",
            ],
            "[1]\n",
            "would PUBLISH app#/chat#  (85 B)\n\
             [\"emitter\",{\"type\":2,\"data\":[\"x\",[1]],\"nsp\":\"/chat\"},{\"rooms\":[\"a\",\"b\"],\"flags\":{\"volatile\":true,\"compress\":false},\"except\":[\"c\"]}]\n",
        ),
        (
            &["-N", "--json", "emit", "x", "1", "-t", "r"],
            "",
            "{\"event\":\"x\",\"channel\":\"socket.io#/#r#\",\"bytes\":56,\"dry_run\":true,\"packet\":\
             [\"emitter\",{\"type\":2,\"data\":[\"x\",1],\"nsp\":\"/\"},{\"rooms\":[\"r\"],\"flags\":{},\"except\":[]}]}\n",
        ),
        (
            &["-N", "disconnect", "--close"],
            "",
            "would PUBLISH socket.io-request#/#  (55 B)\n{\"type\":4,\"opts\":{\"rooms\":[],\"except\":[]},\"close\":true}\n",
        ),
        (
            &["-N", "join", "r1", "r2", "-t", "a"],
            "",
            "would PUBLISH socket.io-request#/#  (65 B)\n{\"type\":2,\"opts\":{\"rooms\":[\"a\"],\"except\":[]},\"rooms\":[\"r1\",\"r2\"]}\n",
        ),
        (
            &["-N", "server-emit", "reload", "now"],
            "",
            "would PUBLISH socket.io-request#/#  (50 B)\n{\"uid\":\"emitter\",\"type\":6,\"data\":[\"reload\",\"now\"]}\n",
        ),
        (
            &["-N", "emit", "tick", "{{count}}", "-T", "-c", "2"],
            "",
            "would PUBLISH socket.io#/#  (57 B)\n\
             [\"emitter\",{\"type\":2,\"data\":[\"tick\",1],\"nsp\":\"/\"},{\"rooms\":[],\"flags\":{},\"except\":[]}]\n\
             would PUBLISH socket.io#/#  (57 B)\n\
             [\"emitter\",{\"type\":2,\"data\":[\"tick\",2],\"nsp\":\"/\"},{\"rooms\":[],\"flags\":{},\"except\":[]}]\n",
        ),
    ];
    for (words, input, out) in cases {
        assert_eq!(run(NOWHERE, words, input), Ended::new(0, out, ""), "{words:?}");
    }
}

#[test]
fn files_are_arguments_and_binary_ones_stay_as_they_are() {
    let path = |name: &str| std::env::temp_dir().join(format!("emitter-cli-{}-{name}", std::process::id()));
    let (json, binary) = (path("json"), path("bin"));
    std::fs::write(&json, "{\"a\": [1]}\n").unwrap();
    std::fs::write(&binary, [0xff; 1_134]).unwrap();
    let (json, binary) = (json.display().to_string(), binary.display().to_string());
    let shown = run(NOWHERE, &["-N", "emit", "photo", "--binary", &binary, "alice", "--file", &json], "");
    assert_eq!((shown.code, shown.err.as_str()), (0, ""));
    assert!(shown.out.contains(r#""data":["photo",<binary 1134 B>,"alice",{"a":[1]}]"#), "{}", shown.out);
    let refused = run(NOWHERE, &["-N", "emit", "photo", "--file", &binary], "");
    assert_eq!(
        refused,
        Ended::new(
            2,
            "",
            &format!(
                "error: {binary} is not text\ncause: invalid utf-8 sequence of 1 bytes from index 0\n\
                 tip:   send it as it is with --binary FILE\n"
            )
        )
    );
    [json, binary].iter().for_each(|path| std::fs::remove_file(path).unwrap());
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_to_do() {
    let cases: &[(&[&str], &str)] = &[
        (
            &["emit", "connect"],
            "error: \"connect\" is a reserved event name\ncause: clients and servers use it for news of their own\n\
             tip:   choose another name\n",
        ),
        (
            &["emit", "x", "--strict", "hello"],
            "error: \"hello\" is not valid JSON\ncause: expected value at line 1 column 1\n\
             tip:   a string needs quotes of its own: '\"hello\"', or --str hello\n",
        ),
        (
            &["emit", "x", "-f", "/no/file"],
            "error: cannot read /no/file\ncause: No such file or directory (os error 2)\n",
        ),
        (
            &["emit", "x", "-", "-"],
            "error: stdin can be read only once\ntip:   `-` is one argument; with --lines or --ndjson stdin is taken\n",
        ),
        (&["disconnect"], "error: this would disconnect all clients of /\ntip:   name rooms with --to, or say --all\n"),
        (
            &["emit", "x", "-u", "http://ana:s3cret@h"],
            "error: \"http://ana:***@h\" is not the URL of a Redis\ncause: Redis URL did not parse\n\
             tip:   write redis://[user:password@]host[:port][/db], rediss:// for TLS, or unix:///path\n",
        ),
    ];
    for (words, err) in cases {
        let mut ended = run(NOWHERE, words, "");
        // Whether others can read the command line depends on the machine.
        ended.err = ended
            .err
            .lines()
            .filter(|line| !line.starts_with("warning: other users"))
            .map(|l| format!("{l}\n"))
            .collect();
        assert_eq!(ended, Ended::new(2, "", err), "{words:?}");
    }
    for words in [&["emit"][..], &["emit", "x", "--timeout", "5"], &["socket"], &["emit", "x", "-c", "2", "-l"], &[]] {
        let ended = run(NOWHERE, words, "");
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{words:?}");
        assert!(ended.err.contains("--help") || ended.err.contains("Usage:"), "{words:?}: {}", ended.err);
    }
}

#[test]
fn reserved_names_and_wrong_payloads_fail_before_redis_is_asked() {
    for event in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        let started = Instant::now();
        assert_eq!(run(NOWHERE, &["emit", event], "").code, 2);
        assert!(started.elapsed() < Duration::from_millis(500));
    }
}

#[test]
fn no_redis_is_three_lines_and_3() {
    let url = format!("redis://ana:s3cret@127.0.0.1:{}", free_port());
    let shown = url.replace("s3cret", "***");
    for words in [
        &["emit", "x", "--retries", "0"][..],
        &["join", "r", "--retries", "0", "-q"],
        &["emit", "x", "-l", "--retries", "0"],
    ] {
        let err = format!(
            "error: cannot reach Redis at {shown}\ncause: connection refused\n\
             tip:   start one (redis-server), or set REDIS_URL / --url\n"
        );
        assert_eq!(run(&url, words, "a\n"), Ended::new(3, "", &err), "{words:?}");
    }
    let ended = run(&url, &["emit", "x"], "");
    assert_eq!((ended.code, ended.out.as_str()), (3, ""));
    assert!(ended.err.contains("cause: connection refused (tried 4 times in "), "{}", ended.err);
}

#[test]
fn the_timeout_bounds_all_attempts_and_a_redis_that_is_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("redis://{}", silent.local_addr().unwrap());
    let refused = format!("redis://127.0.0.1:{}", free_port());
    for url in [silent, refused] {
        let started = Instant::now();
        let ended = run(&url, &["emit", "x", "--timeout", "400ms", "--retries", "1000"], "");
        assert_eq!(ended.code, 3, "{}", ended.err);
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
}

#[test]
fn a_redis_that_is_loading_is_asked_again() {
    let loading = |times: usize| {
        pretend(move |word, before| {
            Some(match word {
                "PUBLISH" if before < times => "-LOADING Redis is loading the dataset in memory",
                "PUBLISH" => ":2",
                _ => "+OK",
            })
        })
    };
    let redis = loading(2);
    assert_eq!(run(&redis.url(), &["emit", "x"], ""), Ended::new(0, "emitted \"x\" to / → 2 servers\n", ""));
    assert_eq!(redis.published(), 3);
    let err = "error: Redis is still loading its data\ncause: LOADING Redis is loading the dataset in memory\n\
         tip:   try again in a moment, or with more --retries\n";
    assert_eq!(run(&loading(2).url(), &["emit", "x", "--retries", "1"], ""), Ended::new(1, "", err));
}

#[test]
fn what_may_have_been_delivered_is_not_sent_again() {
    let hangs_up = pretend(|word, _| (word != "PUBLISH").then_some("+OK"));
    let ended = run(&hangs_up.url(), &["emit", "x"], "");
    assert_eq!(ended.code, 1);
    let tip = "tip:   the event may have been delivered: look before you send it again\n";
    assert!(ended.err.starts_with("error: the link to Redis broke before it answered\n"), "{}", ended.err);
    assert!(ended.err.ends_with(tip), "{}", ended.err);
    assert_eq!(hangs_up.published(), 1);

    let silent = pretend(|word, _| Some(if word == "PUBLISH" { "" } else { "+OK" }));
    let ended = run(&silent.url(), &["emit", "x", "--timeout", "300ms"], "");
    let err = format!("error: Redis did not answer\ncause: no answer within 300 ms\n{tip}");
    assert_eq!(ended, Ended::new(1, "", &err));
    assert_eq!(silent.published(), 1);
}

#[test]
fn each_refusal_says_what_to_do() {
    for (says, what, tip) in [
        ("-NOPERM no permissions", "Redis does not permit it", "an administrator grants it"),
        ("-NOAUTH Authentication required.", "refuses the login", "put user and password into REDIS_URL"),
        ("-READONLY You can't write", "read-only replica", "give the address of its master"),
        ("-ERR unknown command", "Redis refused", "look at the configuration"),
    ] {
        let redis = pretend(move |word, _| Some(if word == "PUBLISH" { says } else { "+OK" }));
        let ended = run(&redis.url(), &["emit", "x", "--retries", "0"], "");
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{says}");
        let [error, cause, last] = ended.err.lines().collect::<Vec<_>>()[..] else { panic!("{says}: {}", ended.err) };
        assert!(
            error.contains(what) && cause == format!("cause: {}", &says[1..]) && last.contains(tip),
            "{}",
            ended.err
        );
    }
}
