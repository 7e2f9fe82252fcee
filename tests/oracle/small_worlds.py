#!/usr/bin/env python3
"""Small nasty random worlds: `uniscale samples` against es3.sql, every day, row by row, under random options.

usage: small_worlds.py BUILD_FOLDER [--first SEED] [--count N] [--keep FOLDER] [--set es3.key=value …]

Prints seed and options of each world that differs. Exit codes: 0 all equal · 1 a difference · 77 a wheel is missing (skipped).
"""

import argparse
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

try:
    import es3_oracle as oracle
except ImportError as error:
    print(f"skipped: {error}; install requirements/oracle.txt, or set US_ORACLE_PYTHON when configuring")
    sys.exit(77)

import json
import tomllib

# As synth/small_world.cc declares them.
SCHEMA = """
[schema.context]
device = "string"
[schema.candidate]
bm25 = "double"
[schema.item]
brand = "string"
price = "double"
[schema.user]
age = "int"
segment = "string"

[[sequence]]
name = "clicks"
actions = ["click"]
[[sequence]]
name = "search_buys"
actions = ["cart", "purchase"]
domains = ["search"]
"""

# What a world may draw beside the defaults, which come first and most often.
CHOICES = {
    "clock_skew": ["5s", "0", "2m"],
    "native_window": ["30m", "0", "6h"],
    "click_window": ["24h", "30m", "72h"],
    "cart_window": ["72h", "24h"],
    "purchase_window": ["72h", "6h"],
    "unexposed_ratio": [2.0, 0.0, 0.5, 1.3],
    "unexposed_cap": [100, 2],
    "unexposed_if_empty": [0, 3],
    "hard_share": [0.0, 0.5, 1.0],
    "relevance_gate": ["either", "none", "text", "co_click"],
    "gate_similarity": [0.2, 0.0, 0.5],
    "stats_lookback": ["30d", "1d", "2d"],
    "attribute_undrawn": [True, False],
    "reuse_attributed": [False, True],
    "half_life": ["0", "6h"],
    "confidence": [{}, {"feed/click": 0.5, "shop/cart": 2.0, "search/purchase": 0.25}],
    "negative_similarity": [0.3, 0.0, 0.6],
    "negatives_per_positive": [0, 1, 3],
    "own_lookback": ["30d", "12h"],
    "co_min_users": [2, 1, 3],
    "ann_min_count": [2, 1],
    "ann_floor": [0.35, 0.1, 0.7],
    "tier_weights": [[1.0, 0.8, 0.5], [0.9, 0.6, 0.3]],
    "history_length": [50, 0, 3],
    "history_lookback": ["90d", "1d"],
    "history_gap": ["0", "1h"],
    "query_history_length": [10, 0, 2],
}


def drawn_options(seed):
    """Mostly defaults; each key left out or drawn, by seed."""
    dice = random.Random(seed)
    options = {}
    for key, values in CHOICES.items():
        if dice.random() < 0.35:
            options[key] = dice.choice(values)
    # uniscale refuses a native window that is longer than an action's.
    shortest = min(oracle.duration_ms(options.get(f"{task}_window", "24h")) for task in oracle.TASKS)
    if oracle.duration_ms(options.get("native_window", "30m")) > shortest:
        options["native_window"] = "10m"
    return options


def toml_value(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {one}" for key, one in value.items()) + " }"
    return json.dumps(value)


def write_config(path, options, schema):
    head = f"[schema]\nnum_buckets = {schema['num_buckets']}\nhash_seed = {schema['hash_seed']}\n{SCHEMA}"
    path.write_text(head + "\n[es3]\n" + "".join(f"{key} = {toml_value(value)}\n" for key, value in options.items()))


def check_world(build, folder, seed, fixed):
    """Lines of difference, over all days of the world of `seed`."""
    store = oracle.Store(folder / "store")
    config, options = folder / "run.toml", drawn_options(seed) | fixed
    write_config(config, options, store.schema)
    done = subprocess.run(
        [build / "uniscale", "samples", "--config", config, "--store", folder / "store", "--samples", folder / "samples",
         "--from", store.days[0], "--to", store.days[-1], "--threads", "1"], capture_output=True, text=True)
    if done.returncode != 0:
        return [f"uniscale samples: exit {done.returncode}: {done.stderr.strip()}"], 0
    rules = oracle.Rules(tomllib.loads(config.read_text()))
    db = oracle.build(store, rules)
    lines, num_rows = [], 0
    for day in store.days:
        expected = oracle.expected_rows(db, store, rules, day)
        num_rows += len(expected)
        lines += [f"{day}: {line}" for line in oracle.compare(expected, oracle.published_rows(folder / "samples", day))]
    return lines, num_rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--keep", type=pathlib.Path, help="leave the worlds here")
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    fixed = {}
    for assignment in arguments.set:
        key, value = assignment.removeprefix("es3.").split("=", 1)
        fixed[key] = tomllib.loads(f"x = {value}")["x"]
    memory = pathlib.Path("/dev/shm")
    scratch = arguments.keep or pathlib.Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None, prefix="uniscale-oracle-"))
    num_different = num_rows = 0
    try:
        for seed in range(arguments.first, arguments.first + arguments.count):
            subprocess.run([arguments.build / "small_worlds", scratch, str(seed), "1"], check=True)
            lines, rows = check_world(arguments.build, scratch / str(seed), seed, fixed)
            num_rows += rows
            if lines:
                num_different += 1
                print(f"seed {seed}: {len(lines)} differences under {drawn_options(seed) | fixed}")
                for line in lines[:8]:
                    print(f"  {line}")
            if arguments.keep is None:
                shutil.rmtree(scratch / str(seed))
    finally:
        if arguments.keep is None:
            shutil.rmtree(scratch, ignore_errors=True)
    print(f"{arguments.count} worlds, {num_rows} requests: {num_different} worlds differ")
    return 1 if num_different else 0


if __name__ == "__main__":
    sys.exit(main())
