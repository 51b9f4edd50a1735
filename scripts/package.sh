#!/usr/bin/env bash
# Packs every crate as it would be published, and says what is in it. Nothing is published.
#
#   scripts/package.sh            pack, without building what was packed
#   scripts/package.sh --verify   build each packed crate, too
#
# The crates are packed together, since each needs those before it, which need not be published yet.
set -euo pipefail
cd "$(dirname "$0")/.."

options=(--workspace --exclude socketio-tests --exclude socketio-benches --allow-dirty)
[[ ${1:-} == --verify ]] || options+=(--no-verify)

cargo package "${options[@]}"
for crate in "${CARGO_TARGET_DIR:-target}"/package/*.crate; do
  printf '%s: %s files, %s KiB\n' "$(basename "$crate")" "$(tar -tzf "$crate" | wc -l)" "$(($(stat -c %s "$crate") / 1024))"
done
