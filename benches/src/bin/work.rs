//! Does one piece of work so many times: `work decode 1000`. `scripts/instructions.sh` counts what that takes.

use socketio_benches::{Audience, ClusterBroadcast, decode, encode, frames};

/// Who hears a broadcast.
const AUDIENCE: usize = 100;

fn main() {
    let mut words = std::env::args().skip(1);
    let (Some(work), Some(Ok(count))) = (words.next(), words.next().map(|count| count.parse::<usize>())) else {
        panic!("usage: work decode|encode|cluster-read|cluster-write|broadcast COUNT");
    };
    match work.as_str() {
        "decode" => assert_eq!(decode(frames(count)), 32 * count),
        "encode" => assert_eq!(encode(&mut Vec::with_capacity(64 * count), count) % count, 0),
        "cluster-read" => assert_eq!(ClusterBroadcast::new().read(count), 75 * count),
        "cluster-write" => {
            assert_eq!(ClusterBroadcast::new().write(&mut Vec::with_capacity(128 * count), count) % count, 0);
        }
        "broadcast" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            runtime.expect("a runtime of one thread needs nothing").block_on(async {
                let mut audience = Audience::new(AUDIENCE).await;
                for _ in 0..count {
                    audience.broadcast();
                    audience.hear().await;
                }
            });
        }
        other => panic!("{other} is no work that is known here"),
    }
}
