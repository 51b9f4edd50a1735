#!/usr/bin/env bash
# The tests of the pure crate under Miri, which sees undefined behaviour in what its dependencies do without the compiler's
# checks. Takes most of an hour, and is not part of CI.
#
#   scripts/miri.sh                 everything but what is too slow there
#   scripts/miri.sh NAME            tests with this in their names
#
# Needs: rustup +nightly component add miri
set -euo pipefail
cd "$(dirname "$0")/.."

# Deep nesting, long messages byte by byte: more than minutes each under Miri.
slow=(a_deep_value_is_skipped every_notice_reads webtransport::tests::every_frame_reads depth_is_limited every_length_is_read every_stream_is_heard)

# Tests of proptest play one case each, and may ask where they are to keep what failed.
export PROPTEST_CASES="${PROPTEST_CASES:-1}" MIRIFLAGS="${MIRIFLAGS:--Zmiri-disable-isolation}"
exec cargo +nightly miri test -p socketio-protocol --lib -- "$@" "${slow[@]/#/--skip=}"
