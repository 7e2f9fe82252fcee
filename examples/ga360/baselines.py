"""Score files of two baselines on the exposed candidates of a sample set's search requests and their native clicks, for `uniscale eval --scores`.

usage: baselines.py SAMPLE_SET OUTPUT_FOLDER --train DAY DAY --evaluate DAY DAY
"""

import argparse
import json
import pathlib

# −position; clicks of the item on the days that the model was trained on.
BASELINES = {"shown_order": "-cast(position as double)", "popularity": "cast(coalesce(num_clicks, 0) as double)"}


def files_of(samples, first, last):
    """Data files of a span of days, as their manifests list them."""
    files = []
    for path in sorted(samples.glob("manifests/dt=*.json")):
        if first <= path.stem.removeprefix("dt=") <= last:
            files += [str(samples / file["path"]) for file in json.loads(path.read_text())["files"]]
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--train", nargs=2, required=True)
    parser.add_argument("--evaluate", nargs=2, required=True)
    args = parser.parse_args()
    import duckdb
    base = duckdb.connect()
    base.execute("set threads = 2")
    for name, span in (("before", args.train), ("evaluated", args.evaluate)):
        base.execute(f"""create table {name} as
            select user_id, request_id, item.item_id, item.position, cast(item.click_source = 1 as integer) as label
            from (select user_id, request_id, query_tier, unnest(items) as item from read_parquet(?))
            where query_tier = 0 and item.origin = 0""", [files_of(args.samples, *span)])
    base.execute("create table clicks as select item_id, sum(label) as num_clicks from before group by item_id")
    args.output.mkdir(parents=True, exist_ok=True)
    for name, score in BASELINES.items():
        rows = base.sql(f"""select user_id, request_id, label, {score} as score
            from evaluated left join clicks using (item_id) order by request_id, position""")
        rows.write_parquet(str(args.output / f"{name}.parquet"), compression="zstd")
        print(f"{args.output / name}.parquet: {rows.shape[0]} rows")


if __name__ == "__main__":
    main()
