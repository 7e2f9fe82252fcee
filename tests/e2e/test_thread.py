"""The whole thread on synthetic logs, and what a kill at a random moment leaves behind."""

import json
import pathlib
import random
import re
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from binaries import FolderTest, Thread, run, run_and_kill, tree_hashes


class WholeThread(FolderTest):
    def test_logs_become_a_model_that_beats_chance(self):
        thread = Thread(self.folder).build_all()
        report, _ = thread.run("samples")
        self.assertIn("+ unexposed", report)
        stdout, _ = thread.run("eval", "--model", thread.models / "main", "--json", self.folder / "eval.json")
        self.assertIn("gauc@impr", stdout)
        results = json.loads((self.folder / "eval.json").read_text())
        click = next(value for key, value in results.items() if key.startswith("click"))
        self.assertGreater(click["metrics"]["auc"]["value"], 0.55)
        # The checkpoint, scored by torch, is the bundle, scored without.
        checkpoint = sorted((thread.output / "checkpoints").glob("step-*"))[-1]
        scores = self.folder / "scores.csv"
        thread.run("eval", "--model", checkpoint, "--json", self.folder / "checkpoint.json", "--write-scores", scores)
        by_torch = json.loads((self.folder / "checkpoint.json").read_text())
        same = next(value for key, value in by_torch.items() if key.startswith("click of dlrm_mlp, step"))
        self.assertEqual(same["rows"], click["rows"])
        self.assertAlmostEqual(same["metrics"]["auc"]["value"], click["metrics"]["auc"]["value"], places=4)
        thread.run("eval", "--scores", scores, "--against", scores, "--json", self.folder / "scores.json")
        again = json.loads((self.folder / "scores.json").read_text())
        for metric in ("auc", "gauc@impr", "hr@5", "logloss"):
            # Groups have other numbers in a file, so their sum runs in another order.
            self.assertAlmostEqual(again[str(scores)]["metrics"][metric]["value"], same["metrics"][metric]["value"], places=12,
                                   msg=metric)
        self.assertEqual(again[f"{scores} minus {scores}"]["metrics"]["auc"]["high"], 0)
        _, stderr = thread.run("eval", "--model", self.folder, expect=2)
        self.assertIn("neither a bundle (manifest.json), a model (CURRENT) nor a checkpoint (state.json)", stderr)
        lines = [json.loads(line) for line in (thread.output / "metrics.jsonl").read_text().splitlines()]
        self.assertLess(lines[-1]["loss"], lines[0]["loss"])

    def test_eval_stands_beside_the_shown_order_the_breakdown_and_the_truth(self):
        thread = Thread(self.folder)
        everything = {"es3__unexposed_ratio": 1000.0, "es3__unexposed_cap": 10000, "dataset__origins": '["exposed"]'}
        for verb in ("synth", "samples", "train"):
            thread.run(verb, **everything)
        path = self.folder / "eval.json"
        stdout, _ = thread.run("eval", "--model", thread.models / "main", "--json", path, "--resamples", "20", "--breakdown",
                               "--truth", thread.store)
        results = json.loads(path.read_text())
        find = lambda *words: next(report for title, report in results.items() if all(word in title for word in words))
        model, shown = find("click of main", "native labels"), find("shown order, click,")
        for key in ("rows", "positives", "users", "requests"):
            self.assertEqual(model[key], shown[key], key)
        difference = find("click of main", "minus shown order")["metrics"]["auc"]["value"]
        self.assertAlmostEqual(difference, model["metrics"]["auc"]["value"] - shown["metrics"]["auc"]["value"], places=12)
        self.assertEqual(find("whole sample set, click", "origin exposed")["rows"] + find("whole sample set, click", "origin unexposed")["rows"],
                         find("whole sample set, click", "domain search")["rows"])
        entire = next(title for title in results if title.startswith("entire space, click"))
        scored, candidates = re.search(r"(\d+) of (\d+) candidates", entire).groups()
        self.assertEqual(scored, candidates)
        self.assertGreater(results[entire]["metrics"]["auc@truth"]["value"], 0.5)
        _, stderr = thread.run("eval", "--model", thread.models / "main", "--truth", self.folder, expect=3)
        self.assertIn("no truth of day 2026-03-03", stderr)

    def test_same_seed_same_bytes_whatever_the_threads(self):
        first, second = Thread(self.folder / "a"), Thread(self.folder / "b")
        for thread, count in ((first, 1), (second, 2)):
            for verb in ("synth", "samples"):
                run(verb, *[f for f in thread.flags() if f not in ("--threads", "2")], "--threads", count)
        self.assertEqual(tree_hashes(first.samples, ignore=("reports", "manifests")), tree_hashes(second.samples, ignore=("reports", "manifests")))
        self.assertEqual(tree_hashes(first.store, ignore=("manifests",)), tree_hashes(second.store, ignore=("manifests",)))

    def test_train_refuses_to_write_over_a_run(self):
        thread = Thread(self.folder).build_all()
        _, stderr = thread.run("train", expect=2)
        self.assertIn("--resume", stderr)

    def test_samples_of_a_day_that_is_not_there(self):
        thread = Thread(self.folder)
        thread.run("synth")
        _, stderr = thread.run("samples", expect=3, es3__to="2026-03-09")
        self.assertIn("2026-03-04", stderr)


class Killed(FolderTest):
    """kill -9 in the middle, then the same command again: old or new, never mixed."""

    KILLS = 4

    def reference(self):
        thread = Thread(self.folder / "reference").build_all()
        return thread

    def test_samples(self):
        thread = self.reference()
        want = tree_hashes(thread.samples, ignore=("reports", "manifests"))
        other = Thread(self.folder / "other")
        other.store = thread.store
        rng = random.Random(7)
        for _ in range(self.KILLS):
            run_and_kill(rng.uniform(0.02, 0.5), "samples", *other.flags())
            for manifest in pathlib.Path(other.samples).glob("manifests/dt=*.json"):
                for file in json.loads(manifest.read_text())["files"]:
                    path = other.samples / file["path"]
                    self.assertEqual(path.stat().st_size, file["bytes"], path)
        other.run("samples")
        other_files = {k: v for k, v in tree_hashes(other.samples, ignore=("reports", "manifests")).items()}
        self.assertEqual(sorted(other_files.values()), sorted(want.values()))

    def test_train_resumes_to_the_same_weights(self):
        thread = self.reference()
        want = sorted((thread.output / "checkpoints").glob("step-*"))[-1]
        other = Thread(self.folder / "other")
        other.store, other.samples = thread.store, thread.samples
        rng = random.Random(11)
        for _ in range(self.KILLS):
            run_and_kill(rng.uniform(0.2, 0.9), "train", *other.flags(), "--resume")
        other.run("train", "--resume")
        got = sorted((other.output / "checkpoints").glob("step-*"))[-1]
        self.assertEqual(got.name, want.name)
        for name in ("weights.safetensors", "optimizer.safetensors"):
            self.assertEqual((got / name).read_bytes(), (want / name).read_bytes(), name)

    def test_export_leaves_current_whole(self):
        thread = self.reference()
        rng = random.Random(13)
        for _ in range(self.KILLS):
            run_and_kill(rng.uniform(0.01, 0.5), "export", *thread.flags())
            current = (thread.models / "main" / "CURRENT").read_text().strip()
            self.assertTrue((thread.models / "main" / current / "manifest.json").exists())
            thread.run("eval", "--model", thread.models / "main", "--resamples", "0")
        thread.run("export")
        leftovers = [p.name for p in (thread.models / "main").iterdir() if p.name.startswith(".aside")]
        self.assertEqual(leftovers, [])
