#!/usr/bin/env bash
# Sends 10,000 clients messages of 1 KiB, of which a tenth stops reading, and looks whether the others feel it, whether memory
# stays in its bound, and how the slow ones end: closed, or not sent what is volatile. Phases with and without them take turns.
# Fails if it is not as docs/reliability.md says. Takes the whole machine for some minutes; needs Linux, and 11,000 file
# descriptors for each process.
#
#   scripts/slow.sh                   27,000 messages, in nine phases: six minutes
#   scripts/slow.sh 100000            what docs/reliability.md shows: sixteen minutes
#   scripts/slow.sh 10000 1000        10,000, with 1,000 clients
set -euo pipefail
cd "$(dirname "$0")/.."

ulimit -n "$(ulimit -Hn)"
cargo build --release -p socketio-benches --bin slow
"${CARGO_TARGET_DIR:-target}/release/slow" "$@"
