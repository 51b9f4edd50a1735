#!/usr/bin/env bash
# Counts the instructions (callgrind) that reading, writing and broadcasting one event take, reading and writing one that
# goes through Redis among them, and compares them with benches/instructions.txt. Noise cannot touch the numbers; another compiler can.
#
#   scripts/instructions.sh             compare; fails if something takes over 3 % more
#   scripts/instructions.sh --write     measure anew and write the file
#
# Needs valgrind (apt-get install valgrind).
set -euo pipefail
cd "$(dirname "$0")/.."

file=benches/instructions.txt
target=${CARGO_TARGET_DIR:-target}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# How many instructions a run takes in all.
count() {
  valgrind --tool=callgrind --callgrind-out-file="$out/callgrind" "$target/release/work" "$1" "$2" >"$out/log" 2>&1 ||
    { cat "$out/log" >&2; exit 1; }
  sed -n 's/^totals: //p' "$out/callgrind"
}

# The instructions of one piece of work: what twice as many of them take more.
each() {
  local work=$1 times=$2 once twice
  once=$(count "$work" "$times")
  twice=$(count "$work" $((2 * times)))
  echo $(((twice - once) / times))
}

command -v valgrind >/dev/null || { echo "valgrind is missing: apt-get install valgrind" >&2; exit 1; }
cargo build --release -p socketio-benches --bin work
{
  printf '# Instructions of one piece of work; %s. Written by scripts/instructions.sh.\n' "$(rustc --version | cut -d' ' -f1,2)"
  printf 'decode %s\n' "$(each decode 2000)"
  printf 'encode %s\n' "$(each encode 2000)"
  printf 'cluster-read %s\n' "$(each cluster-read 2000)"
  printf 'cluster-write %s\n' "$(each cluster-write 2000)"
  printf 'broadcast-to-100 %s\n' "$(each broadcast 50)"
} >"$out/now"

if [[ ${1:-} == --write ]]; then
  cp "$out/now" $file
  cat $file
  exit
fi
awk '
  /^#/ { next }
  NR == FNR { was[$1] = $2; next }
  {
    change = ($2 - was[$1]) * 100 / was[$1]
    printf "%-18s %8d, was %8d (%+.1f %%)\n", $1, $2, was[$1], change
    bad += change > 3
  }
  END { exit bad > 0 }
' $file "$out/now"
