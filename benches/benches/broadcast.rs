//! Finding the recipients of a broadcast and queueing it for each: in one namespace, in a room of it.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use socketio_benches::Audience;
use tokio::runtime::Builder;

fn broadcast(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime of one thread needs nothing");
    let mut group = criterion.benchmark_group("broadcast");
    for clients in [10_usize, 100, 1000] {
        group.throughput(Throughput::Elements(clients as u64));
        group.bench_function(BenchmarkId::from_parameter(clients), |bencher| {
            let mut audience = runtime.block_on(Audience::new(clients));
            bencher.iter(|| {
                runtime.block_on(async {
                    audience.broadcast();
                    audience.hear().await;
                });
            });
        });
    }
    group.finish();
}

fn rooms(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime of one thread needs nothing");
    let audience = runtime.block_on(Audience::new(100));
    let sockets = audience.server().local_sockets();
    let socket = sockets.first().expect("they are connected");
    criterion.bench_function("rooms/join and leave", |bencher| {
        bencher.iter(|| {
            socket.join("room");
            socket.leave("room");
        });
    });
}

criterion_group!(benches, broadcast, rooms);
criterion_main!(benches);
