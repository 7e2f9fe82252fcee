"""What the server logs, `uniscale ingest` reads back."""

import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from binaries import FolderTest, Server, publish_planted, run

CONFIG = """
[schema]
search_domain = "search"
num_buckets = 1
[schema.context]
device = "string"
[schema.candidate]
price = "double"
[ingest]
store = "{folder}/store"
max_reject_share = 0.0
[[source]]
name = "ranked"
table = "requests"
format = "ndjson"
path = "{folder}/log"
"""


class RoundTrip(FolderTest):
    def test_ingest_reads_the_rank_log_back(self):
        import pyarrow.parquet
        publish_planted(self.folder / "models")
        server = Server(self.folder / "models", self.folder, "--log-requests", str(self.folder / "log"))
        sent = {}
        try:
            for n in range(20):
                ids = [f"i{(n + k) % 12}" for k in range(n % 5 + 1)]
                request = {"request_id": f"r{n}", "user": {"id": f"u{n % 3}"}, "query": {"text": f'hat "{n}" \u00e9'}, "top_k": 2,
                           "context": {"ts_ms": 1772500000000 + n, "device": "ios"},
                           "items": {"ids": ids, "features": {"price": [0.5 * k if k % 2 else None for k in range(len(ids))]}}}
                status, reply = server.rank(request)
                self.assertEqual(status, 200, reply)
                sent[f"r{n}"] = (request, reply)
        finally:
            self.assertEqual(server.stop(), 0)
        (self.folder / "run.toml").write_text(CONFIG.format(folder=self.folder))
        run("ingest", "--config", self.folder / "run.toml")
        files = sorted((self.folder / "store/requests").rglob("*.parquet"))
        rows = [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]
        self.assertEqual(len(rows), len(sent))
        for row in rows:
            request, reply = sent[row["request_id"]]
            self.assertEqual((row["domain"], row["user_id"], row["query"], row["ts_ms"]),
                             ("search", request["user"]["id"], request["query"]["text"], request["context"]["ts_ms"]))
            self.assertEqual(row["context"], {"device": "ios"})
            positions = {place: rank + 1 for rank, place in enumerate(reply["order"])}
            self.assertEqual(len(positions), min(2, len(request["items"]["ids"])))
            want = {item: (positions.get(place), price) for place, (item, price) in
                    enumerate(zip(request["items"]["ids"], request["items"]["features"]["price"]))}
            self.assertEqual({one["item_id"]: (one["position"], one["price"]) for one in row["candidates"]}, want)
            self.assertTrue(all(one["score"] is None for one in row["candidates"]))

    def test_a_killed_server_loses_a_second_at_most(self):
        import time
        publish_planted(self.folder / "models")
        server = Server(self.folder / "models", self.folder, "--log-requests", str(self.folder / "log"))
        self.assertEqual(server.rank({"request_id": "early", "items": {"ids": ["i1"]}})[0], 200)
        time.sleep(1.6)
        server.process.kill()
        server.process.wait()
        server.log.close()
        self.assertEqual([file.name[:6] for file in (self.folder / "log").iterdir()], [".part-"])
        Server(self.folder / "models", self.folder, "--log-requests", str(self.folder / "log")).stop()
        (self.folder / "run.toml").write_text(CONFIG.format(folder=self.folder))
        report = json.loads(run("ingest", "--config", self.folder / "run.toml", "--json")[0])
        self.assertIn("1", json.dumps(report))
        self.assertTrue(list((self.folder / "store/requests").rglob("*.parquet")))


if __name__ == "__main__":
    unittest.main()
