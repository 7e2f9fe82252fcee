"""The example on real logs: skips where the data or duckdb are not here; what it prepares, recounted by hand."""

import collections
import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from binaries import BUILD, ROOT, FolderTest

RUN = ROOT / "examples/trivago/run.sh"
DATA = pathlib.Path(os.environ.get("US_TRIVAGO_DATA", ROOT.parent / "shared/data/trivago-recsys2019-100k"))
FILE = DATA / "trivago_val_100k.parquet"
PYTHON = os.environ.get("US_PYTHON", sys.executable)
DAY_MS = 86_400_000
SECOND_DAY_MS = 17_843 * DAY_MS  # 2018-11-08


def run_example(output, data=DATA, **environment):
    done = subprocess.run([str(RUN), str(BUILD), str(output), str(data)], capture_output=True, text=True, timeout=600,
                          env={**os.environ, "US_PYTHON": PYTHON, **environment})
    if done.returncode != 0:
        raise AssertionError(f"run.sh: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def has_duckdb():
    return subprocess.run([PYTHON, "-c", "import duckdb"], capture_output=True).returncode == 0


class Skips(FolderTest):
    def test_no_data(self):
        stdout = run_example(self.folder / "out", data=self.folder)
        self.assertIn(f"skipped: no trivago_val_100k.parquet in {self.folder}", stdout)
        self.assertFalse((self.folder / "out").exists())

    def test_no_duckdb(self):
        (self.folder / FILE.name).touch()
        stdout = run_example(self.folder / "out", data=self.folder, US_PYTHON="/bin/false")
        self.assertIn("skipped: /bin/false has no duckdb; install it with: /bin/false -m pip install -r", stdout)
        self.assertFalse((self.folder / "out").exists())

    def test_no_binary_is_an_error(self):
        (self.folder / FILE.name).touch()
        done = subprocess.run([str(RUN), str(self.folder), str(self.folder / "out"), str(self.folder)], capture_output=True,
                              text=True, env={**os.environ, "US_PYTHON": "/bin/true"})
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"run.sh: no {self.folder}/uniscale; build it first", done.stderr)

    def test_prepare_names_the_missing_file(self):
        done = subprocess.run([sys.executable, str(RUN.parent / "prepare.py"), str(self.folder / "out"), "--data", str(self.folder)],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"expected the log rows in {self.folder / FILE.name}, got no such file", done.stderr)


@unittest.skipUnless(FILE.is_file(), f"the trivago data are not here: {FILE}")
@unittest.skipUnless(has_duckdb(), f"{PYTHON} has no duckdb: -m pip install -r requirements/examples.txt, or set US_PYTHON")
class OnOneOfTenUsers(FolderTest):
    def test_thread(self):
        stdout = run_example(self.folder, US_TRIVAGO_EVERY="10")
        self.assertIn("source requests: 1 files", stdout)
        import pyarrow.parquet
        requests, events = (pyarrow.parquet.read_table(self.folder / "raw" / f"{name}.parquet").to_pylist()
                            for name in ("requests", "events"))
        log = pyarrow.parquet.read_table(FILE).to_pylist()
        self.check_lists(requests, events, log)
        self.check_counts(requests, events)
        self.check_results(requests, events)

    # Each clickout of the kept users is a list as it was logged, stamped no later than its click.
    def check_lists(self, requests, events, log):
        users = {request["user_id"] for request in requests}
        expected = collections.Counter((row["user_id"], row["impressions"], row["prices"], row["city"])
                                       for row in log if row["action_type"] == "clickout item" and row["user_id"] in users)
        listed = collections.Counter()
        for request in requests:
            shown = request["candidates"]
            self.assertEqual([item["position"] for item in shown], list(range(1, len(shown) + 1)))
            listed[request["user_id"], "|".join(item["item_id"] for item in shown),
                   "|".join(str(int(item["price"])) for item in shown), request["city"]] += 1
        self.assertEqual(listed, expected)
        clicked_ms = {event["request_id"]: event["ts_ms"] for event in events if event["action"] == "click"}
        self.assertEqual(set(clicked_ms), {request["request_id"] for request in requests})
        for request in requests:
            self.assertLessEqual(request["ts_ms"], clicked_ms[request["request_id"]])
        self.assertEqual({event["domain"] for event in events if event["action"] != "click"}, {"item_page", "item_search"})

    # No feature counts its own click, or anything else at or after the moment the list was shown.
    def check_counts(self, requests, events):
        by_item = collections.defaultdict(list)
        for event in events:
            by_item[event["item_id"]].append(event)
        num_positive = 0
        for request in requests:
            prices = [item["price"] for item in request["candidates"]]
            for item in request["candidates"]:
                before = [event for event in by_item[item["item_id"]] if event["ts_ms"] < request["ts_ms"]]
                own = [event for event in before if event["user_id"] == request["user_id"]]
                count = lambda rows, domain: sum(event["domain"] == domain for event in rows)
                expected = (count(before, "search"), count(before, "item_page"), count(own, "search"),
                            count(own, "item_page"), count(own, "item_search"), 1 + sum(price < item["price"] for price in prices))
                self.assertEqual(expected, (
                    item["clicks_before"], item["views_before"], item["own_clicks_before"], item["own_views_before"],
                    item["own_searches_before"], item["price_rank"]))
                num_positive += sum(expected[:5]) > 0
        self.assertGreater(num_positive, 100)

    # The model and the baselines are measured on the same rows; the shown order is what a count by hand gives.
    def check_results(self, requests, events):
        reports = {}
        for name in ("model", "shown_order", "cheapest", "popularity"):
            reports[name] = next(iter(json.loads((self.folder / f"{name}.json").read_text()).values()))
        for key in ("rows", "positives", "users", "requests"):
            self.assertEqual(len({report[key] for report in reports.values()}), 1, key)
        evaluated = [request for request in requests if request["ts_ms"] >= SECOND_DAY_MS]
        self.assertEqual(reports["model"]["requests"], len(evaluated))
        clicked = {event["request_id"]: event["item_id"] for event in events if event["action"] == "click"}
        listed = [request for request in evaluated
                  if clicked[request["request_id"]] in {item["item_id"] for item in request["candidates"]}]
        first = sum(request["candidates"][0]["item_id"] == clicked[request["request_id"]] for request in listed)
        self.assertAlmostEqual(reports["shown_order"]["metrics"]["hr@1"]["value"], first / len(listed), places=12)
        self.assertGreater(reports["model"]["metrics"]["gauc@impr"]["value"], 0.5)


if __name__ == "__main__":
    unittest.main()
