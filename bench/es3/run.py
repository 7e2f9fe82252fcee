#!/usr/bin/env python3
"""One synthetic day of samples: `uniscale samples` against DuckDB, Polars and the copy-through, on one machine in one run.

usage: run.py BUILD_FOLDER [--scale 1 4 16] [--pairs 3] [--threads 1] [--rivals duckdb polars] [--keep FOLDER]

1. Answers: at 1/40 of the size every rival's rows must equal ours, one by one. There the draw is by score (hard_share = 1),
   since no engine has our hash; timed is the default draw, each engine by its own hash.
2. Time: ours and each rival in turn, `pairs` times; CPU seconds and peak memory of the child process (rusage), medians.
3. Threads 1 and 2, bytes list-wise against flat, and the larger scales, ours alone.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
DAY = "2026-03-08"


def measured(command, cwd, **environment):
    """Runs a child; CPU seconds, peak MiB, wall seconds, stdout."""
    with tempfile.TemporaryFile() as out:
        begin = time.monotonic()
        child = subprocess.Popen([str(word) for word in command], cwd=cwd, stdout=out, stderr=subprocess.STDOUT,
                                 env={**os.environ, **environment})
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - begin
        out.seek(0)
        text = out.read().decode(errors="replace")
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"bench: {' '.join(map(str, command))} failed:\n{text[-3000:]}")
    print(f"  {' '.join(pathlib.Path(str(word)).name for word in command[:3])}: CPU s {usage.ru_utime + usage.ru_stime:.2f}, "
          f"peak MiB {usage.ru_maxrss / 1024:.0f}, wall s {wall:.1f}", file=sys.stderr, flush=True)
    return {"cpu": usage.ru_utime + usage.ru_stime, "mib": usage.ru_maxrss / 1024, "wall": wall, "text": text}


class Bench:
    def __init__(self, arguments, scratch):
        self.build, self.scratch, self.threads = arguments.build.resolve(), scratch, arguments.threads
        self.python = ROOT / ".venv-rivals-es3/bin/python"

    def make(self, name, scale, shrink=1):
        measured([self.build / "bench_es3", "make", self.scratch / name, scale, shrink], self.scratch)
        return self.scratch / name

    def ours(self, store, threads, *flags):
        samples = self.scratch / "samples"
        shutil.rmtree(samples, ignore_errors=True)
        result = measured([self.build / "uniscale", "samples", "--config", FOLDER / "run.toml", "--store", store, "--samples", samples,
                           "--dt", DAY, "--threads", threads, *flags], self.scratch)
        return result | {"samples": samples}

    def rival(self, name, store, draw):
        out = self.scratch / f"{name}.parquet"
        return measured([self.python, FOLDER / name / "run.py", store, DAY, out, self.threads, draw], self.scratch,
                        POLARS_MAX_THREADS=str(self.threads)) | {"out": out}

    def compare(self, name, store):
        ours, rival = self.ours(store, 1, "--set", "es3.hard_share=1.0"), self.rival(name, store, "score")
        done = measured([self.python, FOLDER / "compare.py", ours["samples"], DAY, rival["out"]], self.scratch)
        print(f"{name}: {' · '.join(done['text'].split(chr(10))).strip(' ·')}", flush=True)

    def copy_through(self, store, samples):
        done = measured([self.build / "bench_es3", "copy-through", store, samples], self.scratch)
        return [float(one) for one in re.findall(r"_s=([\d.]+)", done["text"])]


def set_up_rivals():
    """Rivals live in an environment of their own; without it only ours is measured."""
    folder = ROOT / ".venv-rivals-es3"
    if not (folder / "bin/pip").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    requirements = ROOT / "requirements/rivals-es3.txt"
    done = subprocess.run([folder / "bin/pip", "install", "-q", *os.environ.get("PIP_ARGS", "").split(), "-r", requirements],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"bench: cannot install {requirements}:\n{done.stderr[-1000:]}")


def spread(results, key):
    values = sorted(result[key] for result in results)
    return f"{statistics.median(values):.2f} ({values[0]:.2f} … {values[-1]:.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--scale", type=int, nargs="+", default=[1], help="the first is compared with the rivals")
    parser.add_argument("--shrink", type=int, default=1, help="a day of 1/SHRINK, to try the script")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rivals", nargs="*", default=sorted(path.parent.name for path in FOLDER.glob("*/run.py")))
    parser.add_argument("--keep", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.rivals:
        set_up_rivals()
    scratch = (arguments.keep or pathlib.Path(tempfile.mkdtemp(prefix="uniscale-bench-es3-"))).resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        run(arguments, scratch)
    finally:
        if arguments.keep is None:
            shutil.rmtree(scratch, ignore_errors=True)


def run(arguments, scratch):
    bench = Bench(arguments, scratch)
    tiny = bench.make("tiny", 1, 40)
    for name in arguments.rivals:
        bench.compare(name, tiny)
    scale = arguments.scale[0]
    store = bench.make("store", scale, arguments.shrink)
    ours, rivals, copies = [], {name: [] for name in arguments.rivals}, []
    for _ in range(arguments.pairs):
        ours.append(bench.ours(store, arguments.threads))
        copies.append(bench.copy_through(store, ours[-1]["samples"]))
        for name in rivals:
            rivals[name].append(bench.rival(name, store, "hash"))
    print(re.search(r"  exposed.*(?:\n  \+.*)*", ours[-1]["text"]).group())
    decode, encode = (statistics.median(copy[i] for copy in copies) for i in (0, 1))
    for name, results in {"uniscale": ours, **rivals}.items():
        print(f"{name:10} CPU s {spread(results, 'cpu')}   peak MiB {spread(results, 'mib')}   wall s {spread(results, 'wall')}")
    print(f"copy-through CPU s {decode + encode:.2f}: decode {decode:.2f}, encode {encode:.2f}")

    one, two = bench.ours(store, 1), bench.ours(store, 2)
    flat = json.loads((bench.ours(store, 1, "--measure-flat")["samples"] / f"reports/dt={DAY}.json").read_text())["storage"]
    print(f"threads: wall s {one['wall']:.2f} with 1, {two['wall']:.2f} with 2; CPU s {one['cpu']:.2f}, {two['cpu']:.2f}")
    print(f"storage: {json.dumps(flat)}")
    for larger in arguments.scale[1:]:
        other = bench.make(f"store-{larger}", larger, arguments.shrink)
        result = bench.ours(other, arguments.threads)
        print(f"scale {larger}: CPU s {result['cpu']:.2f}, peak MiB {result['mib']:.0f}; {larger / scale:g} times the rows cost "
              f"{result['cpu'] / statistics.median(one['cpu'] for one in ours):.1f} times the CPU", flush=True)
        shutil.rmtree(other)

    def median(results, key):
        return statistics.median(result[key] for result in results)

    cpu, copy = median(ours, "cpu"), decode + encode
    line = f"bench es3: io_ratio={cpu / copy:.2f} two_threads={one['wall'] / two['wall']:.2f}"
    if rivals:
        fastest = min(rivals, key=lambda name: median(rivals[name], "cpu"))
        rival = median(rivals[fastest], "cpu")
        line = (f"bench es3: cpu_ratio={rival / cpu:.2f} mem_ratio={median(ours, 'mib') / median(rivals[fastest], 'mib'):.3f} "
                f"io_ratio={cpu / copy:.2f} kernel_ratio={(rival - copy) / (cpu - copy):.2f} "
                f"two_threads={one['wall'] / two['wall']:.2f} rival={fastest}")
    print(line)


if __name__ == "__main__":
    main()
