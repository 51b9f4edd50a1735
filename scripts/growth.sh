#!/usr/bin/env bash
# Measures how cost grows with connections, rooms, namespaces, the size of messages, servers, full servers (`full`) and those who
# leave at once (`departure`), and draws the curves into docs/ (growth-*.svg). Takes some minutes and the whole machine; needs
# Linux, redis-server, and 19,000 file descriptors for a process.
#
#   scripts/growth.sh                   all of it
#   scripts/growth.sh rooms payloads    some of it
set -euo pipefail
cd "$(dirname "$0")/.."

ulimit -n "$(ulimit -Hn)"
cargo build --release -p socketio-benches --bin growth
"${CARGO_TARGET_DIR:-target}/release/growth" docs "$@"
