//! `watch`, `decode`, `doctor`, `bench` and profiles, with a redis-server and servers of our own.

mod support;

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

use socketio_redis_adapter::RedisAdapter;
use socketio_server::Server as Io;
use support::{Ended, Redis, Server, cli, free_port, pretend, run};

/// A server of ours on that Redis, in this process, for as long as the value lives.
struct Node {
    runtime: tokio::runtime::Runtime,
    io: Io,
}

impl Node {
    fn start(redis: &Redis, family: &str) -> Node {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let url = redis.url();
        let io = runtime.block_on(async {
            let builder = RedisAdapter::builder(&url);
            let builder = match family {
                "sharded" => builder.sharded(Default::default()),
                "streams" => builder.streams(),
                _ => builder,
            };
            let io = Io::builder().adapter(builder.connect().await.unwrap()).build();
            // Both exist from now on.
            io.on_connection(async |_| {});
            io.of("/chat").on_connection(async |_| {});
            for nsp in ["/", "/chat"] {
                io.of(nsp).server_count().await.unwrap();
            }
            io
        });
        Node { runtime, io }
    }

    /// Does something as this server.
    fn does<T>(&self, what: impl AsyncFnOnce(&Io) -> T) -> T {
        self.runtime.block_on(what(&self.io))
    }
}

/// `watch`, running.
struct Watching {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watching {
    fn start(redis: &Redis, words: &[&str]) -> Watching {
        let mut command = cli(&redis.url());
        command.args(["watch", "--for", "30s"]).args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It says when it listens.
        let mut first = String::new();
        let mut err = BufReader::new(child.stderr.take().unwrap());
        err.read_line(&mut first).unwrap();
        assert!(first.starts_with("watching "), "{first}");
        std::thread::spawn(move || err.read_to_end(&mut Vec::new()));
        let lines = BufReader::new(child.stdout.take().unwrap());
        Watching { child, lines }
    }

    /// The next line, without its time.
    fn next(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        let (time, rest) = line.trim_end().split_once(' ').unwrap_or_else(|| panic!("{line:?} is no line of watch"));
        assert!(time.len() == "12:00:01.123Z".len() && time.ends_with('Z'), "{line}");
        // How large it is says nothing here.
        rest.rsplit_once(", ").filter(|(_, size)| size.ends_with(" B)")).map_or(rest, |(before, _)| before).to_owned()
    }

    /// Waits for it to end by itself.
    fn ends(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn watch_shows_what_passes_and_ends_when_it_is_told_to() {
    let redis = Redis::start();
    let mut all = Watching::start(&redis, &["--count", "3"]);
    let mut some = Watching::start(&redis, &["--to", "ops", "-e", "log", "-A", "--count", "2"]);
    let binary = std::env::temp_dir().join(format!("emitter-cli-{}-watch", std::process::id()));
    std::fs::write(&binary, [0xff; 12]).unwrap();
    let path = binary.display().to_string();
    for words in [
        &["emit", "log", "line", "-t", "ops"][..],
        &["emit", "photo", "-b", &path, "-x", "muted", "--volatile"],
        &["emit", "log", "1", "-t", "ops", "-t", "b", "-n", "chat"],
        &["join", "r", "-t", "ops"],
        &["emit", "other", "-t", "ops"],
    ] {
        assert_eq!(run(&redis.url(), &[words, &["-q"]].concat(), "").code, 0);
    }
    std::fs::remove_file(binary).unwrap();
    assert_eq!(all.next(), r#"/ room:ops "log" ["line"]  (uid emitter"#);
    assert_eq!(all.next(), r#"/ except:muted "photo" [<12 bytes>]  (uid emitter, volatile"#);
    assert_eq!(all.next(), r#"/ room:ops "other" []  (uid emitter"#);
    assert_eq!(all.ends(), Some(0));
    assert_eq!(some.next(), r#"/ room:ops "log" ["line"]  (uid emitter"#);
    assert_eq!(some.next(), r#"/chat rooms:ops,b "log" [1]  (uid emitter"#);
    assert_eq!(some.ends(), Some(0));
}

#[test]
fn watch_shows_requests_and_what_cannot_be_read() {
    let redis = Redis::start();
    let mut watching = Watching::start(&redis, &["--requests"]);
    let counted = redis.cli(&["PUBSUB", "NUMSUB", "socket.io-request#/#"]);
    assert_eq!(counted.trim_end(), "socket.io-request#/#\n0", "servers would wait for its answers");
    run(&redis.url(), &["join", "r", "-t", "ops", "-q"], "");
    run(&redis.url(), &["server-emit", "reload", "1", "-q"], "");
    redis.cli(&["PUBLISH", "socket.io#/#", "nonsense"]);
    assert_eq!(watching.next(), "/ room:ops join joins r  (61 B)");
    assert_eq!(watching.next(), r#"/ server-event "reload" [1]  (uid emitter"#);
    let broken = watching.next();
    assert!(broken.starts_with("socket.io#/# not readable: ") && broken.ends_with("6e6f6e73656e7365"), "{broken}");

    let too_few = run(&redis.url(), &["watch", "--count", "1", "--for", "200ms", "-q"], "");
    assert_eq!(too_few, Ended::new(1, "", "error: 0 of 1 within 200 ms\n"));
    let nowhere = run(&format!("redis://127.0.0.1:{}", free_port()), &["watch"], "");
    assert_eq!(nowhere.code, 3, "{}", nowhere.err);
}

#[test]
fn watch_sees_servers_of_the_other_families() {
    for family in ["sharded", "streams"] {
        let redis = Redis::start();
        let node = Node::start(&redis, family);
        let mut all = Watching::start(&redis, &["--adapter", family, "--count", "1"]);
        // A room that nobody is in has no sharded channel, unless somebody wants to hear it.
        let mut room = Watching::start(&redis, &["--adapter", family, "--count", "1", "--to", "ops"]);
        node.does(async |io| {
            io.emit("log", "a").unwrap().await.unwrap();
            io.to("ops").emit("log", ("b", 2)).unwrap().await.unwrap();
        });
        for (watching, expected) in [(&mut all, r#"/ "log" ["a"]"#), (&mut room, r#"/ room:ops "log" ["b",2]"#)] {
            let line = watching.next();
            assert!(line.starts_with(&format!("{expected}  (uid ")), "{family}: {line}");
        }
        assert_eq!([all.ends(), room.ends()], [Some(0); 2]);
        if family == "streams" {
            let late = run(&redis.url(), &["watch", "--adapter", "streams", "--since", "1m", "-c", "2", "--json"], "");
            let first = late.out.lines().next().unwrap_or_default();
            assert!(first.contains(r#""kind":"event","nsp":"/","event":"log","args":["a"],"rooms":[]"#), "{late:?}");
        }
    }
}

#[test]
fn watch_follows_the_sharded_channels_of_rooms_that_come_and_go() {
    let redis = Redis::start();
    let mut watching = Watching::start(&redis, &["--adapter", "sharded"]);
    // Somebody listens as a server does that has sockets in the room, then is gone, then is there again.
    for round in 0..2 {
        let mut server = Command::new("redis-cli");
        server.args(["-p", &redis.port.to_string(), "SSUBSCRIBE", "socket.io#/#new#"]);
        let mut server = server.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let subscribers = |count| {
            while !redis.cli(&["PUBSUB", "SHARDNUMSUB", "socket.io#/#new#"]).contains(&format!("\n{count}\n")) {}
        };
        subscribers(2);
        let emit = ["emit", "log", &round.to_string(), "--to", "new", "--adapter", "sharded", "-q"];
        assert_eq!(run(&redis.url(), &emit, "").code, 0);
        assert!(watching.next().starts_with(&format!(r#"/ room:new "log" [{round}]  (uid emitter"#)));
        server.kill().unwrap();
        server.wait().unwrap();
        subscribers(0);
    }
}

#[test]
fn decode_explains_and_refuses() {
    let ended = run("", &["decode", r#"42/admin,7["hello",{"a":1}]"#], "");
    let out = "Socket.IO packet in an Engine.IO message\n  type        EVENT\n  namespace   /admin\n  event       \"hello\"\n  \
        arguments   [{\"a\":1}]\n  ack id      7\n";
    assert_eq!(ended, Ended::new(0, out, ""));
    let from_stdin = run("", &["decode", "--json"], "2probe\n");
    assert_eq!(from_stdin, Ended::new(0, "{\"packet\":\"Engine.IO ping\",\"data\":\"probe\"}\n", ""));
    let nothing = run("", &["decode", "hello"], "");
    assert_eq!((nothing.code, nothing.out.as_str(), nothing.err.lines().count()), (1, "", 3), "{}", nothing.err);
}

#[test]
fn doctor_finds_the_servers_and_says_what_is_wrong() {
    let redis = Redis::start();
    let nobody = run(&redis.url(), &["doctor"], "");
    assert_eq!(nobody.code, 1, "{}", nobody.out);
    assert!(nobody.out.contains("FAIL  servers      nobody listens on socket.io-request#/#\n"), "{}", nobody.out);
    assert!(nobody.out.contains("tip: start a server that has this Redis as its adapter"), "{}", nobody.out);

    let node = Node::start(&redis, "classic");
    let well = run(&redis.url(), &["doctor"], "");
    assert_eq!((well.code, well.err.as_str()), (0, ""), "{}", well.out);
    for expected in [
        "connection   let in",
        "redis        Redis ",
        "permission   PUBLISH is permitted",
        "servers      1 server listens on socket.io-request#/#",
        "answers      all answered",
    ] {
        assert!(well.out.contains(expected), "{expected}: {}", well.out);
    }
    assert_eq!(run(&redis.url(), &["doctor", "-q"], ""), Ended::new(0, "", ""), "nothing to say when all is well");
    for (words, tip) in [
        (&["doctor", "--key", "app"][..], "--key socket.io"),
        (&["doctor", "--nsp", "/none"], "servers listen in namespace /"),
        (&["doctor", "--adapter", "sharded"], "--adapter pubsub"),
    ] {
        let ended = run(&redis.url(), words, "");
        assert_eq!(ended.code, 1, "{}", ended.out);
        assert!(ended.out.contains(tip), "{words:?}: {}", ended.out);
    }
    drop(node);

    // Somebody who listens and never answers.
    let _silent = Server::start(&redis, "frozen", "/");
    let frozen = run(&redis.url(), &["doctor", "--key", "frozen", "--json"], "");
    assert_eq!(frozen.code, 0, "{}", frozen.out);
    assert!(
        frozen.out.contains(r#"{"check":"answers","verdict":"warn","says":"0 of 1 answered within 2 s""#),
        "{}",
        frozen.out
    );

    let away = run(&format!("redis://:s3cret@127.0.0.1:{}", free_port()), &["doctor"], "");
    assert_eq!(away.code, 3);
    assert!(
        away.out.contains("FAIL  connection   cannot reach Redis at redis://:***@") && !away.out.contains("s3cret"),
        "{}",
        away.out
    );
    let denies = pretend(|word, _| Some(if word == "PUBLISH" { "-NOPERM no permissions" } else { "+OK" }));
    let denied = run(&denies.url(), &["doctor"], "");
    assert_eq!(denied.code, 1);
    assert!(denied.out.contains("FAIL  permission   NOPERM no permissions\n"), "{}", denied.out);
}

#[test]
fn doctor_knows_the_other_families() {
    for (family, says) in
        [("sharded", "1 server listens on socket.io#/#"), ("streams", "socket.io has 1 entries, the newest ")]
    {
        let redis = Redis::start();
        let node = Node::start(&redis, family);
        node.does(async |io| io.emit("x", 1).unwrap().await.unwrap());
        let well = run(&redis.url(), &["doctor", "--adapter", family], "");
        assert_eq!(well.code, 0, "{}", well.out);
        assert!(well.out.contains(says), "{}", well.out);
        let wrong = run(&redis.url(), &["doctor"], "");
        assert_eq!(wrong.code, 1);
        assert!(wrong.out.contains(&format!("--adapter {family}")), "{}", wrong.out);
    }
}

#[test]
fn bench_measures() {
    let redis = Redis::start();
    let _server = Server::start(&redis, "socket.io", "/");
    let ended = run(&redis.url(), &["bench", "--for", "300ms"], "");
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let lines: Vec<_> = ended.out.lines().collect();
    assert!(
        lines[0].starts_with("round trip  p50 ")
            && lines[1].starts_with("throughput  ")
            && lines[2] == "heard by    1 server",
        "{lines:?}"
    );
    let json = run(&redis.url(), &["bench", "--for", "100ms", "--json"], "");
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert!(json["events"].as_u64().unwrap() > 0 && json["receivers"] == 1, "{json}");
}

/// A directory for settings that goes with the value.
struct Home(PathBuf);

impl Home {
    fn with(name: &str, text: &str) -> Home {
        let directory = std::env::temp_dir().join(format!("emitter-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(directory.join("emitter-cli")).unwrap();
        std::fs::write(directory.join("emitter-cli/config.toml"), text).unwrap();
        Home(directory)
    }

    fn run(&self, words: &[&str], env: &[(&str, &str)]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_emitter-cli"));
        command.env_clear().env("XDG_CONFIG_HOME", &self.0).envs(env.iter().copied());
        let output = command.args(words).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_setting_is_its_flag_then_its_variable_then_its_profile_then_the_default() {
    let text = "[default]\nkey = \"d\"\nnsp = \"d\"\nretries = 7\n[profile.prod]\nkey = \"p\"\nurl = \"redis://:s3cret@prod:1\"\ntimeout = \"9s\"\n";
    let home = Home::with("order", text);
    let show = |words: &[&str], env: &[(&str, &str)]| {
        let ended = home.run(&[words, &["config", "show"]].concat(), env);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        ended.out.lines().map(line).collect::<Vec<_>>()
    };
    let plain = show(&[], &[]);
    assert_eq!(
        plain[..5],
        [
            "url redis://127.0.0.1:6379 built in",
            "server - built in",
            "adapter pubsub built in",
            "key d [default]",
            "nsp /d [default]"
        ]
    );
    let prod = show(&["-P", "prod"], &[("EMITTER_NSP", "e")]);
    assert_eq!(
        prod[..5],
        [
            "url redis://:***@prod:1 profile prod",
            "server - built in",
            "adapter pubsub built in",
            "key p profile prod",
            "nsp /e environment"
        ]
    );
    assert_eq!(prod[7..], ["timeout 9 s profile prod", "retries 7 [default]"]);
    let flags = show(&["-k", "f"], &[("EMITTER_PROFILE", "prod"), ("EMITTER_KEY", "e")]);
    assert_eq!(flags[3], "key f flag");
    let short = show(&["-u", "localhost:7000", "--server", "http://ana:s3cret@host/chat?token=s3cret"], &[]);
    assert_eq!(short[..2], ["url redis://localhost:7000 flag", "server http://***@host/chat?*** flag"]);
    assert_eq!(home.run(&["config", "list"], &[]), Ended::new(0, "prod\n", ""));
    let used = home.run(&["-N", "emit", "x"], &[]);
    assert!(used.out.starts_with("would PUBLISH d#/d#"), "{used:?}");
    let none = home.run(&["-P", "test", "emit", "x"], &[]);
    assert_eq!(none.code, 2);
    assert!(none.err.ends_with("tip:   there are prod\n"), "{}", none.err);
}

#[test]
fn a_file_that_is_wrong_is_told_without_its_secrets() {
    for (text, cause) in [
        ("[default]\nurl = \"redis://:s3cret@h\" x", "line 2: "),
        ("[default]\nurl = \"redis://:s3cret@h\"\nurll = 1", "unknown field `urll`"),
        ("[default]\nadapter = \"other\"", "invalid variant: other"),
        ("[profile.a]\ntimeout = \"5\"", "write it as 250ms, 2s or 1m"),
    ] {
        let home = Home::with("wrong", text);
        let ended = home.run(&["-P", "a", "emit", "x"], &[]);
        let ended = if text.contains("profile") { ended } else { home.run(&["emit", "x"], &[]) };
        assert_eq!((ended.code, ended.err.lines().count()), (2, 3), "{}", ended.err);
        assert!(ended.err.contains(cause) && !ended.err.contains("s3cret"), "{}", ended.err);
        let path = home.run(&["config", "path"], &[]);
        assert_eq!(path.out, format!("{}/emitter-cli/config.toml\n", home.0.display()));
    }
    let home = Home::with("edit", "");
    std::fs::remove_file(home.0.join("emitter-cli/config.toml")).unwrap();
    assert_eq!(home.run(&["config", "edit"], &[("EDITOR", "/bin/true")]), Ended::new(0, "", ""));
    assert_eq!(home.run(&["config", "show"], &[]).code, 0);
}

#[test]
fn completions_and_man_pages_are_made() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = run("", &["completions", shell], "");
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        assert!(ended.out.contains("server-emit") && !ended.out.contains("redis://:"), "{shell}");
    }
    let home = Home::with("man", "");
    let ended = home.run(&["man", &home.0.display().to_string()], &[]);
    assert_eq!(ended, Ended::new(0, "", ""));
    let page = std::fs::read_to_string(home.0.join("emitter-cli-emit.1")).unwrap();
    assert!(page.contains("require") && page.contains(".SH"), "{page}");
}
