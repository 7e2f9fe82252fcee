"""examples/ubi: the documents that docs/examples/ubi.md shows do what it says."""

import json
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from binaries import ROOT, FolderTest, run

EXAMPLE = ROOT / "examples/ubi"


class UbiExample(FolderTest):
    def test_full_lists_and_other_domains(self):
        shutil.copytree(EXAMPLE / "logs", self.folder / "logs")
        stdout, _ = run("ingest", "--config", EXAMPLE / "run.toml", cwd=self.folder)
        self.assertNotIn("quarantine", stdout)
        self.assertNotIn("ubi_", stdout)
        run("samples", "--config", EXAMPLE / "run.toml", cwd=self.folder)
        first, second = (json.loads((self.folder / f"samples/reports/dt=2026-03-0{day}.json").read_text()) for day in (1, 2))
        self.assertEqual([rung["samples"] for rung in first["ladder"]], [10, 20, 20, 20])
        self.assertEqual([rung["samples"] for rung in second["ladder"]], [3, 6, 6, 12])
        positives = {(line["task"], line["source"], line["domain"]): line["count"]
                     for report in (first, second) for line in report["positives"]}
        self.assertEqual(positives, {
            ("click", "native", "search"): 3,
            ("cart", "hla_clicked", "cart"): 1,
            ("click", "hla_unexposed", "feed"): 1,
            ("click", "cross", "feed"): 3,
        })
        tiers = second["queries"]["tiers"]
        self.assertEqual({tier: line["used"] for tier, line in tiers.items()}, {"own": 1, "co": 1, "ann": 1})
        for report in (first, second):
            self.assertEqual(sum(line["total"] for line in report["events"].values() if isinstance(line, dict)), report["events"]["total"])

    def test_the_documents_hold_standard_fields_only(self):
        query = {"application", "query_id", "client_id", "timestamp", "user_query", "query_attributes", "query_response_hit_ids"}
        event = {"application", "action_name", "client_id", "timestamp", "query_id", "event_attributes"}
        for path in sorted((EXAMPLE / "logs").glob("*_*.ndjson")):
            allowed = query if path.stem.endswith("queries") else event
            for line in path.read_text().splitlines():
                self.assertLessEqual(set(json.loads(line)), allowed, path)


if __name__ == "__main__":
    import unittest
    unittest.main()
