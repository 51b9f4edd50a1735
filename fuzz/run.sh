#!/usr/bin/env bash
# Runs fuzz targets, each for so many seconds, beginning with the seeds in corpus/. Stops at the first finding.
#
#   fuzz/run.sh 60                    every target, a minute each
#   fuzz/run.sh 600 socket_text       one target
#
# Needs cargo-fuzz (cargo install cargo-fuzz) and works with a stable Rust. What a run discovers is kept in
# target/corpus and used by the next; a finding is in artifacts/, see README.md for what to do with it.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:?how many seconds for each target}
shift
targets=("$@")
((${#targets[@]})) || targets=($(sed -n 's/^name = "\(.*_.*\)"$/\1/p' Cargo.toml))

# libFuzzer's instrumentation is an unstable flag; our code is free of unsafe, so that no sanitizer is needed.
export RUSTC_BOOTSTRAP=1
for target in "${targets[@]}"; do
  mkdir -p "target/corpus/$target"
  printf '\n== %s\n' "$target"
  cargo fuzz run --fuzz-dir . --sanitizer none "$target" "target/corpus/$target" "corpus/$target" -- \
    -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1
done
