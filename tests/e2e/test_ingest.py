"""Awkward Parquet (es3.md §9): each type is accepted by rule, repaired and counted, or quarantined with file, row and
column. Text files: src/ingest/awkward_text_test.cc. The table of rules: docs/ingest.md."""

import datetime
import decimal
import json
import pathlib
import sys
import unittest

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from binaries import FolderTest, run

NINE = 1772355600000  # 2026-03-01T09:00:00Z
UTC = datetime.timezone.utc


class IngestTest(FolderTest):
    """Raw files in a folder of their own, one source each."""

    def setUp(self):
        super().setUp()
        self.schema = ""

    def write(self, name, columns, **options):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        pq.write_table(table, path, **options)
        return path

    def ingest(self, expect=0, store="store", **tables):
        lines = [f'[ingest]\nstore = "{self.folder / store}"\n', self.schema]
        for table, path in tables.items():
            lines.append(f'[[source]]\nname = "{table}"\ntable = "{table}"\npath = "{path}"\n')
        config = self.folder / "run.toml"
        config.write_text("\n".join(lines))
        stdout, stderr = run("ingest", "--config", config, "--json", "--threads", "1", expect=expect)
        return json.loads(stdout) if expect == 0 else stderr

    def rows(self, table, store="store"):
        out = []
        for path in sorted((self.folder / store / table).rglob("*.parquet")):
            out += pq.ParquetFile(path).read().to_pylist()
        return out

    def rejects(self, source, store="store"):
        path = self.folder / store / "quarantine" / f"{source}.ndjson"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def events(self, count=1, **columns):
        out = {"event_id": [f"e{i}" for i in range(count)], "domain": ["search"] * count, "action": ["click"] * count,
               "item_id": ["a"] * count, "ts_ms": [NINE] * count}
        out.update(columns)
        return {name: column for name, column in out.items() if column is not None}


class Times(IngestTest):
    def check(self, times, naive, expected=NINE, **options):
        path = self.write("e.parquet", self.events(ts_ms=times), **options)
        report = self.ingest(events=path)
        self.assertEqual(report["rejected"], {}, times.type)
        self.assertEqual([row["ts_ms"] for row in self.rows("events")], [expected], times.type)
        self.assertEqual(report["repaired"], {"time_without_zone_as_utc": 1} if naive else {}, times.type)

    def test_timestamps_of_any_unit_and_zone(self):
        for unit, factor in (("ms", 1), ("us", 10**3), ("ns", 10**6)):
            for zone in (None, "UTC", "Europe/Berlin", "-08:00"):
                self.check(pa.array([NINE * factor], pa.timestamp(unit, zone)), naive=zone is None)

    def test_int96(self):
        self.check(pa.array([NINE * 10**6], pa.timestamp("ns")), naive=True, use_deprecated_int96_timestamps=True)

    def test_year_9999(self):
        last = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
        ms = (last - datetime.datetime(1970, 1, 1, tzinfo=UTC)) // datetime.timedelta(milliseconds=1)
        self.check(pa.array([ms], pa.timestamp("ms", "UTC")), naive=False, expected=ms)
        # Nanoseconds of 64 bits end in 2262: INT96 does not, and must not wrap around.
        self.check(pa.array([ms * 1000], pa.timestamp("us")), naive=True, expected=ms, use_deprecated_int96_timestamps=True)

    def test_a_date_is_its_first_moment(self):
        self.check(pa.array([datetime.date(2026, 3, 1)], pa.date32()), naive=True, expected=NINE - 9 * 3600 * 1000)

    def test_before_1970_and_null_are_quarantined_with_their_row(self):
        times = pa.array([NINE, -1, None], pa.timestamp("ms", "UTC"))
        path = self.write("e.parquet", self.events(3, ts_ms=times))
        self.ingest(events=path)
        self.assertEqual([(r["file"], r["row"], r["column"], r["reason"]) for r in self.rejects("events")],
                         [(str(path), 2, "ts_ms", "time"), (str(path), 3, "ts_ms", "missing")])


class Ids(IngestTest):
    def ids(self, array):
        path = self.write("i.parquet", {"item_id": array})
        report = self.ingest(items=path)
        ids = {row["item_id"] for row in self.rows("items")}
        (self.folder / "store/manifests/items.json").unlink(missing_ok=True)  # the next run starts anew
        return ids, report

    def test_integers_of_any_width_keep_every_digit(self):
        for kind, values in ((pa.int8(), [-128, 7]), (pa.uint16(), [65535]), (pa.int64(), [2**63 - 1, -(2**63), 2**53 + 1]),
                             (pa.uint64(), [2**64 - 1, 2**63, 5]), (pa.decimal128(38, 0), [10**37 + 1, -7])):
            ids, report = self.ids(pa.array([decimal.Decimal(v) if pa.types.is_decimal(kind) else v for v in values], kind))
            self.assertEqual(ids, {str(v) for v in values}, kind)
            self.assertEqual(report["rejected"], {})

    def test_text_of_any_layout(self):
        texts = ["a", "A", "é", "-3", "nul\0"]
        for array in (pa.array(texts, pa.large_string()), pa.array(texts).dictionary_encode(), pa.array(texts, pa.string_view()),
                      pa.array([t.encode() for t in texts], pa.binary())):
            ids, report = self.ids(array)
            self.assertEqual(ids, set(texts), array.type)
            self.assertEqual(report["rejected"], {})

    def test_fractions_and_booleans_are_no_ids(self):
        for array in (pa.array([1.0], pa.float64()), pa.array([decimal.Decimal("1.50")], pa.decimal128(10, 2)), pa.array([True])):
            ids, report = self.ids(array)
            self.assertEqual(ids, set())
            self.assertEqual(report["rejected"], {"type": 1}, array.type)
            self.assertEqual([(r["row"], r["column"]) for r in self.rejects("items")], [(1, "item_id")])

    def test_bytes_that_are_no_utf8(self):
        _, report = self.ids(pa.array([b"ok", b"\xff\xfe"], pa.binary()))
        self.assertEqual([(r["row"], r["column"], r["reason"]) for r in self.rejects("items")], [(2, "item_id", "utf8")])


class Values(IngestTest):
    def test_numbers_of_any_kind(self):
        self.schema = '[schema.item]\nprice = "double"\nstock = "int"\nbrand = "string"\n'
        half = pa.array([1.5], pa.float16())
        cases = [(half, 1.5), (pa.array([2.25], pa.float32()), 2.25), (pa.array([decimal.Decimal("12.34")], pa.decimal128(10, 2)), 12.34),
                 (pa.array([True]), 1.0), (pa.array([7], pa.uint64()), 7.0), (pa.array(["3.5"]), 3.5),
                 (pa.array([decimal.Decimal(10**30)], pa.decimal128(38, 0)), 1e30)]
        for array, price in cases:
            self.ingest(items=self.write("i.parquet", {"item_id": [str(array.type)], "price": array}))
            found = {row["item_id"]: row for row in self.rows("items")}
            self.assertEqual(found[str(array.type)]["price"], price)
            self.assertIsNone(found[str(array.type)]["stock"])
        report = self.ingest(items=self.write("i.parquet", {"item_id": ["x", "y", "z"], "price": [float("nan"), float("inf"), 1.0]}))
        self.assertEqual(report["repaired"], {"nan_as_null": 1})
        self.assertEqual([(r["row"], r["column"], r["reason"]) for r in self.rejects("items")], [(2, "price", "number")])
        self.ingest(items=self.write("i.parquet", {"item_id": ["f", "g"], "stock": [2.0, 2.5]}))
        self.assertEqual([(r["row"], r["column"], r["reason"]) for r in self.rejects("items")], [(2, "stock", "number")])

    def test_embeddings_as_any_list(self):
        for i, kind in enumerate((pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float16(), 2))):
            self.ingest(items=self.write("i.parquet", {"item_id": [f"i{i}", f"n{i}"], "embedding": pa.array([[0.5, -1.0], None], kind)}))
        found = {row["item_id"]: row["embedding"] for row in self.rows("items")}
        self.assertEqual(found, {"i0": [0.5, -1.0], "i1": [0.5, -1.0], "i2": [0.5, -1.0], "n0": None, "n1": None, "n2": None})


class Lists(IngestTest):
    def test_null_list_empty_list_and_list_of_null(self):
        kind = pa.list_(pa.struct([("item_id", pa.string()), ("position", pa.int16())]))
        lists = pa.array([None, [], [None], [{"item_id": None, "position": 1}], [{"item_id": "a", "position": None}]], kind)
        path = self.write("r.parquet", {"request_id": list("vwxyz"), "domain": ["search"] * 5, "ts_ms": [NINE] * 5, "candidates": lists})
        report = self.ingest(requests=path)
        self.assertEqual((report["requests"], report["candidates"], report["rejected"]), (5, 1, {}))
        self.assertEqual(report["repaired"], {"null_list_as_empty": 1, "null_candidate_dropped": 1, "candidate_without_item_dropped": 1})
        found = {row["request_id"]: row["candidates"] for row in self.rows("requests")}
        self.assertEqual([len(found[name]) for name in "vwxyz"], [0, 0, 0, 0, 1])

    def test_a_list_of_ten_thousand(self):
        items = [{"item_id": f"i{i}"} for i in range(10_000)]
        path = self.write("r.parquet", {"request_id": ["r"], "domain": ["search"], "ts_ms": [NINE], "candidates": [items]})
        self.assertEqual(self.ingest(requests=path)["candidates"], 10_000)
        self.assertEqual([c["item_id"] for c in self.rows("requests")[0]["candidates"]], [item["item_id"] for item in items])

    def test_a_list_of_something_else_is_an_error_naming_file_and_column(self):
        path = self.write("r.parquet", {"request_id": ["r"], "domain": ["search"], "ts_ms": [NINE], "candidates": pa.array([3])})
        self.assertIn(f'{path}: column "candidates": expected a list, got int64', self.ingest(expect=2, requests=path))


class Files(IngestTest):
    def test_columns_that_differ_in_order_and_type(self):
        self.write("raw/1.parquet", self.events())
        other = self.events(event_id=pa.array([17], pa.uint32()), ts_ms=pa.array([NINE * 1000], pa.timestamp("us", "UTC")),
                            item_id=pa.array(["b"]).dictionary_encode(), extra=[1])
        self.write("raw/2.parquet", dict(reversed(other.items())))
        report = self.ingest(events=self.folder / "raw")
        self.assertEqual((report["events"], report["rejected"]), (2, {}))
        self.assertEqual({(r["event_id"], r["item_id"], r["ts_ms"]) for r in self.rows("events")}, {("e0", "a", NINE), ("17", "b", NINE)})

    def test_files_without_rows(self):
        empty = pa.table(self.events()).slice(0, 0)
        self.write("raw/1.parquet", empty)
        self.write("raw/2.parquet", self.events())
        report = self.ingest(events=self.folder / "raw")
        self.assertEqual((report["events"], report["sources"][0]["files"]), (1, 2))
        self.assertEqual(self.ingest(events=self.folder / "raw/1.parquet", store="other")["days"], [])

    def test_a_file_that_is_cut_or_empty_stops_the_run_or_is_skipped_whole(self):
        whole = self.write("raw/1.parquet", self.events(1000)).read_bytes()
        (self.folder / "raw/2.parquet").write_bytes(whole[:len(whole) // 2])
        self.assertIn("raw/2.parquet", self.ingest(expect=2, events=self.folder / "raw"))
        self.assertFalse((self.folder / "store/events").exists())
        (self.folder / "raw/3.parquet").write_bytes(b"")
        config = self.folder / "run.toml"
        self.ingest(expect=2, events=self.folder / "raw")
        stdout, _ = run("ingest", "--config", config, "--json", "--set", "ingest.on_bad_file=skip")
        report = json.loads(stdout)
        self.assertEqual((report["events"], report["rejected"]), (1000, {"bad_file": 2}))

    def test_hive_folders(self):
        self.write("raw/domain=feed/dt=2026-03-01/1.parquet", self.events(domain=None))
        self.ingest(events=self.folder / "raw")
        self.assertEqual([row["domain"] for row in self.rows("events")], ["feed"])

    def test_a_source_set_on_the_command_line(self):
        path = self.write("e.parquet", self.events())
        self.ingest(events=self.write("none.parquet", pa.table(self.events()).slice(0, 0)))
        stdout, _ = run("ingest", "--config", self.folder / "run.toml", "--json", "--set", f"source[0].path={path}")
        self.assertEqual(json.loads(stdout)["events"], 1)
        _, stderr = run("ingest", "--config", self.folder / "run.toml", "--set", "source[3].path=x", expect=2)
        self.assertIn("source has 1 elements, so expected an index up to 1", stderr)


class ThroughToSamples(IngestTest):
    def test_awkward_queries_and_lists_become_samples_unchanged(self):
        queries = ["", "q" * 70_000, "cafe\u0301", "\u05e9\u05dc\u05d5\u05dd \u202eabc", "nul\0here", None]
        count = len(queries)
        lists = [[{"item_id": "a", "position": 1, "score": 0.5}] for _ in queries]
        lists[0] = []
        self.schema = f"""
[es3]
store = "{self.folder}/store"
samples = "{self.folder}/samples"
from = "2026-03-01"
to = "2026-03-01"
"""
        requests = self.write("r.parquet", {
            "request_id": [f"r{i}" for i in range(count)], "domain": ["search"] * count, "user_id": ["u"] * count,
            "ts_ms": [NINE + i * 60_000 for i in range(count)], "query": queries,
            "candidates": pa.array(lists, pa.list_(pa.struct([("item_id", pa.string()), ("position", pa.int32()), ("score", pa.float32())])))})
        # A click 4 s before its query (the clocks' skew) and one without any request.
        events = self.write("e.parquet", self.events(2, user_id=["u", "u"], item_id=["a", "zzz"], ts_ms=[NINE + 60_000 - 4_000] * 2,
                                                     request_id=pa.array(["r1", None])))
        self.ingest(requests=requests, events=events)
        run("samples", "--config", self.folder / "run.toml", "--threads", "1")
        rows = {}
        for path in (self.folder / "samples").rglob("*.parquet"):
            rows.update({row["request_id"]: row for row in pq.ParquetFile(path).read().to_pylist()})
        self.assertEqual([rows[f"r{i}"]["query"] for i in range(count)], queries)
        self.assertEqual(rows["r0"]["items"], [])
        self.assertEqual([item["click"] for i in range(1, count) for item in rows[f"r{i}"]["items"]], [True] + [False] * (count - 2))


if __name__ == "__main__":
    unittest.main()
