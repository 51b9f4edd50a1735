//! The ways to a Redis, and what is said where one ends.

mod support;

use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use support::{Ended, Redis, cli, free_port, pretend, run};

/// Files of an authority, of a server and of a client, in a directory that goes with the value.
struct Certificates(PathBuf);

impl Certificates {
    fn make(name: &str) -> Certificates {
        let dir = std::env::temp_dir().join(format!("emitter-cli-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("authority {name}"));
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(dir.join("ca.crt"), authority.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        fs::write(dir.join("own.crt"), certificate.pem()).unwrap();
        fs::write(dir.join("own.key"), key.serialize_pem()).unwrap();
        Certificates(dir)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn over_tls_with_a_private_authority_and_certificates_on_both_sides() {
    let (own, other) = (Certificates::make("own"), Certificates::make("other"));
    let port = free_port();
    let (ca, cert, key) = (own.file("ca.crt"), own.file("own.crt"), own.file("own.key"));
    let tls = ["--tls-port", &port.to_string(), "--tls-ca-cert-file", &ca, "--tls-cert-file", &cert];
    let _redis = Redis::with(&[&tls[..], &["--tls-key-file", &key]].concat());
    let url = format!("rediss://127.0.0.1:{port}");

    let trusted = ["emit", "x", "-q", "--cacert", &ca];
    let with_own = [&trusted[..], &["--cert", &cert, &key]].concat();
    assert_eq!(run(&url, &with_own, ""), Ended::new(0, "", ""));

    let without = run(&url, &[&trusted[..], &["--retries", "0"]].concat(), "");
    assert_eq!(without.code, 3, "{}", without.err);
    assert!(without.err.contains("--cert CERT KEY"), "{}", without.err);
    for words in [
        &["emit", "x", "--retries", "0", "--cert", &cert, &key][..],
        &["emit", "x", "--retries", "0", "--cacert", &other.file("ca.crt"), "--cert", &cert, &key],
    ] {
        let unknown = run(&url, words, "");
        assert_eq!(unknown.code, 3, "{}", unknown.err);
        assert!(unknown.err.contains("--cacert FILE"), "{}", unknown.err);
    }
    let plain = run(&format!("redis://127.0.0.1:{port}"), &["emit", "x", "--retries", "0"], "");
    assert_eq!(plain.code, 3, "{}", plain.err);
    assert!(plain.err.contains("write rediss:// for redis://"), "{}", plain.err);
    let missing = run(&url, &["emit", "x", "--cacert", "/no/file"], "");
    let err = "error: cannot read /no/file\ncause: No such file or directory (os error 2)\n";
    assert_eq!(missing, Ended::new(2, "", err));
}

#[test]
fn tls_where_there_is_none_and_a_name_that_nobody_has() {
    let redis = Redis::start();
    for (url, tip) in [
        (redis.url().replace("redis:", "rediss:"), "write redis:// for rediss://"),
        ("redis://no-such-host.invalid".to_owned(), "look at the name of the host"),
    ] {
        // A Redis waits for the rest of what it does not understand.
        let ended = run(&url, &["emit", "x", "--retries", "0", "--timeout", "500ms"], "");
        assert_eq!(ended.code, 3, "{}", ended.err);
        assert!(ended.err.contains(tip), "{}", ended.err);
    }
}

#[test]
fn over_a_unix_socket_and_a_cluster_and_sentinels() {
    let socket = std::env::temp_dir().join(format!("emitter-cli-{}.sock", std::process::id()));
    let path = socket.display().to_string();
    let redis = Redis::with(&["--unixsocket", &path]);
    for url in [format!("unix://{path}"), format!("redis+unix://{path}")] {
        assert_eq!(run(&url, &["emit", "x", "-q"], ""), Ended::new(0, "", ""));
    }

    let config = std::env::temp_dir().join(format!("emitter-cli-{}.conf", std::process::id()));
    let port = free_port();
    let text = format!("port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {} 1\n", redis.port);
    fs::write(&config, text).unwrap();
    let mut sentinel =
        Command::new("redis-server").arg(&config).arg("--sentinel").stdout(Stdio::null()).spawn().unwrap();
    // It is tried again until the Sentinel is there.
    let ended = run(&format!("redis+sentinel://127.0.0.1:{port}/main"), &["emit", "x", "-q", "--retries", "50"], "");
    let unknown = run(&format!("redis+sentinel://127.0.0.1:{port}/other"), &["emit", "x", "--retries", "0"], "");
    sentinel.kill().unwrap();
    sentinel.wait().unwrap();
    fs::remove_file(config).unwrap();
    assert_eq!(ended, Ended::new(0, "", ""));
    assert_eq!(unknown.code, 3);
    assert!(unknown.err.contains("this Sentinel knows no master of the name \"other\""), "{}", unknown.err);

    let state = std::env::temp_dir().join(format!("emitter-cli-{}-nodes.conf", std::process::id()));
    let cluster = Redis::with(&["--cluster-enabled", "yes", "--cluster-config-file", &state.display().to_string()]);
    cluster.cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let url = format!("redis+cluster://127.0.0.1:{},127.0.0.1:{}", free_port(), cluster.port);
    let ended = run(&url, &["emit", "x", "-q", "--retries", "50"], "");
    let _ = fs::remove_file(state);
    assert_eq!(ended, Ended::new(0, "", ""));
}

#[test]
fn what_redis_says_when_entered_is_told() {
    for (says, code, what, tip) in [
        ("-NOAUTH Authentication required.", 1, "refuses the login", "put user and password into REDIS_URL"),
        ("-LOADING Redis is loading the dataset in memory", 1, "still loading", "try again in a moment"),
        ("-ERR max number of clients reached", 1, "Redis refused", "look at the configuration"),
        ("HTTP/1.1 400 Bad Request", 3, "cannot reach Redis", "write rediss://"),
    ] {
        let redis = pretend(move |_, _| Some(says));
        let ended = run(&redis.url(), &["emit", "x", "--retries", "0"], "");
        assert_eq!((ended.code, ended.out.as_str()), (code, ""), "{says}: {}", ended.err);
        assert!(ended.err.contains(what) && ended.err.contains(tip), "{says}: {}", ended.err);
        assert_eq!(ended.err.lines().count(), 3, "{says}: {}", ended.err);
    }
}

#[test]
fn what_is_too_large_is_refused_before_redis_is_asked() {
    let file = std::env::temp_dir().join(format!("emitter-cli-{}-large", std::process::id()));
    let path = file.display().to_string();
    let large = |bytes: u64| fs::File::create(&file).and_then(|file| file.set_len(bytes)).unwrap();
    large((16 << 20) + 1);
    for words in
        [&["emit", "x", "--binary", &path][..], &["emit", "x", "--file", &path], &["-N", "emit", "x", "-b", &path]]
    {
        let err = format!(
            "error: {path} is larger than the 16777216 bytes that a message may have\n\
             tip:   send less, or a link to it: servers would be cut off by Redis\n"
        );
        assert_eq!(run("redis://127.0.0.1:1", words, ""), Ended::new(1, "", &err), "{words:?}");
    }
    // The file would fit, what is around it does not any more.
    large(16 << 20);
    let ended = run("redis://127.0.0.1:1", &["emit", "x", "--binary", &path], "");
    fs::remove_file(&file).unwrap();
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.err.contains("more than the 16777216 accepted"), "{}", ended.err);
}

#[test]
fn what_may_have_arrived_is_sent_again_if_that_is_wanted() {
    let hangs_up_once = pretend(|word, before| match (word, before) {
        ("PUBLISH", 0) => None,
        ("PUBLISH", _) => Some(":1"),
        _ => Some("+OK"),
    });
    let ended = run(&hangs_up_once.url(), &["emit", "x", "--retry-sent"], "");
    assert_eq!(ended, Ended::new(0, "emitted \"x\" to / → 1 server\n", ""));
    assert_eq!(hangs_up_once.published(), 2);
}

#[test]
fn ctrl_c_counts_what_has_no_answer_as_failed() {
    let stalls = pretend(|word, before| {
        Some(if word != "PUBLISH" {
            "+OK"
        } else if before < 2 {
            ":1"
        } else {
            ""
        })
    });
    let mut command = cli(&stalls.url());
    command.args(["emit", "n", "--lines"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut published = 0;
    // Messages that leave together have their answers together.
    for (lines, in_all) in [(&b"1\n2\n"[..], 2), (b"3\n4\n5\n", 5)] {
        stdin.write_all(lines).unwrap();
        while published < in_all {
            assert!(Instant::now() < deadline, "{published} were published");
            std::thread::sleep(Duration::from_millis(5));
            published += stalls.published();
        }
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let status = child.wait().unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((status.code(), out.as_str()), (Some(130), "emitted \"n\" 2 times → 1 server\n"));
    assert_eq!(err, "error: 3 had no answer yet and may have been delivered\nerror: 3 of 5 failed\n");
}
