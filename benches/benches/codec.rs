//! Reading and writing an event of 32 bytes: `cargo bench -p socketio-benches`.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use socketio_benches::{decode, encode, frames};

const EVENTS: usize = 1000;

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("decode", |bencher| {
        bencher.iter_batched(|| frames(EVENTS), decode, BatchSize::LargeInput);
    });
    group.bench_function("encode", |bencher| {
        let mut out = Vec::with_capacity(64 * EVENTS);
        bencher.iter(|| {
            out.clear();
            encode(&mut out, EVENTS)
        });
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
