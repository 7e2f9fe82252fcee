"""Trains every model on the synthetic marketplace, on exposed samples alone and on all ES3 samples, and prints one table.

usage: run.py [--users N] [--items N] [--days N] [--seeds N] [--models a,b] [--folder FOLDER] [--preset tiny|small|…] [--set key=value …]

Every model reads the same features, tokens and days (examples/synth/run.toml); the evaluation is that of docs/metrics.md: search domain,
exposed candidates, native labels of the last day. Intervals are bootstrapped by user (95 %); with several seeds the columns are means over
the seeds and the interval that of the first.
"""
import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ["dlrm_mlp", "dcnv2", "wukong", "rankmixer", "hiformer", "onetrans", "hhsft"]
METRICS = ["auc", "gauc@impr", "hr@5"]
DATA = {
    "exposed": ['dataset.origins=["exposed"]', 'dataset.domains=["search"]', 'dataset.label_sources=["native"]',
                'model.domains=["search"]'],
    "es3": ["dataset.origins=[]", 'dataset.domains=["search", "feed", "shop"]', "dataset.label_sources=[]",
            'model.domains=["search", "feed", "shop"]'],
}


def uniscale(verb, *flags):
    command = [str(ROOT / "build" / "uniscale"), verb, "--config", str(ROOT / "examples/synth/run.toml"), *flags]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nexit {done.returncode}\n{done.stderr[-3000:]}")
    return done


def overrides(values):
    return [part for value in values for part in ("--set", value)]


def days(first, count):
    import datetime
    start = datetime.date.fromisoformat(first)
    return [(start + datetime.timedelta(days=i)).isoformat() for i in range(count)]


def train_and_evaluate(name, data, seed, common, folder, args):
    output = folder / f"{name}-{data}-{seed}"
    settings = [*common, *DATA[data], f"model.architecture={name}", f"model.preset={args.preset}", f"model.init_seed={seed}",
                f"train.output={output}", "train.repository=", "train.store=", "model.token_dim=0", "model.trunk=[]",
                "model.head=[]", *args.set]
    done = uniscale("train", *overrides(settings), "--resume")
    sizes = next((line for line in done.stderr.splitlines() if "dense parameters" in line), "")
    checkpoint = sorted((output / "checkpoints").glob("step-*"))[-1]
    result = output / "eval.json"
    uniscale("eval", *overrides(settings), "--model", str(checkpoint), "--json", str(result), "--resamples", "200")
    reports = json.loads(result.read_text())
    title = next(title for title in reports if title.startswith("click of") and "minus" not in title)
    return reports[title]["metrics"], sizes


def cell(values):
    mean = sum(value["value"] for value in values) / len(values)
    low, high = values[0].get("low"), values[0].get("high")
    return f"{mean:.4f}" + (f" [{low:.4f}, {high:.4f}]" if low is not None else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--days", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--preset", default="small")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build/compare")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    span = days("2026-03-01", args.days)
    folder = args.folder.resolve()
    common = [f"synth.store={folder}/store", f"synth.num_users={args.users}", f"synth.num_items={args.items}",
              f"synth.days={args.days}", f"es3.store={folder}/store", f"es3.samples={folder}/samples",
              f"es3.from={span[0]}", f"es3.to={span[-1]}", f"dataset.samples={folder}/samples",
              f"dataset.from={span[0]}", f"dataset.to={span[-2]}", f"train.eval_from={span[-1]}"]
    if not (folder / "store").exists():
        uniscale("synth", *overrides(common))
    uniscale("samples", *overrides(common))
    lines = [f"| model | samples | {' | '.join(METRICS)} |", "| --- | --- |" + " --- |" * len(METRICS)]
    for name in args.models.split(","):
        for data in DATA:
            runs = []
            for seed in range(1, args.seeds + 1):
                metrics, sizes = train_and_evaluate(name, data, seed, common, folder, args)
                runs.append(metrics)
            cells = [cell([run[metric] for run in runs]) for metric in METRICS]
            lines.append(f"| {name} | {data} | {' | '.join(cells)} |")
            print(f"{sizes}\n{lines[-1]}", file=sys.stderr, flush=True)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
