#!/usr/bin/env bash
# Random faults, in each family of adapters: tests/node/chaos.test.mjs with one seed after another. A seed that fails fails again.
#
#   scripts/chaos.sh                 seeds 1 to 5, a minute each
#   scripts/chaos.sh 7 9 300         seeds 7 to 9, five minutes each
set -euo pipefail
cd "$(dirname "$0")/.."

first=${1:-1} last=${2:-5} seconds=${3:-60}
cargo build -p socketio-tests --all-features --bin cluster-node
export BETTER=1 FAULT_SECONDS=$seconds
SERVER_CMD="[\"$(realpath "${CARGO_TARGET_DIR:-target}")/debug/cluster-node\"]"
export SERVER_CMD
cd tests/node
for seed in $(seq "$first" "$last"); do
  for family in classic sharded streams; do
    SEED=$seed ADAPTER=$family node --test --test-reporter=spec chaos.test.mjs
  done
done
