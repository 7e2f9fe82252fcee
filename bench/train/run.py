#!/usr/bin/env python3
"""The trainer's step on HHSFT `base` against PyTorch, one thread each, CPU time, in one run.

usage: run.py BUILD_FOLDER [--seconds 8] [--rounds 2] [--rows 1000000] [--rivals …] [--curve-steps 100] [--seeds 1 2 3]

1. Answers: `bench_train export` writes weights, a batch and its logits; a rival is timed only after its own logits agree.
2. Time: ours and every rival in turn, `rounds` times; medians of the steps' CPU seconds. Rivals get glibc's settings under
   which it keeps freed memory, as ours keeps its own.
3. Loss curves of preset `small` with fast and with plain ops, the same seeds and batches.
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

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "17179869184",
               "MALLOC_TOP_PAD_": "268435456"}


def output(command, environment=None):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(map(str, command))} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def set_up_rivals():
    """An environment of their own, which sees the build's torch."""
    venv = ROOT / ".venv-rivals-train"
    if not (venv / "bin/pip").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    (build_site,) = (ROOT / ".venv/lib").resolve().glob("python3*/site-packages")
    (site,) = (venv / "lib").glob("python3*/site-packages")
    (site / "torch_of_build.pth").write_text(f"{build_site}\n")
    output([venv / "bin/pip", "install", "-q", "--no-deps", *os.environ.get("PIP_ARGS", "").split(), "-r",
            ROOT / "requirements/rivals-train.txt"])
    return venv / "bin/python"


def values_of(line):
    return {key: float(value) for key, value in re.findall(r"(\w+)=([\d.]+)", line)}


def curves(bench, preset, seed, steps, ops, precision):
    text = output([bench, "curve", preset, seed, steps, "--rows", 1000, "--ops", ops, "--precision", precision])
    return [float(line) for line in text.split()]


def compare_curves(bench, arguments):
    """Differences of fast from plain ops beside the noise: of plain ops in another precision, and from seed to seed."""
    last = []
    for seed in arguments.seeds:
        fast, plain, exact = (curves(bench, "small", seed, arguments.curve_steps, ops, precision)
                              for ops, precision in (("fast", "bf16"), ("plain", "bf16"), ("plain", "fp32")))
        mean = lambda xs: statistics.fmean(xs[-20:])
        last.append(mean(plain))
        print(f"curve seed {seed}: loss {plain[0]:.4f} → mean of the last 20 steps: fast bf16 {mean(fast):.5f}, plain bf16 "
              f"{mean(plain):.5f}, plain fp32 {mean(exact):.5f}; mean |fast − plain| a step "
              f"{statistics.fmean(abs(a - b) for a, b in zip(fast, plain)):.5f}, |plain bf16 − fp32| "
              f"{statistics.fmean(abs(a - b) for a, b in zip(plain, exact)):.5f}", flush=True)
    if len(last) > 1:
        print(f"curve: spread of the last loss from seed to seed {statistics.stdev(last):.5f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rivals", nargs="*", help="names of variants; default: all; none: ours alone")
    parser.add_argument("--curve-steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    arguments = parser.parse_args()
    bench = arguments.build.resolve() / "bench_train"
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="uniscale-bench-train-"))
    try:
        run(bench, scratch, arguments)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def run(bench, scratch, arguments):
    python = set_up_rivals() if arguments.rivals != [] else None
    output([bench, "export", scratch / "case", "--rows", arguments.rows])
    variants = {}
    for script in sorted(FOLDER.glob("rivals/*/run.py")) if python else []:
        for name in output([python, script]).split("\n"):
            if name and (not arguments.rivals or name in arguments.rivals):
                variants[name] = script
    ours, rivals = [], {name: [] for name in variants}
    for round_number in range(arguments.rounds):
        text = output([bench, "time", "--rows", arguments.rows, "--seconds", arguments.seconds])
        print(text.strip(), flush=True)
        ours.append(values_of(text.strip().split("\n")[-1]))
        for name in list(rivals):
            try:
                done = output([python, variants[name], scratch / "case", arguments.seconds, name], ENVIRONMENT)
            except SystemExit as error:
                print(f"{name}: not measured: {str(error)[-400:]}", flush=True)
                del rivals[name]
                continue
            result = json.loads(done.strip().split("\n")[-1])
            rivals[name].append(result["candidates_per_s"])
            print(f"{name}: {result['candidates_per_s']:.0f} candidates/s, {result['ms']:.0f} ms "
                  f"({result['range_ms'][0]:.0f} … {result['range_ms'][1]:.0f}), max |logit difference| {result['error']:.1e}", flush=True)
        # Compiling takes most of the time: later rounds repeat only the plain rival and the fastest one.
        fastest = max((name for name in rivals if "compile" in name), key=lambda name: rivals[name][0], default=None)
        if round_number == 0:
            rivals = {name: values for name, values in rivals.items() if name == fastest or "compile" not in name}
    compare_curves(bench, arguments)
    middle = {key: statistics.median(one[key] for one in ours) for key in ours[0]}
    rate = middle["candidates_per_s"]
    line = "bench train:"
    if fastest:
        plain = [statistics.median(values) for name, values in rivals.items() if "compile" not in name]
        line += f" vs_best={rate / statistics.median(rivals[fastest]):.2f}"
        line += f" vs_plain={rate / plain[0]:.2f}" if plain else ""
    print(f"{line} of_peak={middle['gflops'] / max(middle['bf16_peak'], middle['fp32_peak']):.2f} candidates_per_s={rate:.0f} "
          f"embedding_share={middle['embedding_share']:.3f}")


if __name__ == "__main__":
    main()
