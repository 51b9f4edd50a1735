#!/usr/bin/env bash
# Holds thousands of clients of all kinds on two servers with one Redis, which is killed now and then, has them come and go,
# and looks at the end whether anything is left. Fails if something is, or if a message came twice, out of order, or was lost
# without being told. Draws docs/soak.svg. Needs Linux, redis-server, and 15,000 file descriptors for 5,000 clients.
#
#   scripts/soak.sh              an hour with 5,000 clients
#   scripts/soak.sh 1 500        a minute with 500, without the picture
set -euo pipefail
cd "$(dirname "$0")/.."

minutes=${1:-60} clients=${2:-5000}
ulimit -n "$(ulimit -Hn)"
cargo build --release -p socketio-benches --bin soak
soak="${CARGO_TARGET_DIR:-target}/release/soak"
samples="$(dirname "$soak")/soak.jsonl"
nice -n 10 "$soak" "$minutes" "$clients" "$samples"
if [ "${minutes%.*}" -ge 30 ]; then "$soak" draw "$samples" > docs/soak.svg; fi
echo "nothing is left, nothing was lost untold; samples: $samples"
