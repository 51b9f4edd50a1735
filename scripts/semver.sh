#!/usr/bin/env bash
# What changed in the public API since a release: says for each crate whether the next version is a patch or a minor one.
#
#   scripts/semver.sh           since the last tag
#   scripts/semver.sh REV       since another commit
#
# Needs cargo-semver-checks (cargo install cargo-semver-checks --locked).
set -euo pipefail
cd "$(dirname "$0")/.."

since=${1:-$(git describe --tags --abbrev=0)} || { echo "there is no tag yet: name a commit" >&2; exit 2; }
for crate in socketio-protocol socketio-redis-client socketio-redis-adapter socketio-server socketio-emitter socketio-client; do
  cargo semver-checks --package "$crate" --baseline-rev "$since" --all-features
done
