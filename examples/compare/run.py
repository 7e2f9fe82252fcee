"""Trains every model on the synthetic marketplace, on search samples alone and on all ES3 samples, and writes one Markdown table.

usage: run.py [--seeds N] [--jobs N] [--users N] [--days N] [--folder FOLDER] [--markdown FILE] [--only a,b] [--report] [--set key=value …]

World, features and schedule: world.toml; models and ablation: rows.toml. Every model reads the same days once, in time order, with the same
rates. Evaluated on the last day: search domain, exposed candidates, native clicks (docs/metrics.md); and over the entire space, every
candidate that the day's searches retrieved, against the world's true click probabilities (auc@truth). A seed is that of the initial weights; the world stays. What is done already in FOLDER
is kept: the same command goes on.
"""
import argparse
import concurrent.futures
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BINARY = pathlib.Path(os.environ.get("UNISCALE", ROOT / "build" / "uniscale"))
METRICS = ["auc", "gauc@impr", "hr@5"]
FIRST_DAY = datetime.date(2026, 3, 1)


def uniscale(verb, settings, *flags):
    """Runs a verb; returns stderr and CPU seconds."""
    command = [str(BINARY), verb, "--config", str(HERE / "world.toml"), *map(str, flags)]
    for value in settings:
        command += ["--set", value]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\nexit {process.returncode}\n{errors[-3000:]}")
    return errors, usage.ru_utime + usage.ru_stime


def once(marker, work):
    """Runs `work` unless its marker is there."""
    if not marker.exists():
        work()
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text("done\n")


def build_world(folder, args):
    day = lambda i: (FIRST_DAY + datetime.timedelta(days=i)).isoformat()
    last = day(args.days - 1)
    world = [f"synth.store={folder}/store", f"synth.num_users={args.users}", f"synth.days={args.days}", f"es3.store={folder}/store",
             f"es3.to={last}", f"dataset.to={day(args.days - 2)}", f"train.eval_from={last}", *args.set]
    train = [*world, f"es3.samples={folder}/samples", f"dataset.samples={folder}/samples"]
    # Every candidate of the last day's searches.
    entire = [*world, f"es3.samples={folder}/entire", f"dataset.samples={folder}/entire", f"es3.from={last}",
              "es3.unexposed_ratio=1000", "es3.unexposed_cap=100000", "es3.searchify=false"]
    once(folder / "store.done", lambda: uniscale("synth", world))
    once(folder / "samples.done", lambda: uniscale("samples", train))
    once(folder / "entire.done", lambda: uniscale("samples", entire))
    return train, entire


class Run:
    """One model on one data set with one seed."""

    def __init__(self, name, settings, data, data_settings, seed, folder):
        self.name, self.data, self.seed = name, data, seed
        self.settings = [*data_settings, *settings, f"model.init_seed={seed}"]
        self.folder = folder / "runs" / f"{re.sub('[^a-z0-9_]+', '_', name.lower()).strip('_')}-{data}-{seed}"

    def done(self, train, entire, folder):
        result = self.folder / "result.json"
        if not result.exists():
            settings = [*train, *self.settings, f"train.output={self.folder}"]
            log, cpu_s = uniscale("train", settings, "--resume", "--threads", 1)
            sizes = re.search(r"(\d+) dense parameters, (\d+) sparse; (\S+) MFLOP a candidate forward \((\S+) with", log)
            checkpoint = sorted((self.folder / "checkpoints").glob("step-*"))[-1]
            report = self.folder / "eval.json"
            uniscale("eval", [*entire, *self.settings], "--threads", 1, "--model", checkpoint, "--json", report, "--resamples", 200,
                     "--truth", folder / "store", "--write-scores", self.folder / "scores.csv")
            reports = json.loads(report.read_text())
            title = lambda start: next(t for t in reports if t.startswith(start) and "minus" not in t)
            metrics = reports[title("click of")]["metrics"]
            shown = reports[title("shown order")]["metrics"]
            whole = reports[title("entire space, click")]
            result.write_text(json.dumps({
                "metrics": {**{m: metrics[m] for m in METRICS}, "auc@truth": whole["metrics"]["auc@truth"]},
                "shown": {m: shown[m] for m in METRICS}, "rows": reports[title("click of")]["rows"], "entire_rows": whole["rows"],
                "parameters": int(sizes[1]), "flops": float(sizes[4]), "cpu_s": cpu_s,
                "domains": last_domains(self.folder / "metrics.jsonl")}))
        return json.loads(result.read_text())


def last_domains(path):
    return json.loads(path.read_text().splitlines()[-1]).get("domains", {})


def difference(run, base, folder):
    """Paired difference of auc on the evaluation set."""
    path = folder / "differences" / f"{run.folder.name}-minus-{base.folder.name}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        uniscale("eval", [], "--scores", run.folder / "scores.csv", "--against", base.folder / "scores.csv", "--json", path, "--resamples",
                 200, "--threads", 1)
    reports = json.loads(path.read_text())
    return next(reports[t] for t in reports if " minus " in t)["metrics"]["auc"]


def cell(values, sign=""):
    """Mean over the seeds, mean bootstrap interval, and half the range over the seeds."""
    mean = lambda key: sum(v[key] for v in values) / len(values)
    text = f"{mean('value'):{sign}.4f}"
    if all(v.get("low") is not None for v in values):
        text += f" [{mean('low'):{sign}.4f}, {mean('high'):{sign}.4f}]"
    if len(values) > 1:
        text += f" ±{(max(v['value'] for v in values) - min(v['value'] for v in values)) / 2:.4f}"
    return text


def table(title, runs, results, base, folder):
    """A row for each (model, data) in the order of the runs."""
    names = [*METRICS, "auc@truth"]
    lines = [f"| model | samples | {' | '.join(names)} | auc minus {base[0]} on {base[1]} | seeds | parameters | MFLOP | train CPU s |",
             "| --- " * (len(names) + 7) + "|"]
    keys = list(dict.fromkeys((run.name, run.data) for run in runs))
    for name, data in keys:
        mine = [run for run in runs if (run.name, run.data) == (name, data) and run in results]
        if not mine:
            continue
        cells = [cell([results[run]["metrics"][m] for run in mine]) for m in names]
        against = [other for run in mine for other in results if (other.name, other.data, other.seed) == (*base, run.seed)]
        if (name, data) == base or len(against) != len(mine):
            delta = "0" if (name, data) == base else "-"
        else:
            delta = cell([difference(run, other, folder) for run, other in zip(mine, against)], "+")
        one = results[mine[0]]
        cpu_s = sum(results[run]["cpu_s"] for run in mine) / len(mine)
        lines.append(f"| {name} | {data} | {' | '.join(cells)} | {delta} | {len(mine)} | {one['parameters']:,} | {one['flops']:.3g} | {cpu_s:.0f} |")
    return f"### {title}\n\n" + "\n".join(lines) + "\n"


def starvation(runs, results):
    lines = ["| model | domain | share of candidates | gradient norm | drift of its own weights |", "| --- " * 5 + "|"]
    for run in runs:
        if run.seed == 1 and run.data == "es3" and run in results:
            for domain, one in results[run]["domains"].items():
                # Without a parameter of its own a domain has neither.
                norm, drift = (f"{one[key]:.3g}" if one.get(key) is not None else "-" for key in ("gradient_norm", "drift"))
                lines.append(f"| {run.name} | {domain} | {one['share']:.3f} | {norm} | {drift} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, each on one core")
    parser.add_argument("--users", type=int, default=1500)
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build/compare")
    parser.add_argument("--markdown", type=pathlib.Path)
    parser.add_argument("--report", action="store_true", help="only write the table of the runs that are done")
    parser.add_argument("--only", default="", help="models, by name in rows.toml; default all")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    rows = tomllib.loads((HERE / "rows.toml").read_text())
    chosen = lambda names: [name for name in names if not args.only or name in args.only.split(",")]
    models, ablation = chosen(rows["model"]), chosen(rows["ablation"])
    kinds = {**rows["model"], **rows["ablation"]}
    train, entire = (None, None) if args.report else build_world(folder, args)
    runs = [Run(name, kinds[name]["set"], data, rows["data"][data]["set"], seed, folder)
            for seed in range(1, args.seeds + 1) for name in [*models, *ablation] for data in rows["data"]]
    if args.report:
        runs = [run for run in runs if (run.folder / "result.json").exists()]
    results = {}
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        waiting = {pool.submit(run.done, train, entire, folder): run for run in runs}
        for done in concurrent.futures.as_completed(waiting):
            run = waiting[done]
            results[run] = done.result()
            print(f"{run.name} on {run.data}, seed {run.seed}: auc {results[run]['metrics']['auc']['value']:.4f}, "
                  f"{results[run]['cpu_s']:.0f} CPU s", file=sys.stderr, flush=True)
    of = lambda names: [run for run in runs if run.name in names]
    one = next(iter(results.values()))
    shown = ", ".join(f"{m} {one['shown'][m]['value']:.4f}" for m in METRICS)
    text = (f"{one['rows']:,} exposed candidates, {one['entire_rows']:,} in the entire space. Shown order: {shown}.\n\n"
            + table("Models", of(models), results, ("dlrm_mlp", "search"), folder) + "\n"
            + table("Ablation of HHSFT", of([*ablation, "hhsft"]), results, ("HHFI", "search"), folder)
            + "\n### Domains at the end of a run on ES3 samples\n\n" + starvation(of([*ablation, "hhsft"]), results))
    if args.markdown:
        args.markdown.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
