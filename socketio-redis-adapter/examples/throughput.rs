//! What carrying a message costs: microseconds of CPU for each, here and in the `redis` crate.
//!
//! Run with `cargo run --release -p socketio-redis-adapter --example throughput -- redis://127.0.0.1:6379 [count]`
//! against a Redis of your own. It prints one line for each way; the process's CPU time is read from `/proc`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use futures_util::StreamExt;
use socketio_protocol::{
    cluster::{Bus, BusStatus, Envelope, Inbox, Message, Options},
    socket::Args,
};
use socketio_redis_adapter::RedisAdapter;

struct Counter(AtomicUsize);

impl Inbox for Counter {
    fn receive(&self, _envelope: Envelope) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn has_room(&self, _room: &str) -> bool {
        true
    }
    fn status(&self, _status: BusStatus) {}
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().ok_or("the URL of a Redis is missing")?;
    let count: usize = args.next().map_or(Ok(200_000), |count| count.parse())?;
    let message = Message::Broadcast {
        args: Args::new_event("score", &("x".repeat(100), 1))?,
        options: Options::default(),
        request: None,
    };

    let sender = RedisAdapter::connect(&url).await?;
    let nobody = sender.open("/", Arc::new(Counter(AtomicUsize::new(0))));
    nobody.ready().await?;
    measure("ours, publishing, one's own passed over", count, async {
        for _ in 0..count / 1000 {
            let published: Vec<_> = (0..1000).map(|_| nobody.publish(&message)).collect();
            for published in published {
                let _ = published.expect("the queue has room").await;
            }
        }
    })
    .await;

    let receiver = RedisAdapter::connect(&url).await?;
    let counter = Arc::new(Counter(AtomicUsize::new(0)));
    let channel = receiver.open("/", counter.clone());
    channel.ready().await?;
    measure("ours, publishing and hearing", count, async {
        for _ in 0..count / 1000 {
            let published: Vec<_> = (0..1000).map(|_| nobody.publish(&message)).collect();
            for published in published {
                let _ = published.expect("the queue has room").await;
            }
        }
        while counter.0.load(Ordering::Relaxed) < count / 1000 * 1000 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    channel.close();

    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let payload = vec![b'x'; 170];
    let mut pipeline = redis::pipe();
    for _ in 0..1000 {
        pipeline.cmd("PUBLISH").arg("other").arg(&payload);
    }
    measure("redis crate, publishing in pipelines of 1000", count, async {
        for _ in 0..count / 1000 {
            let _: Vec<i64> = pipeline.query_async(&mut connection).await.expect("Redis answers");
        }
    })
    .await;
    let mut pubsub = client.get_async_pubsub().await?;
    pubsub.psubscribe("other*").await?;
    measure("redis crate, publishing and hearing", count, async {
        let mut heard = pubsub.on_message();
        for _ in 0..count / 1000 {
            let _: Vec<i64> = pipeline.query_async(&mut connection).await.expect("Redis answers");
            for _ in 0..1000 {
                heard.next().await.expect("it goes on");
            }
        }
    })
    .await;
    Ok(())
}

async fn measure(what: &str, count: usize, work: impl Future<Output = ()>) {
    let (cpu, started) = (cpu_seconds(), Instant::now());
    work.await;
    let (cpu, wall) = (cpu_seconds() - cpu, started.elapsed().as_secs_f64());
    let each = cpu / count as f64 * 1e6;
    #[allow(clippy::print_stdout, reason = "this is what the program is for")]
    {
        println!("{what:45} {each:6.2} µs of CPU a message, {:9.0} messages a second", count as f64 / wall);
    }
}

/// User and system time of this process, from hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}
