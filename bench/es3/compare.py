"""usage: compare.py SAMPLES DAY RIVAL.parquet        exit 1, and the first differences, unless all rows are equal

Scores are compared to 5 digits, everything else exactly.
"""

import json
import pathlib
import sys

import duckdb

COLUMNS = ("request_id", "domain", "user_id", "ts_ms", "query", "query_tier", "round(query_score::double, 5) as query_score", "context",
           "user", "history_clicks", "history_buys", "query_history", "items")


def differences(ours, rival, path=""):
    if isinstance(ours, dict) and isinstance(rival, dict):
        for name in ours:
            yield from differences(ours[name], rival[name], f"{path}.{name}")
    elif isinstance(ours, list) and isinstance(rival, list) and len(ours) == len(rival):
        for i, (left, right) in enumerate(zip(ours, rival)):
            yield from differences(left, right, f"{path}[{i}]")
    elif isinstance(ours, list) and isinstance(rival, list):
        yield f"{path}: only ours {[x for x in ours if x not in rival][:2]}, only rival {[x for x in rival if x not in ours][:2]}"
    elif ours != rival:
        yield f"{path}: ours {ours!r}, rival {rival!r}"


def main():
    samples, day, rival = sys.argv[1:]
    files = [file["path"] for file in json.loads((pathlib.Path(samples) / f"manifests/dt={day}.json").read_text())["files"]]
    db = duckdb.connect()
    for name, paths in (("ours", [str(pathlib.Path(samples) / path) for path in files]), ("rival", [rival])):
        db.execute(f"create view {name} as select {', '.join(COLUMNS)} from read_parquet({paths!r})")
    counts = [db.execute(f"select count(*), sum(len(items)) from {name}").fetchone() for name in ("ours", "rival")]
    print(f"ours {counts[0][0]} rows, {counts[0][1]} samples; rival {counts[1][0]} rows, {counts[1][1]} samples")
    keys = db.execute("select distinct request_id from ((from ours except all from rival) union all "
                      "(from rival except all from ours)) order by 1").fetchall()
    for (key,) in keys[:5]:
        rows = []
        for name in ("ours", "rival"):
            found = db.execute(f"from {name} where request_id = ?", [key])
            names = [column[0] for column in found.description]
            rows.append([dict(zip(names, row)) for row in found.fetchall()])
        for line in list(differences(*rows))[:5]:
            print(f"  {key}{line}")
    print(f"{len(keys)} rows differ" if keys else "equal")
    return 1 if keys else 0


if __name__ == "__main__":
    sys.exit(main())
