"""Quality gates from the command line: exit codes, what is named, what stands afterwards."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from binaries import FolderTest, Thread, run


class Gates(FolderTest):
    def thread(self):
        thread = Thread(self.folder)
        thread.run("synth")
        return thread

    def test_a_failed_gate_ends_with_4_and_names_itself(self):
        thread = self.thread()
        stdout, stderr = thread.run("samples", expect=4, gates__max_click_rate="0.0001")
        self.assertIn("quality gate failed: ", stderr)
        self.assertRegex(stderr, r"2026-03-02: click_rate: expected at most 0\.0001, got 0\.\d{4} \(\d+ of \d+ exposed samples\)")
        self.assertIn("--allow-failed-gates publishes them", stderr)
        self.assertIn("FAILED, not published: click_rate", stdout)
        self.assertEqual(list(thread.samples.glob("manifests/dt=*.json")), [])
        self.assertEqual(len(list(thread.samples.glob("reports/failed/dt=*.html"))), 3)
        # The days are not there for the next step of the pipeline.
        _, stderr = thread.run("train", expect=None)
        self.assertFalse((thread.output / "checkpoints").exists(), stderr)

    def test_a_person_may_publish_a_failed_day(self):
        thread = self.thread()
        stdout, _ = thread.run("samples", "--allow-failed-gates", gates__max_click_rate="0.0001")
        self.assertIn("FAILED, published all the same: click_rate", stdout)
        manifest = json.loads((thread.samples / "manifests/dt=2026-03-01.json").read_text())
        self.assertEqual(manifest["body"]["gates"], "failed")
        self.assertEqual(manifest["body"]["report"]["trust"]["gates"][0]["state"], "failed")

    def test_gates_that_hold_change_no_row(self):
        thread = self.thread()
        thread.run("samples", gates__min_click_rate="0.0001", gates__max_orphan_share="0.9")
        manifest = json.loads((thread.samples / "manifests/dt=2026-03-01.json").read_text())
        self.assertEqual(manifest["body"]["gates"], "passed")
        fingerprint = manifest["body"]["fingerprint"]
        thread.run("samples")
        manifest = json.loads((thread.samples / "manifests/dt=2026-03-01.json").read_text())
        self.assertEqual(manifest["body"]["gates"], "none")
        self.assertEqual(manifest["body"]["fingerprint"], fingerprint)

    def test_limits_that_contradict_each_other_are_a_usage_error(self):
        thread = self.thread()
        _, stderr = thread.run("samples", expect=2, gates__min_click_rate="0.5", gates__max_click_rate="0.1")
        self.assertIn("gates.min_click_rate: expected at most gates.max_click_rate (0.1), got 0.5", stderr)


class Page(FolderTest):
    def test_every_day_has_a_page_that_needs_nothing_else(self):
        thread = Thread(self.folder)
        thread.run("synth")
        thread.run("samples", "--measure-flat")
        for day in ("2026-03-01", "2026-03-02", "2026-03-03"):
            page = (thread.samples / f"reports/dt={day}.html").read_text()
            for word in ("<script", "src=", "href=", "url(", "@import"):
                self.assertNotIn(word, page)
            for title in ("Ladder", "Positives by source and domain", "Delay", "Which tier answered", "Where every event went", "Storage"):
                self.assertIn(title, page)
            self.assertIn("the lines add up", page)


if __name__ == "__main__":
    import unittest
    unittest.main()
