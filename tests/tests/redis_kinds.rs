//! Every way to a Redis: two servers and an emitter meet over TLS, a Unix socket, with a user of their own, behind Sentinels.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use socketio_emitter::Emitter;
use socketio_redis_adapter::{RedisAdapter, TlsOptions};
use socketio_server::{Data, Server};
use socketio_tests::{Program, TestRedis, free_port};

/// Two servers in one cluster, and what one of them has heard.
struct Pair {
    one: Server,
    heard: Arc<AtomicU64>,
    other: Server,
}

impl Pair {
    async fn meet(adapter: impl Fn() -> socketio_redis_adapter::Builder) -> Pair {
        let server = async || {
            let adapter = adapter().connect().await.expect("Redis lets us in");
            Server::builder().adapter(adapter).build()
        };
        let (one, other) = (server().await, server().await);
        let heard = Arc::new(AtomicU64::new(0));
        let count = heard.clone();
        other.on_server_event("number", async move |Data(number): Data<u64>| count.store(number, Ordering::SeqCst));
        one.ready().await.expect("it is subscribed");
        other.ready().await.expect("it is subscribed");
        Pair { one, heard, other }
    }

    /// Sends `number` until the other server has heard it.
    async fn pass(&self, number: u64, within: Duration) {
        let deadline = Instant::now() + within;
        while self.heard.load(Ordering::SeqCst) != number {
            assert!(Instant::now() < deadline, "{number} has not passed within {within:?}");
            // While there is no link it may be refused.
            let _ = self.one.server_side_emit("number", number);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn over_a_unix_socket() {
    let folder = Folder::new("unix");
    let socket = folder.path("redis.sock");
    let _redis = TestRedis::with(&["--unixsocket", &socket]);
    let url = format!("unix://{socket}");
    let pair = Pair::meet(|| RedisAdapter::builder(&url)).await;
    pair.pass(1, SOON).await;
    assert_eq!(pair.one.server_count().await, Ok(2));
    let emitter = Emitter::connect(&url).await.expect("Redis lets it in");
    assert_eq!(emitter.emit("time", 1).await.expect("Redis takes it").receivers(), 2);
}

#[tokio::test]
async fn with_a_user_who_may_do_just_enough() {
    // Redis compares the pattern of a PSUBSCRIBE with those of the user as text, not as a pattern.
    let channels = ["resetchannels", "&socket.io#/#*", "&socket.io-*"];
    let commands = ["-@all", "+publish", "+subscribe", "+psubscribe", "+pubsub", "+ping"];
    let mut options = vec!["--user", "default", "off", "--user", "io", "on", ">s3cret"];
    options.extend(channels.into_iter().chain(commands));
    let redis = TestRedis::with(&options);
    for protocol in ["", "?protocol=resp3"] {
        let url = format!("redis://io:s3cret@127.0.0.1:{}{protocol}", redis.port());
        let pair = Pair::meet(|| RedisAdapter::builder(&url)).await;
        pair.pass(1, SOON).await;
        let emitter = Emitter::connect(&url).await.expect("Redis lets it in");
        assert_eq!(emitter.emit("time", 1).await.expect("Redis takes it").receivers(), 2);
        for (wrong, said) in [("io:wrong@", "WRONGPASS"), ("", "NOAUTH")] {
            let wrong = format!("redis://{wrong}127.0.0.1:{}{protocol}", redis.port());
            let error = RedisAdapter::connect(&wrong).await.map(drop);
            assert!(error.as_ref().is_err_and(|error| error.to_string().contains(said)), "{wrong}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_password_alone_is_that_of_the_default_user() {
    let redis = TestRedis::with(&["--requirepass", "s3cret"]);
    for protocol in ["", "?protocol=resp3"] {
        let url = format!("redis://:s3cret@127.0.0.1:{}{protocol}", redis.port());
        let pair = Pair::meet(|| RedisAdapter::builder(&url).streams()).await;
        pair.pass(1, SOON).await;
    }
}

#[tokio::test]
async fn over_tls_with_certificates_on_both_sides() {
    let folder = Folder::new("tls");
    let authority = certificates(&folder);
    let port = free_port().to_string();
    let [ca, certificate, key] = ["ca.pem", "redis.pem", "redis.key"].map(|name| folder.path(name));
    let _redis = TestRedis::with(&[
        "--tls-port",
        &port,
        "--tls-ca-cert-file",
        &ca,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "yes",
    ]);
    let url = format!("rediss://localhost:{port}");
    let mut tls = TlsOptions::default();
    tls.ca = Some(ca.into());
    tls.identity = Some((folder.path("client.pem").into(), folder.path("client.key").into()));
    let pair = Pair::meet(|| RedisAdapter::builder(&url).tls(tls.clone())).await;
    pair.pass(1, SOON).await;
    let emitter = Emitter::builder(&url).tls(tls.clone()).connect().await.expect("Redis lets it in");
    assert_eq!(emitter.emit("time", 1).await.expect("Redis takes it").receivers(), 2);

    // Who does not know the authority does not trust it, unless told to trust anybody.
    tls.ca = Some(authority);
    let error = RedisAdapter::builder(&url).tls(tls.clone()).connect().await.map(drop);
    assert!(error.as_ref().is_err_and(|error| error.to_string().contains("certificate")), "{error:?}");
    tls.ca = None;
    RedisAdapter::builder(&format!("{url}#insecure")).tls(tls).connect().await.expect("anybody is trusted");
}

/// An authority with a certificate for the Redis and one for us; the answer is another authority's.
fn certificates(folder: &Folder) -> PathBuf {
    let authority = |name: &str| {
        let mut params = CertificateParams::new([]).expect("no name is a bad one");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
    };
    let ours = authority("ours");
    folder.write("ca.pem", &ours.pem());
    for name in ["redis", "client"] {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["localhost".to_owned()]).expect("a good name");
        folder.write(&format!("{name}.pem"), &params.signed_by(&key, &ours).expect("a certificate").pem());
        folder.write(&format!("{name}.key"), &key.serialize_pem());
    }
    folder.write("other.pem", &authority("other").pem());
    folder.path("other.pem").into()
}

#[tokio::test]
async fn sentinels_lead_to_the_master_and_after_a_failover_to_the_new_one() {
    let mut master = TestRedis::spawn();
    let replica_of = format!("127.0.0.1 {}", master.port());
    let replica = TestRedis::with(&["--replicaof", &replica_of]);
    let folder = Folder::new("sentinel");
    let sentinel = Sentinel::watch(&folder, master.port());
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/main?protocol=resp3", sentinel.port);
    sentinel.until_it_knows_a_replica();

    let pair = Pair::meet(|| RedisAdapter::builder(&url)).await;
    pair.pass(1, SOON).await;
    let emitter = Emitter::connect(&url).await.expect("a Sentinel knows the master");
    assert_eq!(emitter.emit("time", 1).await.expect("Redis takes it").receivers(), 2);

    let seen = pair.one.stats().cluster.expect("there is an adapter");
    assert_eq!((seen.deaf_namespaces, seen.outages, seen.bus.links_up, seen.bus.links_down), (0, 0, 1, 0));
    assert!(seen.bus.round_trips > 0 && !seen.bus.round_trip_time.is_zero(), "{seen:?}");
    assert!(pair.other.stats().cluster.is_some_and(|other| other.received > 0));

    master.kill();
    sentinel.until_the_master_is(replica.port());
    pair.pass(2, Duration::from_secs(3)).await;
    assert_eq!(emitter.emit("time", 2).await.map(|receipt| receipt.receivers()), Ok(2));
    let seen = pair.other.stats().cluster.expect("there is an adapter");
    assert_eq!((seen.deaf_namespaces, seen.outages), (0, 1), "{seen:?}");
    assert!(!seen.gaps.is_zero(), "{seen:?}");

    let error = RedisAdapter::connect(&format!("redis+sentinel://127.0.0.1:{}/other", sentinel.port)).await.map(drop);
    assert!(error.is_err_and(|error| error.to_string().contains("knows no master of the name \"other\"")));
}

struct Sentinel {
    port: u16,
    _program: Program,
}

impl Sentinel {
    fn watch(folder: &Folder, master: u16) -> Sentinel {
        let port = free_port();
        folder.write(
            "sentinel.conf",
            &format!(
                "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {master} 1\n\
                 sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n"
            ),
        );
        let mut command = Command::new("redis-server");
        command.arg(folder.path("sentinel.conf")).arg("--sentinel");
        let mut program = Program::start(&mut command, "scripts/test.sh --setup-only installs redis-server.");
        program.wait_until("it listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Sentinel { port, _program: program }
    }

    fn ask(&self, question: &str) -> String {
        let output =
            Command::new("redis-cli").args(["-p", &self.port.to_string(), "sentinel", question, "main"]).output();
        String::from_utf8_lossy(&output.expect("redis-cli is installed").stdout).into_owned()
    }

    fn until_it_knows_a_replica(&self) {
        let known = || {
            let replicas = self.ask("replicas");
            (replicas.contains("slave") && replicas.contains("master-link-status\nok")).then_some(())
        };
        socketio_tests::until(Duration::from_secs(30), "the Sentinel knows the replica", known);
    }

    fn until_the_master_is(&self, port: u16) {
        let promoted = || self.ask("get-master-addr-by-name").contains(&port.to_string()).then_some(());
        socketio_tests::until(Duration::from_secs(30), "the replica is promoted", promoted);
    }
}

/// A folder that ends with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("socketio-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("there is room for a folder");
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("the path of a temporary folder is text").to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(Path::new(&self.path(name)), text).expect("the folder can be written to");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
