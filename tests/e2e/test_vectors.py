"""Item embeddings as a feature: from raw files through samples and training to the server's tables."""

import json
import pathlib
import random
import sys
import unittest

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from binaries import UNISCALE, FolderTest, Server, run
from test_readme import Runner

DIM = 4


class Vectors(FolderTest):
    def test_embeddings_reach_samples_the_model_and_the_server(self):
        runner = Runner(self.folder)
        runner.set_up()
        rng = random.Random(5)
        path = next((self.folder / "raw/items").glob("*.parquet"))
        items = pq.ParquetFile(path).read()
        vectors = [None if rng.random() < 0.1 else [rng.uniform(-1, 1) for _ in range(DIM)] for _ in range(items.num_rows)]
        pq.write_table(items.append_column("embedding", pa.array(vectors, pa.list_(pa.float32()))), path)
        config = self.folder / "run.toml"
        text = config.read_text().replace("[es3]\n", "[es3]\nitem_embeddings = true\n")
        text += f'\n[[feature]]\nname = "content_vector"\nkind = "vector"\nsource = "item.embedding"\ndim = {DIM}\n'
        text = text.replace('features = ["title_words",', 'features = ["content_vector", "title_words",')
        config.write_text(text)
        for verb in ("ingest", "samples", "train"):
            runner.execute([str(UNISCALE), verb, "--config", "run.toml"])
        self.check_samples(items, vectors)
        _, stderr = run("train", "--config", config, "--set", f"feature[{text.count('[[feature]]') - 1}].dim=5", "--set",
                        "train.output=other", expect=2, cwd=self.folder)
        self.assertIn('feature "content_vector": expected vectors of dim = 5 values, got 4', stderr)
        self.check_server()

    def check_samples(self, items, vectors):
        known = {}
        for item_id, ts_ms, vector in zip(items["item_id"].to_pylist(), items["ts_ms"].to_pylist(), vectors):
            known.setdefault(item_id, []).append((ts_ms, vector))
        count = 0
        for path in (self.folder / "samples").rglob("*.parquet"):
            if "samples/dt=" not in str(path):
                continue
            for row in pq.ParquetFile(path).read(columns=["ts_ms", "items"]).to_pylist()[:20]:
                for item in row["items"]:
                    versions = [version for version in sorted(known[item["item_id"]], key=lambda v: v[0]) if version[0] <= row["ts_ms"]]
                    expected = versions[-1][1] if versions else None
                    got = item["item"]["embedding"]
                    self.assertEqual(got is None, expected is None)
                    if expected is not None:
                        self.assertEqual(got, [pa.scalar(value, pa.float32()).as_py() for value in expected])
                        count += 1
        self.assertGreater(count, 100)

    def check_server(self):
        server = Server(self.folder / "models", self.folder)  # replays the golden requests before it is ready
        try:
            status, reply = server.rank({"request_id": "r", "query": {"text": "coat"}, "context": {"domain": "search", "ts_ms": 1772500000000},
                                         "items": {"ids": ["i1", "i2", "never-seen"]}, "return": ["scores"]})
            self.assertEqual(status, 200, reply)
            self.assertEqual(len(reply["scores"]), 3)
            self.assertEqual(len(set(map(float, reply["scores"]))), 3, json.dumps(reply))
        finally:
            self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
