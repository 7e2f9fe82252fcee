#!/usr/bin/env python3
"""Sends one stored search to a running server and prints the new order beside the engine's.

usage: rank_stored.py STORE [--url http://127.0.0.1:8000] [--model main] [--request ID] [--top 10]

STORE is a log store (docs/formats/log-store.md). The first --top places are printed, and those that led to something. Without
--request: the first search of the newest day that led to something and whose user is known. "led to" is what happened in the
list itself; the model never sees it.
"""

import argparse
import json
import pathlib
import sys
import urllib.error
import urllib.request

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds


def read(folder, columns, **filters):
    keep = None
    for name, value in filters.items():
        one = pc.field(name) == value
        keep = one if keep is None else keep & one
    table = ds.dataset(folder, format="parquet")
    return table.to_table(columns=[name for name in columns if name in table.schema.names], filter=keep).to_pylist()


def newest_day(store):
    days = sorted(path.name for path in (store / "requests").glob("dt=*"))
    if not days:
        raise SystemExit(f"rank_stored: {store}/requests: expected a folder dt=YYYY-MM-DD, found none")
    return days[-1]


def choose(store, wanted):
    """The request to send and what its list led to: item → set of actions."""
    day = newest_day(store)
    requests = read(store / "requests" / day, ["request_id", "domain", "user_id", "ts_ms", "query", "context", "candidates"],
                    **({"request_id": wanted} if wanted else {"domain": "search"}))
    outcomes = {}
    if (store / "events" / day).is_dir():
        for event in read(store / "events" / day, ["request_id", "item_id", "action"]):
            outcomes.setdefault(event.get("request_id"), {}).setdefault(event["item_id"], set()).add(event["action"])
    requests.sort(key=lambda one: (one["ts_ms"], one["request_id"]))
    for request in requests:
        if wanted or (request["user_id"] and outcomes.get(request["request_id"])):
            return request, outcomes.get(request["request_id"], {})
    raise SystemExit(f"rank_stored: {store}/requests/{day}: " +
                     (f"no request {wanted}" if wanted else "no search with a user and a click"))


def body_of(request):
    candidates = request["candidates"]
    context = {name: value for name, value in (request.get("context") or {}).items() if value is not None}
    logged = [name for name in candidates[0] if name not in ("item_id", "position", "score")]
    body = {"request_id": request["request_id"], "query": {"text": request["query"] or ""},
            "context": {"domain": request["domain"], "ts_ms": request["ts_ms"], **context},
            "items": {"ids": [one["item_id"] for one in candidates],
                      "features": {name: [one[name] for one in candidates] for name in logged}},
            "return": ["scores", "order", "heads"]}
    if request["user_id"]:
        body["user"] = {"id": request["user_id"]}
    return body


def post(url, body):
    call = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(call, timeout=30) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"rank_stored: {url}: {error.code} {error.read().decode(errors='replace')}") from error
    except urllib.error.URLError as error:
        raise SystemExit(f"rank_stored: {url}: {error.reason}") from error


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=pathlib.Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--model", default="main")
    parser.add_argument("--request", default="")
    parser.add_argument("--top", type=int, default=10)
    arguments = parser.parse_args()

    request, outcome = choose(arguments.store, arguments.request)
    candidates = request["candidates"]
    reply = post(f"{arguments.url}/v1/rank/{arguments.model}", body_of(request))

    titles = {}
    if (arguments.store / "items").is_dir():
        items = ds.dataset(arguments.store / "items", format="parquet")
        if "title" in items.schema.names:
            ids = pa.array([one["item_id"] for one in candidates])
            rows = items.to_table(columns=["item_id", "title"], filter=pc.field("item_id").isin(ids))
            titles = dict(zip(rows["item_id"].to_pylist(), rows["title"].to_pylist()))

    unknown = len(reply["missing"]["items"])
    print(f"request {request['request_id']}, user {request['user_id'] or '-'}, query {request['query']!r}: {len(candidates)} candidates, "
          f"{unknown} of them unknown to the bundle; model {reply['model']} {reply['version']}, {reply['took_ms']:.1f} ms")
    print(f"{'rank':>4} {'shown at':>8} {'score':>9}  {'led to':<14} item")
    for rank, place in enumerate(reply["order"], 1):
        one = candidates[place]
        if rank > arguments.top and one["item_id"] not in outcome:
            continue
        print(f"{rank:>4} {one['position'] or 'not':>8} {reply['scores'][place]:>9.5f}  "
              f"{', '.join(sorted(outcome.get(one['item_id'], ()))) or '-':<14} {one['item_id']} {titles.get(one['item_id']) or ''}".rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
