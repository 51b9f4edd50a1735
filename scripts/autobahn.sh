#!/usr/bin/env bash
# Runs Autobahn's fuzzingclient against our WebSocket: RFC 6455 (sections 1 to 7 and 10 of its cases) and
# permessage-deflate (12 and 13).
#
#   scripts/autobahn.sh             run, print what is wrong, fail unless every case passes strictly
#   scripts/autobahn.sh 6.* 7.7.*   only these cases; a minute without 12 and 13
#
# Autobahn is a Python 2.7 program, installed from PyPI into target/autobahn. Without a Python 2.7 (PYTHON2 names one,
# else pyenv or the PATH is asked) this says so and exits with 77. It speaks to tests/src/bin/websocket-echo.rs.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$PWD/target/autobahn
version=25.10.1
server=

main() {
  local python url
  python=$(find_python) || { say "skipped: there is no Python 2.7 here, set PYTHON2"; exit 77; }
  install_autobahn "$python"
  cargo build --release -p socketio-tests --bin websocket-echo
  trap stop_server EXIT
  start_server
  run_cases "$python" "${@:-"1.* 2.* 3.* 4.* 5.* 6.* 7.* 10.* 12.* 13.*"}"
  judge "$python"
}

find_python() {
  local candidate
  for candidate in "${PYTHON2:-}" "$HOME"/.pyenv/versions/2.7.*/bin/python2.7 "$(command -v python2.7 || true)"; do
    [[ -x $candidate ]] && { printf '%s\n' "$candidate"; return; }
  done
  return 1
}

install_autobahn() {
  [[ -f $dir/python/.installed-$version ]] && return
  say "installing autobahntestsuite $version into target/autobahn/python"
  rm -rf "$dir/python"
  mkdir -p "$dir"
  "$1" -m pip install --quiet --target "$dir/python" "autobahntestsuite==$version" 2>"$dir/pip.log" ||
    { cat "$dir/pip.log" >&2; exit 1; }
  # Twisted needs the package that pip leaves implicit, which Python 2.7 does not look for under PYTHONPATH.
  touch "$dir/python/zope/__init__.py" "$dir/python/.installed-$version"
}

start_server() {
  : >"$dir/server.out"
  PORT=0 "${CARGO_TARGET_DIR:-target}/release/websocket-echo" >"$dir/server.out" 2>"$dir/server.err" &
  server=$!
  for _ in {1..100}; do
    url=$(head -n 1 "$dir/server.out")
    [[ -n $url ]] && return
    sleep 0.1
  done
  say "the server did not start"; cat "$dir/server.err" >&2; exit 1
}

stop_server() { [[ -z $server ]] || kill "$server" 2>/dev/null || true; }

run_cases() {
  local python=$1 cases
  shift
  # shellcheck disable=SC2086 # one string of several patterns is the default
  cases=$(set -f; printf '"%s",' $*)
  rm -rf "$dir/report"
  cat >"$dir/spec.json" <<SPEC
{
  "outdir": "$dir/report",
  "servers": [{"agent": "socketio-protocol", "url": "$url"}],
  "cases": [${cases%,}],
  "exclude-cases": [],
  "exclude-agent-cases": {}
}
SPEC
  say "running Autobahn $version against $url"
  (cd "$dir" && PYTHONPATH=$dir/python "$python" -c 'from autobahntestsuite.wstest import run; run()' \
    -m fuzzingclient -s spec.json) >"$dir/client.log" 2>&1 || { tail -n 30 "$dir/client.log" >&2; exit 1; }
}

judge() {
  "$1" - "$dir/report/index.json" <<'PYTHON'
from __future__ import print_function
import collections, json, sys

[cases] = json.load(open(sys.argv[1])).values()
count = collections.Counter()
for case in sorted(cases, key=lambda name: [int(part) for part in name.split('.')]):
    behavior, close = cases[case]['behavior'], cases[case]['behaviorClose']
    count[behavior] += 1
    # INFORMATIONAL cases have no right answer; how they end is judged all the same where it says WRONG or UNCLEAN.
    if behavior not in ('OK', 'INFORMATIONAL') or close not in ('OK', 'INFORMATIONAL'):
        count['bad'] += 1
        print('%s: %s, closing: %s (%s)' % (case, behavior, close, cases[case]['reportfile']))
print('%d cases: %d OK, %d informational, %d non-strict, %d failed, %d not as they should be' % (
    len(cases), count['OK'], count['INFORMATIONAL'], count['NON-STRICT'], count['FAILED'], count['bad']))
sys.exit(1 if count['bad'] or not cases else 0)
PYTHON
}

say() { printf '\n== %s\n' "$*"; }

main "$@"
