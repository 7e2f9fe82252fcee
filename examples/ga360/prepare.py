"""GA360 sessions of the Google Merchandise Store -> raw Parquet files for `uniscale ingest`; prepare.sql says how.

usage: prepare.py OUTPUT_FOLDER [--data FOLDER]
Needs the duckdb wheel: pip install -r requirements/examples.txt
"""

import argparse
import datetime
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared/data/ga360-merchandise-store"
TABLES = ("impressions", "actions", "promotions", "products")
ONE_DAY = datetime.timedelta(days=1)
RAW = ("requests", "events", "items")
SESSION = {"fullVisitorId": "VARCHAR", "visitId": "VARCHAR", "channelGrouping": "VARCHAR", "device": "STRUCT(deviceCategory VARCHAR)"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path(os.environ.get("US_GA360_DATA", DATA)))
    args = parser.parse_args()
    files = {table: args.data / f"{table}.tsv.zst" for table in TABLES} | {"sessions": args.data / "sessions.jsonl.zst"}
    for path in files.values():
        if not path.is_file():
            sys.exit(f"prepare.py: expected the log rows in {path}, got no such file")
    try:
        import duckdb
    except ImportError:
        sys.exit("prepare.py: needs the duckdb wheel: pip install -r requirements/examples.txt")

    base = duckdb.connect()
    base.execute("set threads = 2")
    for table in TABLES:
        # Ids are digits with meaning in their leading zeros: everything is read as text.
        base.execute(f"create table {table} as select * from read_csv(?, delim = '\t', header = true, all_varchar = true, quote = '')",
                     [str(files[table])])
    base.execute('alter table products rename column "categories(top observed, | separated)" to categories')
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in SESSION.items())
    base.execute(f"""create table sessions as
        select fullVisitorId as visitor, visitId as visit_id, device.deviceCategory as device, channelGrouping as channel
        from read_json(?, format = 'newline_delimited', columns = {{{columns}}})""", [str(files["sessions"])])
    base.execute((pathlib.Path(__file__).parent / "prepare.sql").read_text(encoding="utf-8"))
    (args.output / "raw").mkdir(parents=True, exist_ok=True)
    for table in RAW:
        path = args.output / "raw" / f"{table}.parquet"
        base.table(table).write_parquet(str(path), compression="zstd")
        print(f"{path}: {base.table(table).shape[0]} rows")
    # The sample of sessions has no row at all on some days.
    days = base.execute("""select distinct strftime(make_timestamp(ts_ms * 1000), '%Y-%m-%d') as day
        from (select ts_ms from requests union all select ts_ms from events) order by day""").fetchall()
    days = [datetime.date.fromisoformat(day) for day, in days]
    first = [day for day in days if day - ONE_DAY not in days]
    last = [day for day in days if day + ONE_DAY not in days]
    (args.output / "raw" / "spans.txt").write_text("".join(f"{a} {b}\n" for a, b in zip(first, last)))
    print(f"{args.output / 'raw' / 'spans.txt'}: {len(days)} days in {len(first)} spans")


if __name__ == "__main__":
    main()
