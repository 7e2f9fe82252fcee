#!/usr/bin/env python3
"""HHSFT `base` on one core: ours beside its rivals in one run, then the server over HTTP at half load.

usage: run.py BUILD_FOLDER [--rivals PYTHON …] [--widths 128 256] [--seconds 20] [--http-only]

Rivals run in environments of their own (requirements/rivals.txt beside torch); `.venv-rivals` is taken where it stands, and
without one ours is measured alone. A rival is timed only after its answers equal ours. The server has one scoring thread and bf16;
half load is half of what one client that waits for each reply gets. The last line's p99_over_p50 is that of HTTP at 200 candidates
(from when a request was due to its whole reply), the worse of the widths; front_share is reading, features and reply of it.
"""

import argparse
import http.client
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/load")]


def library(build, rivals):
    """bench_serve's output as it comes; returns its last line."""
    with subprocess.Popen([str(build / "bench_serve"), *rivals], stdout=subprocess.PIPE, text=True) as child:
        last = ""
        for line in child.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    if child.returncode != 0:
        raise SystemExit("bench: bench_serve failed")
    return last


def stage_seconds(server):
    text = server.request("GET", "/metrics", port=server.metrics_port)[1].decode()
    sums = dict(re.findall(r'uniscale_stage_duration_seconds_sum\{stage="(\w+)"\} (\S+)', text))
    return {stage: float(value) for stage, value in sums.items()}


def http_at_half_load(build, width, seconds, candidates=200):
    import os
    os.environ["US_BUILD"] = str(build)
    import open_loop
    from binaries import Server
    with tempfile.TemporaryDirectory(prefix="uniscale-") as name:
        folder = pathlib.Path(name)
        subprocess.run([str(build / "bench_serve"), "--publish", name, str(width)], check=True)
        server = Server(folder / "models", folder, "--precision", "bf16", "--set", "serve.threads=1")
        try:
            body = (folder / f"request-{candidates}.json").read_bytes()
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

            def once():
                connection.request("POST", "/v1/rank/main", body, {"Content-Type": "application/json"})
                reply = connection.getresponse()
                if reply.read() and reply.status != 200:
                    raise SystemExit(f"bench: the server answers {reply.status}")

            for _ in range(10):
                once()
            begin, served = time.perf_counter(), 0
            while time.perf_counter() < begin + seconds / 4:
                once()
                served += 1
            rate = served / (time.perf_counter() - begin)
            before = stage_seconds(server)
            sent = open_loop.run(server.port, [open_loop.post("/v1/rank/main", body)], rate / 2, seconds)
            after = stage_seconds(server)
            if any(one.status != 200 for one in sent):
                raise SystemExit("bench: not every request at half load was served")
            waits = [one.done - one.due for one in sent]
            spent = {stage: after[stage] - before[stage] for stage in after}
            out = {"rate": rate / 2, "requests": len(sent), "p50_ms": 1e3 * open_loop.percentile(waits, 0.5),
                   "p99_ms": 1e3 * open_loop.percentile(waits, 0.99),
                   "front_share": 1 - spent["score"] / sum(spent.values())}
            out["stage_ms"] = {stage: round(1e3 * value / len(sent), 3) for stage, value in spent.items()}
            return out
        finally:
            server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    own = ROOT / ".venv-rivals/bin/python"
    parser.add_argument("--rivals", nargs="*", default=[str(own)] if own.exists() else [])
    parser.add_argument("--widths", nargs="*", type=int, default=[128, 256])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--http-only", action="store_true")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    last = "bench serve: vs_best=not measured vs_openvino=not measured of_peak=not measured" if arguments.http_only \
        else library(build, arguments.rivals)
    tails, shares = [], []
    for width in arguments.widths:
        one = http_at_half_load(build, width, arguments.seconds)
        print(f"HTTP, d{width} x 200, half load: {one['rate']:.1f} requests/s, {one['requests']} of them, p50 {one['p50_ms']:.2f} ms, "
              f"p99 {one['p99_ms']:.2f} ms; ms by stage {one['stage_ms']}")
        tails.append(one["p99_ms"] / one["p50_ms"])
        shares.append(one["front_share"])
    last = re.sub(r" p99_over_p50=\S+", "", last)
    print(f"{last} p99_over_p50={max(tails):.2f} front_share={max(shares):.3f}")


if __name__ == "__main__":
    main()
