"""The example on the Merchandise Store's sessions: skips where the data or duckdb are not here; a short span, recounted by hand."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from binaries import BUILD, ROOT, FolderTest

RUN = ROOT / "examples/ga360/run.sh"
DATA = pathlib.Path(os.environ.get("US_GA360_DATA", ROOT.parent / "shared/data/ga360-merchandise-store"))
PYTHON = os.environ.get("US_PYTHON", sys.executable)


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
        self.assertIn(f"skipped: no sessions.jsonl.zst in {self.folder}", stdout)
        self.assertFalse((self.folder / "out").exists())

    def test_no_duckdb(self):
        (self.folder / "sessions.jsonl.zst").touch()
        stdout = run_example(self.folder / "out", data=self.folder, US_PYTHON="/bin/false")
        self.assertIn("skipped: /bin/false has no duckdb; install it with: /bin/false -m pip install -r", stdout)

    def test_prepare_names_the_missing_file(self):
        done = subprocess.run([sys.executable, str(RUN.parent / "prepare.py"), str(self.folder / "out"), "--data", str(self.folder)],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"expected the log rows in {self.folder / 'impressions.tsv.zst'}, got no such file", done.stderr)


@unittest.skipUnless((DATA / "sessions.jsonl.zst").is_file(), f"the Merchandise Store data are not here: {DATA}")
@unittest.skipUnless(has_duckdb(), f"{PYTHON} has no duckdb: -m pip install -r requirements/examples.txt, or set US_PYTHON")
class OnASpan(FolderTest):
    def test_both_readings_of_search(self):
        import pyarrow.parquet
        stdout = run_example(self.folder, US_GA360_SPANS="2")
        self.assertIn("tier 1 (own): answered 0 of", stdout)
        requests, events = (pyarrow.parquet.read_table(self.folder / "raw" / f"{name}.parquet").to_pylist() for name in ("requests", "events"))
        spans = [line.split() for line in (self.folder / "raw/spans.txt").read_text().splitlines()]
        self.assertEqual(spans[0], ["2016-08-01", "2016-10-04"])
        for domain in ("results", "category"):
            self.check_ladder(domain, requests, events, spans[:2])
        # The lists are as they were logged: every impression once, at its place.
        shown = sum(len(request["candidates"]) for request in requests if request["domain"] != "ads")
        self.assertEqual(shown, 81_187)
        for request in requests:
            positions = [item["position"] for item in request["candidates"]]
            self.assertEqual(positions, sorted(set(positions)), request["request_id"])

    # Search requests, exposed samples and events of the built days are those of the raw files.
    def check_ladder(self, domain, requests, events, spans):
        import datetime
        day_of = lambda ms: datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc).strftime("%Y-%m-%d")
        is_built = lambda row: any(first <= day_of(row["ts_ms"]) <= last for first, last in spans)
        searches = [request for request in requests if request["domain"] == domain and is_built(request)]
        total = json.loads((self.folder / f"{domain}.json").read_text())
        self.assertEqual(total["ladder / exposed / requests"], len(searches))
        self.assertEqual(total["ladder / exposed / samples"], sum(len(request["candidates"]) for request in searches))
        self.assertEqual(total["events / total"], sum(is_built(event) for event in events))
        self.assertEqual(total["events / total"], sum(count for key, count in total.items()
                                                      if key.startswith("events / ") and key.count(" / ") == 2 and key.endswith("/ total")))


if __name__ == "__main__":
    unittest.main()
