//! A server to which things happen: it runs out of file descriptors, is told to end under load, its handlers block.
//! PORT is in the environment. When it ends it prints which numbers of whom it has handled, as one line of JSON.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socketio_server::{Data, Server};

/// How long the work takes that each number means.
const WORK: Duration = Duration::from_millis(3);

/// How long clients may take to leave.
const DRAIN: Duration = Duration::from_secs(4);

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_env_filter("warn").init();
    let io = Server::new();
    let handled = Arc::new(Mutex::new(BTreeMap::<u64, Vec<u64>>::new()));
    let numbers = handled.clone();
    io.on("number", async move |Data((client, number)): Data<(u64, u64)>| {
        tokio::time::sleep(WORK).await;
        numbers.lock().expect("not poisoned").entry(client).or_default().push(number);
        number
    });
    io.on("echo", async |Data(number): Data<u64>| number);
    io.on("block", async |Data(millis): Data<u64>| {
        std::thread::sleep(Duration::from_millis(millis));
        true
    });
    io.on("block elsewhere", async |Data(millis): Data<u64>| {
        tokio::task::spawn_blocking(move || std::thread::sleep(Duration::from_millis(millis))).await.is_ok()
    });

    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let listening = io.clone();
    let serving = tokio::spawn(async move {
        let addr = format!("127.0.0.1:{}", std::env::var("PORT").unwrap_or_default());
        listening.listen(addr).await
    });
    terminate.recv().await;
    io.drain(DRAIN).await;
    serving.await??;
    let handled = handled.lock().expect("not poisoned");
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&*handled)?)?)
}
