"""usage: run.py STORE DAY OUT.parquet THREADS score|hash        (what orders the draw; "hash" is DuckDB's own)"""

import pathlib
import sys

import duckdb

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import rival_input

DRAW_KEYS = {"score": "(-c.score, c.item_id)", "hash": "hash(request_id, c.item_id)"}


def main():
    store, day, out, threads, draw = sys.argv[1:]
    db = duckdb.connect()
    db.execute(f"set threads = {int(threads)}; set preserve_insertion_order = false; set enable_progress_bar = false")
    db.create_function("query_hash", rival_input.query_hash(store), ["VARCHAR"], "VARCHAR")
    text = (pathlib.Path(__file__).parent / "es3.sql").read_text()
    tables = {table: repr(rival_input.files(store, table)) for table in ("requests", "events", "items", "users")}
    db.execute(text.format(**tables, day=rival_input.day_number(day), draw_key=DRAW_KEYS[draw], out=repr(out)))


if __name__ == "__main__":
    main()
