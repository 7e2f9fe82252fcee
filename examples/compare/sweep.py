"""Which rates and which batch: a grid over the world of run.py, judged on the day before its evaluation day, which stays unseen.

usage: sweep.py [--models a,b] [--batches …] [--dense …] [--sparse …] [--seeds N] [--jobs N] [--folder FOLDER] [--markdown FILE]

Trains on search samples (exposed, native labels) of all days but the last two.
"""
import argparse
import concurrent.futures
import itertools
import json
import pathlib
import sys
import tomllib

from run import FIRST_DAY, HERE, ROOT, build_world, datetime, uniscale


def one(model, batch, dense, sparse, seed, train, rows, args):
    output = args.folder / "sweep" / f"{model}-{batch}-{dense:g}-{sparse:g}-{seed}"
    report = output / "eval.json"
    if not report.exists():
        day = lambda i: (FIRST_DAY + datetime.timedelta(days=i)).isoformat()
        settings = [*train, *rows["data"]["search"]["set"], *rows["model"][model]["set"], f"train.output={output}",
                    f"dataset.to={day(args.days - 3)}", f"train.eval_from={day(args.days - 2)}", f"model.init_seed={seed}",
                    f"dataset.batch_candidates={batch}", f"train.learning_rate={dense}", f"train.sparse_learning_rate={sparse}"]
        uniscale("train", settings, "--resume", "--threads", 1)
        checkpoint = sorted((output / "checkpoints").glob("step-*"))[-1]
        uniscale("eval", settings, "--threads", 1, "--model", checkpoint, "--json", report, "--resamples", 0)
    reports = json.loads(report.read_text())
    metrics = next(reports[t] for t in reports if t.startswith("click of") and "minus" not in t)["metrics"]
    return metrics["auc"]["value"], metrics["logloss"]["value"]


def main():
    floats = lambda text: [float(value) for value in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="dlrm_mlp,hhsft")
    parser.add_argument("--batches", default="256,1024")
    parser.add_argument("--dense", type=floats, default=[3e-4, 1e-3, 3e-3])
    parser.add_argument("--sparse", type=floats, default=[0.02, 0.05, 0.15])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build/compare")
    parser.add_argument("--markdown", type=pathlib.Path)
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    args.folder.mkdir(parents=True, exist_ok=True)
    rows = tomllib.loads((HERE / "rows.toml").read_text())
    train, _ = build_world(args.folder, args)
    batches = [int(value) for value in args.batches.split(",")]
    lines = []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for model in args.models.split(","):
            grid = list(itertools.product(batches, args.dense, args.sparse))
            cells = {point: [pool.submit(one, model, *point, seed, train, rows, args) for seed in range(1, args.seeds + 1)] for point in grid}
            lines += ["", f"| {model}: batch | dense rate | {' | '.join(f'sparse {value:g}' for value in args.sparse)} |",
                      "| --- " * (len(args.sparse) + 2) + "|"]
            for batch, dense in itertools.product(batches, args.dense):
                line = f"| {batch} | {dense:g} |"
                for sparse in args.sparse:
                    values = [future.result() for future in cells[batch, dense, sparse]]
                    auc, loss = (sum(value[i] for value in values) / len(values) for i in (0, 1))
                    line += f" {auc:.4f} / {loss:.4f} |"
                lines.append(line)
                print(model, line, file=sys.stderr, flush=True)
    text = "auc / logloss\n" + "\n".join(lines) + "\n"
    if args.markdown:
        args.markdown.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
