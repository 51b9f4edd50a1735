#!/usr/bin/env python3
"""How fast emitter-cli is, beside redis-cli and the emitter crate. Needs redis-server, redis-cli and a release build:

    cargo build --release -p emitter-cli --all-features --bins
    cargo build --release -p socketio-emitter --all-features --example bench-emitter
    scripts/bench-cli.py [TARGET_DIR/release]

Prints the median time from start to exit of one emit and of one PUBLISH, run in turns, and how many events a second
`--ndjson` and `--lines` sustain, beside what the crate does with the same event.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

RELEASE = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release")
CLI = os.path.join(RELEASE, "emitter-cli")
RUNS, EVENTS = 300, 500_000


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def timed(command, **more):
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **more)
    return time.perf_counter() - started


def main():
    port = str(free_port())
    url = f"redis://127.0.0.1:{port}"
    redis = subprocess.Popen(["redis-server", "--port", port, "--save", "", "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL)
    env = {"REDIS_URL": url, "PATH": os.environ["PATH"]}
    try:
        time.sleep(0.5)
        # Somebody listens, as servers do.
        ear = subprocess.Popen(
            ["redis-cli", "-p", port, "PSUBSCRIBE", "socket.io#/#*"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        time.sleep(0.3)
        ours, theirs = [], []
        for _ in range(RUNS):
            ours.append(timed([CLI, "emit", "time", "12:00"], env=env))
            theirs.append(timed(["redis-cli", "-p", port, "PUBLISH", "socket.io#/#", "x" * 60]))
        our, their = statistics.median(ours) * 1000, statistics.median(theirs) * 1000
        least = f"shortest {min(ours) * 1000:.2f} and {min(theirs) * 1000:.2f} ms"
        print(f"start to exit: emit {our:.2f} ms, redis-cli PUBLISH {their:.2f} ms, ratio {our / their:.2f}; {least} ({RUNS} each)")
        ear.kill()

        text = "0000012345|" + "x" * 64
        event = json.dumps({"event": "emitted", "args": [text], "to": "ops"})
        for words, line in [(["--ndjson"], event), (["emitted", "--lines", "--to", "ops"], text)]:
            with tempfile.TemporaryFile("w+") as lines:
                lines.write((line + "\n") * EVENTS)
                rates = []
                for _ in range(3):
                    lines.seek(0)
                    rates.append(EVENTS / timed([CLI, "emit", *words, "-q"], env=env, stdin=lines))
            print(f"emit {' '.join(words)}: {statistics.median(rates):,.0f} events/s ({EVENTS:,} events, median of 3)")
        rates = []
        for _ in range(3):
            more = {"EMIT_COUNT": str(EVENTS), "EMIT_ROOM": "ops", **env}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            crate = subprocess.Popen([os.path.join(RELEASE, "examples", "bench-emitter")], env=more, **pipes)
            assert crate.stdout.readline() == "READY\n"
            started = time.perf_counter()
            crate.stdin.write("\n")
            crate.stdin.flush()
            assert crate.stdout.readline().startswith("DONE")
            rates.append(EVENTS / (time.perf_counter() - started))
            crate.communicate("\n")
        print(f"the crate, the same event: {statistics.median(rates):,.0f} events/s")
    finally:
        redis.kill()


main()
