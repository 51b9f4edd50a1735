//! The fuzz targets on a stable Rust: the inputs of `fuzz/corpus`, and for a second what becomes of them by chance.
//!
//! A finding is printed as a Rust literal: it becomes a row of a test, or a file of the corpus. `FUZZ_SEED` plays another
//! game than usual.

#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, missing_docs, reason = "there it is a library")]
mod targets;

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use socketio_tests::workspace;

/// How long each target is played with.
const GAME: Duration = Duration::from_secs(1);

/// No input is longer.
const MAX_LEN: usize = 1024;

fn play(name: &str, run: fn(&[u8])) {
    let folder = workspace().join("fuzz/corpus").join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut corpus: Vec<Vec<u8>> = files
        .map(|file| std::fs::read(file.expect("the folder can be listed").path()).expect("a seed can be read"))
        .collect();
    assert!(!corpus.is_empty(), "{name} has no seeds");
    corpus.sort(); // The order of a folder is not the same everywhere.
    for input in &corpus {
        check(name, run, input);
    }
    let mut chance = Chance::new();
    let began = Instant::now();
    while began.elapsed() < GAME {
        for _ in 0..32 {
            check(name, run, &mutated(&corpus, &mut chance));
        }
    }
}

fn check(name: &str, run: fn(&[u8]), input: &[u8]) {
    if catch_unwind(|| run(input)).is_err() {
        panic!("{name} has a finding: b\"{}\"", input.escape_ascii());
    }
}

/// One input of the corpus, changed in a few places.
fn mutated(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut input = chance.one_of(corpus).clone();
    for _ in 0..=chance.below(4) {
        let at = chance.below(input.len() + 1);
        let end = (at + 1 + chance.below(8)).min(input.len());
        match chance.below(6) {
            0 if at < input.len() => input[at] ^= 1 << chance.below(8),
            1 if at < input.len() => input[at] = *chance.one_of(TELLING),
            2 => input.insert(at, *chance.one_of(TELLING)),
            3 if at < end => drop(input.drain(at..end)),
            4 if at < end => {
                let piece = input[at..end].to_vec();
                let place = chance.below(input.len() + 1);
                input.splice(place..place, piece);
            }
            _ => {
                let other = chance.one_of(corpus);
                let from = chance.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
    input.truncate(MAX_LEN);
    input
}

/// Bytes that mean something to one of the formats.
const TELLING: &[u8] = b"\x00\x01\x04\x1e\x7e\x7f\x80\x81\x82\x88\x89\x93\xc0\xc4\xd4\xdf\xff0123456789-,/:[]{}\"\\bu";

/// A xorshift generator.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let seed = std::env::var("FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
        Self(seed.unwrap_or(0x9e37_79b9_7f4a_7c15_u64).max(1))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

macro_rules! play {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            play(stringify!($name), targets::$name::run);
        }
    )* };
}

play! {
    engine_payload_v3 engine_payload_v4 engine_webtransport http1_head websocket_frames websocket_deflate
    socket_text socket_sequence socket_msgpack
    cluster_classic cluster_sharded cluster_streams cluster_sessions
}
