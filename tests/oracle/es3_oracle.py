#!/usr/bin/env python3
"""Builds days of samples by es3.sql on DuckDB and compares them, row by row, with what `uniscale samples` published.

usage: es3_oracle.py STORE DAY [DAY …] [--config run.toml] [--set es3.key=value …] [--compare SAMPLES]

Exit codes: 0 equal · 1 a difference (the first ones are printed) · 2 usage. Without --compare the counts are printed.
"""

import argparse
import datetime
import json
import math
import pathlib
import re
import sys
import tomllib
import unicodedata

import duckdb
import numpy
import pyarrow
import pyarrow.parquet
import xxhash

FOLDER = pathlib.Path(__file__).parent
DAY_MS = 86_400_000
TASKS = ("click", "cart", "purchase")
FOREVER = (1 << 64) - 1

# [es3], with the defaults of docs/es3.md.
DURATIONS = {
    "clock_skew": "5s", "native_window": "30m", "click_window": "24h", "cart_window": "72h", "purchase_window": "72h",
    "stats_lookback": "30d", "own_lookback": "30d", "half_life": "0", "history_lookback": "90d", "history_gap": "0",
}
VALUES = {
    "unexposed_ratio": 2.0, "unexposed_cap": 100, "unexposed_if_empty": 0, "hard_share": 0.0,
    "attribution": True, "relevance_gate": "either", "gate_similarity": 0.2, "attribute_undrawn": True,
    "reuse_attributed": False, "confidence": {},
    "searchify": True, "negative_similarity": 0.3, "negatives_per_positive": 0, "co_min_users": 2, "ann_min_count": 2,
    "ann_floor": 0.35, "tier_weights": [1.0, 0.8, 0.5], "history_length": 50, "query_history_length": 10,
}
UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": DAY_MS, "": 1}


def duration_ms(value):
    number, unit = re.fullmatch(r"(\d+)\s*(ms|s|m|h|d|)", str(value)).groups()
    return int(number) * UNIT_MS[unit]


# ---- Text and hashes: docs/conventions.md.

WHITE_SPACE = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}


def stable_hash(seed, *fields):
    return xxhash.xxh3_64_intdigest(b"".join(len(field).to_bytes(8, "little") + field for field in fields), seed=seed)


def decode(raw):
    """UTF-8; a byte that starts no valid sequence is one U+FFFD."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        pass
    out, cursor = [], 0
    while cursor < len(raw):
        for size in (1, 2, 3, 4):
            try:
                out.append(raw[cursor:cursor + size].decode())
                cursor += size
                break
            except UnicodeDecodeError:
                continue
        else:
            out.append("\ufffd")
            cursor += 1
    return "".join(out)


def simple_lower(char):
    lower = char.lower()
    return lower if len(lower) == 1 else lower[0]


def normalise(raw):
    """NFC, simple lower-case, white space collapsed and trimmed."""
    points = [" " if ord(char) in WHITE_SPACE else simple_lower(char) for char in unicodedata.normalize("NFC", decode(raw))]
    return re.sub(" +", " ", "".join(points)).strip(" ")


def gram_counts(raw, seed):
    """dimension → count of the hashed character 3-grams; a boundary mark, which is no code point, at each side."""
    text = normalise(raw)
    counts = {}
    if text:
        points = [0x110000, *map(ord, text), 0x110000]
        for i in range(len(points) - 2):
            gram = b"".join(point.to_bytes(4, "little") for point in points[i:i + 3])
            dimension = stable_hash(seed, gram) & ((1 << 18) - 1)
            counts[dimension] = counts.get(dimension, 0) + 1
    return counts


# ---- The log store ⓪: docs/formats/log-store.md.

def as_bytes(array):
    """Strings, also inside structs and lists, as binary: ids and texts need not be UTF-8."""
    kind = array.type
    if isinstance(array, pyarrow.ChunkedArray):
        array = array.combine_chunks()
    if pyarrow.types.is_dictionary(kind):
        return as_bytes(array.dictionary_decode())
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        return array.cast(pyarrow.binary())
    if pyarrow.types.is_struct(kind):
        fields = [as_bytes(array.field(i)) for i in range(kind.num_fields)]
        return pyarrow.StructArray.from_arrays(fields, [field.name for field in kind], mask=array.is_null())
    if pyarrow.types.is_list(kind):
        return pyarrow.ListArray.from_arrays(array.offsets, as_bytes(array.values), mask=array.is_null())
    return array


def read_files(root, part, table):
    """The files that manifest `part` lists below `table/`, one Arrow table; None if there are none."""
    files = [file["path"] for file in json.loads((root / "manifests" / f"{part}.json").read_text())["files"]
             if file["path"].startswith(table + "/")]
    tables = [pyarrow.parquet.ParquetFile(root / file).read() for file in files]
    if not tables:
        return None
    tables = [pyarrow.table({name: as_bytes(one.column(name)) for name in one.column_names}) for one in tables]
    return pyarrow.concat_tables(tables).combine_chunks()


def column(table, name, kind=None):
    array = table.column(name)
    array = array.combine_chunks() if isinstance(array, pyarrow.ChunkedArray) else array
    return array if kind is None else array.cast(kind)


def empty_is_null(array):
    return pyarrow.compute.if_else(pyarrow.compute.equal(pyarrow.compute.binary_length(array), 0), None, array)


class Store:
    """Everything a log store holds, as Arrow tables named as es3.sql names them."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.schema = json.loads((self.root / "manifests/store.json").read_text())
        self.seed = self.schema["hash_seed"]
        self.days = sorted(path.stem[3:] for path in (self.root / "manifests").glob("dt=*.json"))
        self.load_requests(self.all_days("requests"))
        self.load_events(self.all_days("events"))
        self.items = self.entities("items", "item", ("title", "category"), "item_id")
        self.users = self.entities("users", "user", (), "user_id")
        self.load_texts()

    def all_days(self, table):
        parts = [read_files(self.root, f"dt={day}", table) for day in self.days]
        parts = [part for part in parts if part is not None]
        return pyarrow.concat_tables(parts).combine_chunks() if parts else None

    def struct(self, table, names, prefix_fields=()):
        """A struct column of declared columns, and of `prefix_fields` before them; null where nothing is declared."""
        fields = [(name, array) for name, array in prefix_fields] + [(name, column(table, name)) for name in sorted(names)]
        if not fields:
            return pyarrow.nulls(table.num_rows, pyarrow.int32())
        return pyarrow.StructArray.from_arrays([array for _, array in fields], [name for name, _ in fields])

    def load_requests(self, table):
        binary, int64 = pyarrow.binary(), pyarrow.int64()
        if table is None:
            none = {name: pyarrow.array([], binary) for name in ("request_id", "domain", "user_id", "query")}
            self.requests = pyarrow.table({"request_key": pyarrow.array([], int64), **none, "ts_ms": pyarrow.array([], int64),
                                           "context": pyarrow.nulls(0, pyarrow.int32())})
            self.candidates = pyarrow.table({
                "request_key": pyarrow.array([], int64), "item_id": pyarrow.array([], binary),
                "position": pyarrow.array([], pyarrow.int32()), "score": pyarrow.array([], pyarrow.float32()),
                "candidate": pyarrow.nulls(0, pyarrow.int32()), "draw_hash": pyarrow.array([], pyarrow.uint64())})
            return
        keys = numpy.arange(table.num_rows)
        self.requests = pyarrow.table({
            "request_key": keys, "request_id": column(table, "request_id"), "domain": column(table, "domain"),
            "user_id": empty_is_null(column(table, "user_id")), "ts_ms": column(table, "ts_ms"), "query": column(table, "query"),
            "context": column(table, "context") if self.schema["context"] else pyarrow.nulls(table.num_rows, pyarrow.int32())})
        lists = column(table, "candidates")
        flat, parents = lists.flatten(), pyarrow.compute.list_parent_indices(lists)
        fields = {flat.type.field(i).name: flat.field(i) for i in range(flat.type.num_fields)}
        flat = pyarrow.table(fields)
        request_ids = column(table, "request_id").to_pylist()
        searches = {i for i, domain in enumerate(column(table, "domain").to_pylist())
                    if domain == self.schema["search_domain"].encode()}
        hashes = [stable_hash(self.seed, request_ids[parent], item) if parent in searches else 0
                  for parent, item in zip(parents.to_pylist(), fields["item_id"].to_pylist())]
        self.candidates = pyarrow.table({
            "request_key": parents.cast(int64), "item_id": fields["item_id"], "position": fields["position"],
            "score": fields["score"],
            "candidate": self.struct(flat, self.schema["candidate"], [("score", fields["score"])]),
            "draw_hash": pyarrow.array(hashes, pyarrow.uint64())})

    def load_events(self, table):
        names = ("event_id", "domain", "action", "user_id", "item_id", "ts_ms", "known_ms", "request_id")
        if table is None:
            self.events = pyarrow.table({name: pyarrow.array([], pyarrow.int64() if name.endswith("_ms") else pyarrow.binary())
                                         for name in names}).append_column("event_key", pyarrow.array([], pyarrow.int64()))
            return
        columns = {name: column(table, name) for name in names}
        for name in ("user_id", "request_id"):
            columns[name] = empty_is_null(columns[name])
        self.events = pyarrow.table({"event_key": numpy.arange(table.num_rows), **columns})

    def entities(self, part, kind, fixed, key):
        table = read_files(self.root, part, part) if (self.root / f"manifests/{part}.json").exists() else None
        declared = self.schema[kind]
        if table is None:
            types = {"string": pyarrow.binary(), "double": pyarrow.float64(), "int": pyarrow.int64()}
            table = pyarrow.table({key: pyarrow.array([], pyarrow.binary()), "ts_ms": pyarrow.array([], pyarrow.int64()),
                                   **{name: pyarrow.array([], pyarrow.binary()) for name in fixed},
                                   **{name: pyarrow.array([], types[declared[name]]) for name in declared}})
        out = {key: column(table, key), "ts_ms": column(table, "ts_ms"), **{name: column(table, name) for name in fixed},
               kind: self.struct(table, declared, [(name, column(table, name)) for name in fixed])}
        if part == "items":
            embeddings = pyarrow.list_(pyarrow.float64())
            out["embedding"] = (column(table, "embedding").cast(embeddings) if "embedding" in table.column_names
                                else pyarrow.nulls(table.num_rows, embeddings))
        return pyarrow.table(out)

    def load_texts(self):
        texts = {text for name, table in (("query", self.requests), ("title", self.items))
                 for text in column(table, name).to_pylist() if text}
        rows, grams = [], {"text": [], "dim": [], "count": []}
        for text in sorted(texts):
            counts = gram_counts(text, self.seed)
            rows.append((text, sum(count * count for count in counts.values()), f"{stable_hash(self.seed, text):016x}"))
            grams["text"] += [text] * len(counts)
            grams["dim"] += counts.keys()
            grams["count"] += counts.values()
        self.texts = pyarrow.table({"text": pyarrow.array([row[0] for row in rows], pyarrow.binary()),
                                    "norm2": pyarrow.array([row[1] for row in rows], pyarrow.int64()),
                                    "hash_hex": pyarrow.array([row[2] for row in rows], pyarrow.string())})
        self.grams = pyarrow.table({"text": pyarrow.array(grams["text"], pyarrow.binary()),
                                    "dim": pyarrow.array(grams["dim"], pyarrow.int64()),
                                    "count": pyarrow.array(grams["count"], pyarrow.int64())})


class Rules:
    """[es3] and [[sequence]] of a configuration."""

    def __init__(self, config):
        es3 = config.get("es3", {})
        self.options = {name: duration_ms(es3.get(name, default)) for name, default in DURATIONS.items()}
        self.options |= {name: es3.get(name, default) for name, default in VALUES.items()}
        self.confidence = self.options.pop("confidence")
        self.sequences = [(one["name"], one.get("actions", ["click"]), one.get("domains", []))
                          for one in config.get("sequence", [])]


def build(store, rules, sql=None):
    """Runs es3.sql over the whole store; the connection holds its tables."""
    db = duckdb.connect()
    # Never spill: what does not fit in memory is a bad plan.
    db.execute("set threads = 1; set temp_directory = ''")
    for name in ("requests", "candidates", "events", "items", "users", "texts", "grams"):
        db.register("loaded", getattr(store, name))
        db.execute(f"create table {name} as from loaded")
    options = {**rules.options, "search_domain": store.schema["search_domain"].encode()}
    windows = {task: options.pop(f"{task}_window") for task in TASKS}
    options["tier_weights"] = [float(weight) for weight in options["tier_weights"]]
    for name in ("unexposed_ratio", "hard_share", "gate_similarity", "negative_similarity", "ann_floor"):
        options[name] = float(options[name])
    db.register("options", pyarrow.table({name: [value] for name, value in options.items()}))
    db.register("windows", pyarrow.table({"action": pyarrow.array([task.encode() for task in TASKS], pyarrow.binary()),
                                          "window_ms": [windows[task] for task in TASKS]}))
    pairs = [pair.rsplit("/", 1) for pair in rules.confidence]
    db.register("confidences", pyarrow.table({
        "domain": pyarrow.array([pair[0].encode() for pair in pairs], pyarrow.binary()),
        "action": pyarrow.array([pair[1].encode() for pair in pairs], pyarrow.binary()),
        "factor": pyarrow.array([float(factor) for factor in rules.confidence.values()], pyarrow.float64())}))
    binaries = pyarrow.list_(pyarrow.binary())
    db.register("sequences", pyarrow.table({
        "sequence": pyarrow.array([name for name, _, _ in rules.sequences], pyarrow.string()),
        "actions": pyarrow.array([[action.encode() for action in actions] for _, actions, _ in rules.sequences], binaries),
        "domains": pyarrow.array([[domain.encode() for domain in domains] for _, _, domains in rules.sequences], binaries)}))
    db.execute(sql or (FOLDER / "es3.sql").read_text())
    return db


# ---- Rows of the sample file ①: docs/formats/samples.md.

def expected_rows(db, store, rules, day):
    """(ts_ms, request_id, user_id) → row."""
    number = (datetime.date.fromisoformat(day) - datetime.date(1970, 1, 1)).days
    rows = db.execute("select * exclude (day) from rows where day = ?", [number]).to_arrow_table().to_pylist()
    histories = {}
    for row_key, sequence, history in db.execute(
            "select row_key, sequence, history from histories join rows using (row_key) where day = ?", [number]).fetchall():
        histories[row_key, sequence] = history
    out = {}
    for row in rows:
        row_key = row.pop("row_key")
        for name in ("context", "user"):
            if not store.schema[name]:
                del row[name]
            elif row[name] is None:
                row[name] = dict.fromkeys(store.schema[name])
        for sequence, _, _ in rules.sequences:
            row[f"history_{sequence}"] = histories.get((row_key, sequence), [])
        row["query_history"] = row["query_history"] or []
        row["items"] = [flat_item(item, store) for item in row["items"] or []]
        out[row["ts_ms"], row["request_id"], row["user_id"]] = row
    return out


def flat_item(item, store):
    out = {name: item[name] for name in ("item_id", "origin", "position")}
    for task in TASKS:
        out[task] = item[task]["source"] != 0
        for name, value in item[task].items():
            out[f"{task}_{name}"] = value
    out["candidate"] = item["candidate"]
    out["item"] = item["item"] or dict.fromkeys(["title", "category", *store.schema["item"]])
    return out


def published_rows(samples, day):
    table = read_files(pathlib.Path(samples), f"dt={day}", "samples")
    rows = table.to_pylist() if table is not None else []
    out = {(row["ts_ms"], row["request_id"], row["user_id"]): row for row in rows}
    if len(out) != len(rows):
        raise SystemExit(f"{samples}, {day}: a request stands twice")
    return out


def differences(expected, got, path=""):
    """Lines that say where two values differ; floats up to the rounding of float32."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for name in sorted(expected.keys() | got.keys()):
            if name not in got or name not in expected:
                yield f"{path}.{name}: only in the {'SQL' if name in expected else 'samples'}"
            else:
                yield from differences(expected[name], got[name], f"{path}.{name}")
    elif path.endswith(".items") and isinstance(expected, list) and isinstance(got, list):
        left, right = ({item["item_id"]: item for item in items} for items in (expected, got))
        for item_id in sorted(left.keys() | right.keys()):
            if item_id not in right or item_id not in left:
                side, item = ("SQL", left[item_id]) if item_id in left else ("samples", right[item_id])
                yield f"{path}[{item_id!r}]: only in the {side}: {item}"
            else:
                yield from differences(left[item_id], right[item_id], f"{path}[{item_id!r}]")
        if left == right and expected != got:
            yield f"{path}: another order"
    elif isinstance(expected, (int, float)) and isinstance(got, float):
        if not (math.isclose(expected, got, rel_tol=2e-7, abs_tol=1e-12) or (expected != expected and got != got)):
            yield f"{path}: SQL {expected!r}, samples {got!r}"
    elif expected != got or type(expected) is not type(got):
        yield f"{path}: SQL {expected!r}, samples {got!r}"


def compare(expected, got):
    for key in sorted(expected.keys() | got.keys(), key=repr):
        where = f"request {key[1]!r} of {key[2]!r} at {key[0]}"
        if key not in got:
            yield f"{where}: only in the SQL: {expected[key]['query']!r}, {len(expected[key]['items'])} items"
        elif key not in expected:
            yield f"{where}: only in the samples: {got[key]['query']!r}, {len(got[key]['items'])} items"
        else:
            for line in differences(expected[key], got[key]):
                yield f"{where}: {line.lstrip('.')}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("days", nargs="+", metavar="DAY")
    parser.add_argument("--config", help="the TOML file that `uniscale samples` was given")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of uniscale")
    parser.add_argument("--compare", metavar="SAMPLES", help="folder of the sample set")
    arguments = parser.parse_args()
    config = tomllib.loads(pathlib.Path(arguments.config).read_text()) if arguments.config else {}
    for assignment in arguments.set:
        key, value = assignment.split("=", 1)
        section, name = key.split(".", 1)
        try:
            config.setdefault(section, {})[name] = tomllib.loads(f"x = {value}")["x"]
        except tomllib.TOMLDecodeError:
            config.setdefault(section, {})[name] = value
    store, rules = Store(arguments.store), Rules(config)
    db = build(store, rules)
    num_different = 0
    for day in arguments.days:
        expected = expected_rows(db, store, rules, day)
        print(f"{day}: {len(expected)} requests, {sum(len(row['items']) for row in expected.values())} samples by SQL")
        if arguments.compare:
            lines = list(compare(expected, published_rows(arguments.compare, day)))
            num_different += len(lines)
            for line in lines[:20]:
                print(f"  {line}")
            if len(lines) > 20:
                print(f"  … {len(lines) - 20} more differences")
    if arguments.compare and not num_different:
        print("equal")
    return 1 if num_different else 0


if __name__ == "__main__":
    sys.exit(main())
