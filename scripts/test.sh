#!/usr/bin/env bash
# The test command: gets what is missing, then formatting, clippy and every test of the workspace.
#
#   scripts/test.sh                 everything
#   scripts/test.sh --setup-only    only get what is missing
#   scripts/test.sh --reference     prove the Node.js suites on the reference server instead of on ours
#
# Besides Rust the tests need a C compiler for linking, redis-server, nginx, HAProxy, libfaketime, Chromium (CHROMIUM names another than
# /usr/bin/chromium), Node.js 18 or newer, npm, Python 3 with venv, curl, openssl, and the packages of tests/node and tests/python. As
# root the programs are installed with apt-get; otherwise this says what to install and stops. The Redis that tests use is
# a process of their own on a free port: one that runs already is not touched, and none is left running.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
  case "${1:-}" in
    "") setup && check_everything ;;
    --setup-only) setup ;;
    --reference) setup && prove_suites ;;
    *) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
}

setup() {
  require_rust
  install_programs
  install_node_packages
  install_python_packages
}

require_rust() {
  local missing=()
  command -v cargo >/dev/null || missing+=("Rust (https://rustup.rs)")
  if command -v cargo >/dev/null; then
    cargo fmt --version >/dev/null 2>&1 || missing+=("rustfmt (rustup component add rustfmt)")
    cargo clippy --version >/dev/null 2>&1 || missing+=("clippy (rustup component add clippy)")
  fi
  ((${#missing[@]} == 0)) || fail "missing:" "${missing[@]}"
}

install_programs() {
  local packages=()
  command -v cc >/dev/null || packages+=(gcc libc6-dev)
  command -v redis-server >/dev/null || packages+=(redis-server)
  [[ -x ${CHROMIUM:-/usr/bin/chromium} ]] || packages+=(chromium)
  [[ -x $(PATH=$PATH:/usr/sbin command -v nginx) ]] || packages+=(nginx-light)
  [[ -x $(PATH=$PATH:/usr/sbin command -v haproxy) ]] || packages+=(haproxy)
  compgen -G "/usr/lib/*/faketime/libfaketime.so.1" >/dev/null || packages+=(libfaketime)
  command -v node >/dev/null || packages+=(nodejs)
  command -v curl >/dev/null || packages+=(curl)
  command -v openssl >/dev/null || packages+=(openssl)
  python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3 python3-venv)
  # What npm needs to trust the registry is only a recommendation of its package.
  command -v npm >/dev/null || packages+=(npm ca-certificates)
  if ((${#packages[@]} > 0)); then
    if ((EUID != 0)); then
      fail "missing: ${packages[*]}" "install with: sudo apt-get install --no-install-recommends ${packages[*]}"
    fi
    command -v apt-get >/dev/null || fail "missing: ${packages[*]}" "there is no apt-get here: install them another way"
    say "installing with apt-get: ${packages[*]}"
    apt_install "${packages[@]}"
  fi
  local major
  major=$(node -p 'process.versions.node.split(".")[0]')
  ((major >= 18)) || fail "Node.js $(node --version) is too old: 18 or newer is needed"
}

# Installs without starting what it installs: a redis-server of the system would take the port of the built-in bus.
apt_install() {
  local policy=/usr/sbin/policy-rc.d log
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap "rm -f $policy" EXIT
  fi
  local -x DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  apt-get update >"$log" 2>&1 || say "apt-get update failed, trying with the lists that are here"
  if ! apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1; then
    tail -n 30 "$log"
    fail "apt-get could not install: $*"
  fi
  rm -f "$log"
}

install_node_packages() {
  local stamp=tests/node/node_modules/.installed-for wanted
  wanted="$(sha256sum tests/node/package-lock.json | cut -d' ' -f1) node $(node -p process.versions.modules)"
  [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && return
  say "installing the Node.js packages of tests/node/package-lock.json into tests/node/node_modules"
  (cd tests/node && npm ci --no-fund --no-audit) || fail "npm ci failed in tests/node"
  printf '%s\n' "$wanted" >"$stamp"
}

install_python_packages() {
  local folder=tests/python wanted
  wanted="$(sha256sum $folder/requirements.txt | cut -d' ' -f1) $(python3 --version)"
  [[ -f $folder/.venv/.installed-for && $(<$folder/.venv/.installed-for) == "$wanted" ]] && return
  say "installing the Python packages of $folder/requirements.txt into $folder/.venv"
  rm -rf $folder/.venv
  python3 -m venv $folder/.venv || fail "python3 -m venv failed"
  $folder/.venv/bin/pip install --quiet --disable-pip-version-check -r $folder/requirements.txt || fail "pip failed"
  printf '%s\n' "$wanted" >$folder/.venv/.installed-for
}

check_everything() {
  local failed=()
  # Most tests wait for other programs most of the time.
  local -x RUST_TEST_THREADS=$((2 * $(nproc)))
  step cargo fmt --all --check
  step cargo clippy --workspace --all-targets --all-features -- -D warnings
  step cargo test --workspace --all-features --no-fail-fast
  finish
}

prove_suites() {
  local failed=() suite family
  local -x SERVER_CMD NODE_CMD="node servers/cluster-node.mjs" EMITTER_CMD="node servers/emitter.mjs"
  cd tests/node
  for suite in *.test.mjs; do
    family=
    case $suite in
      api* | clock* | compare* | each-example* | examples* | gateway* | outside* | page* | secrets* | tls*) continue ;; # the client's side of a test in Rust, and the comparison with the reference itself
      chaos* | everywhere*) continue ;; # ask nodes for what those of the reference do not have
      recovery-back*) continue ;; # the reference has no recovery over pub/sub
      webtransport*) continue ;; # the reference needs a native module for it
      recovery-cluster*) SERVER_CMD=$NODE_CMD family=streams ;;
      idle-rooms*) SERVER_CMD=$NODE_CMD family=sharded ;;
      admin-cluster* | cluster* | outage* | emitter* | faults* | proxies*) SERVER_CMD=$NODE_CMD ;;
      *) SERVER_CMD="node servers/conformance.mjs" ;;
    esac
    step env ADAPTER="${family:-classic}" node --test --test-reporter=spec "$suite"
  done
  finish
}

step() {
  say "$*"
  "$@" || failed+=("$*")
}

finish() {
  ((${#failed[@]} == 0)) || fail "failed:" "${failed[@]}"
  say "all passed"
}

say() { printf '\n== %s\n' "$*"; }

fail() {
  printf '\n%s\n' "$1" >&2
  shift
  (($# == 0)) || printf '  - %s\n' "$@" >&2
  exit 1
}

main "$@"
