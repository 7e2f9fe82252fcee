"""What every rival reads: the files of the log store that a day needs, and the two hashes that no engine has."""

import datetime
import json
import pathlib

import xxhash


def day_number(day):
    return (datetime.date.fromisoformat(day) - datetime.date(1970, 1, 1)).days


def files(store, table):
    """Parquet files of a table, over all days or buckets, by the manifests."""
    root = pathlib.Path(store)
    manifests = sorted((root / "manifests").glob("dt=*.json")) if table in ("requests", "events") else [
        root / "manifests" / f"{table}.json"]
    listed = [file["path"] for manifest in manifests for file in json.loads(manifest.read_text())["files"]]
    return [str(root / path) for path in listed if path.startswith(table + "/")]


def query_hash(store):
    """The hash in the id of a searchified request."""
    seed = json.loads((pathlib.Path(store) / "manifests/store.json").read_text())["hash_seed"]

    def hash_of(query):
        raw = query.encode()
        return f"{xxhash.xxh3_64_intdigest(len(raw).to_bytes(8, 'little') + raw, seed=seed):016x}"

    return hash_of
