"""Adds up the reports of many days of samples and prints them as one.

usage: summary.py SAMPLE_SET [--json FILE]
"""

import argparse
import collections
import json
import pathlib


def add(total, value, key=()):
    """Adds every integer of a report below `total`, by its path."""
    if isinstance(value, dict):
        for name, inner in value.items():
            add(total, inner, key + (name,))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            name = tuple(inner[k] for k in ("rung", "task", "source", "domain") if k in inner) if isinstance(inner, dict) else ()
            add(total, inner, key + (name or (str(place),)))  # a line of the report is named by its words
    elif isinstance(value, int) and not isinstance(value, bool):
        total[key] += value


def summarise(reports):
    total = collections.Counter()
    for report in reports:
        add(total, {name: report[name] for name in ("ladder", "positives", "events", "orphans", "queries", "storage")})
    return total


def share(part, whole):
    return f"{part} of {whole} ({100 * part / whole:.1f} %)" if whole else f"{part} of 0"


def lines_of(total, reports):
    yield f"days: {len(reports)}, of them final: {sum(report['state'] == 'final' for report in reports)}, " \
          f"published: {sum(report['trust']['published'] for report in reports)}"
    yield f"{'ladder':<16}{'requests':>10}{'samples':>10}{'clicks':>10}{'carts':>10}{'purchases':>10}"
    for rung in ("exposed", "+ unexposed", "+ attribution", "+ cross-domain"):
        numbers = [total["ladder", rung, name] for name in ("requests", "samples", "click_positives", "cart_positives", "purchase_positives")]
        yield f"{rung:<16}" + "".join(f"{number:>10}" for number in numbers)
    for key, count in sorted(total.items()):
        if key[0] == "positives" and key[-1] == "count":
            yield f"positive {' '.join(key[1:-1]):<40}{count:>8}"
    for key, count in sorted(total.items()):
        if key[0] == "events" and key[-1] == "total" and len(key) == 3 and count:
            yield f"event {key[1]:<43}{count:>8}"
    yield f"{'events in all':<49}{total['events', 'total']:>8}"
    for key, count in sorted(total.items()):
        if key[0] == "orphans" and key[-1] == "total" and count:
            yield f"orphan {key[1]:<42}{count:>8}"
    queries = {key[1:]: count for key, count in total.items() if key[0] == "queries"}
    answered = sum(queries.get(("tiers", tier, "used"), 0) for tier in ("own", "co", "ann"))
    asked = answered + queries.get(("no_query",), 0)
    yield f"positives of other domains: {queries.get(('positives',), 0)}, without a similar shown item: {queries.get(('no_negative',), 0)}"
    for number, tier in enumerate(("own", "co", "ann"), 1):
        used, could, beside, same = (queries.get(("tiers", tier, name), 0) for name in ("used", "could_answer", "beside_own", "same_as_own"))
        yield f"tier {number} ({tier}): answered {share(used, asked)}, could have answered {could}, same query as tier 1: {share(same, beside)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    # Of a day that a gate kept aside the report stands in reports/failed.
    paths = sorted([*args.samples.glob("reports/dt=*.json"), *args.samples.glob("reports/failed/dt=*.json")], key=lambda path: path.name)
    reports = [json.loads(path.read_text()) for path in paths]
    total = summarise(reports)
    for line in lines_of(total, reports):
        print(line)
    if args.json:
        args.json.write_text(json.dumps({" / ".join(key): count for key, count in sorted(total.items())}, indent=1) + "\n")


if __name__ == "__main__":
    main()
