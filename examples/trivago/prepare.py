"""trivago's log rows -> raw Parquet files for `uniscale ingest`, and score files of three baselines; prepare.sql says how.

usage: prepare.py OUTPUT_FOLDER [--data FOLDER] [--every N]
Needs the duckdb wheel: pip install -r requirements/examples.txt
"""

import argparse
import datetime
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared/data/trivago-recsys2019-100k"
FILE = "trivago_val_100k.parquet"
EVALUATION_DAY = datetime.datetime(2018, 11, 8, tzinfo=datetime.timezone.utc)
RAW = ("requests", "events")
BASELINES = ("shown_order", "cheapest", "popularity")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path(os.environ.get("US_TRIVAGO_DATA", DATA)))
    parser.add_argument("--every", type=int, default=1, help="keep one of this many users (for a quick test)")
    args = parser.parse_args()
    source = args.data / FILE
    if not source.is_file():
        sys.exit(f"prepare.py: expected the log rows in {source}, got no such file")
    try:
        import duckdb
    except ImportError:
        sys.exit("prepare.py: needs the duckdb wheel: pip install -r requirements/examples.txt")

    base = duckdb.connect()
    base.execute("set threads = 2")
    base.execute("create table rows_read as select * from read_parquet(?) where md5_number_lower(user_id) % ? = 0",
                 [str(source), args.every])
    base.execute("create table cut as select cast(? as bigint) as evaluation_ms", [int(EVALUATION_DAY.timestamp() * 1000)])
    base.execute((pathlib.Path(__file__).parent / "prepare.sql").read_text(encoding="utf-8"))
    for folder, tables in (("raw", RAW), ("baselines", BASELINES)):
        (args.output / folder).mkdir(parents=True, exist_ok=True)
        for table in tables:
            path = args.output / folder / f"{table}.parquet"
            base.table(table).write_parquet(str(path), compression="zstd")
            print(f"{path}: {base.table(table).shape[0]} rows")


if __name__ == "__main__":
    main()
