#!/usr/bin/env python3
"""Includes run downwards only, and third parties stay in their rooms (tools/layers.toml).

usage: check_layers.py [source folder] [layers.toml]
"""

import pathlib
import re
import sys

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import pip._vendor.tomli as tomllib

ROOT = pathlib.Path(__file__).resolve().parents[1]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def problems_of(source, rules):
    levels, third, hidden = rules["levels"], rules["third_parties"], rules["hidden"]
    problems = []
    for path in sorted([*source.rglob("*.h"), *source.rglob("*.cc")]):
        relative = path.relative_to(source)
        room = relative.parts[0]
        if room not in levels:
            problems.append(f"{relative}: the room {room} has no level in layers.toml")
            continue
        is_test = path.name.endswith("_test.cc") or path.name.startswith("test_")
        is_header = path.suffix == ".h" and "detail" not in relative.parts
        for kind, name in INCLUDE.findall(path.read_text(encoding="utf-8")):
            other = name.split("/")[0]
            if kind == '"' and other in levels:
                # A test may look at any room below the top: it walks between twins.
                if other != room and levels[other] >= levels[room] and not is_test:
                    problems.append(f"{relative}: includes {name}: {room} (level {levels[room]}) may not include {other} (level {levels[other]})")
                if other != room and "detail" in name.split("/"):
                    problems.append(f"{relative}: includes {name}: private to the room {other}")
                continue
            for prefix, rooms in third.items():
                if name == prefix or (prefix.endswith("/") and name.startswith(prefix)):
                    if "*" not in rooms and room not in rooms:
                        problems.append(f"{relative}: includes <{name}>, which belongs to {', '.join(rooms)}")
                    if is_header and prefix in hidden and room not in hidden[prefix]:
                        problems.append(f"{relative}: a public header includes <{name}>")
                    break
            else:
                if "/" in name and not name.startswith(("sys/", "bits/")):
                    problems.append(f"{relative}: includes {name}: neither a room nor a third party in layers.toml")
    return problems


def main():
    source = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "src"
    rules = tomllib.loads((pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "tools/layers.toml").read_text())
    problems = problems_of(source, rules)
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
