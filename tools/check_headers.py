#!/usr/bin/env python3
"""Every header outside model/ and train/ compiles alone, with torch and Arrow off the include path.

A room's detail/ headers of third parties are that room's business and are left out if they include one.
usage: check_headers.py [source folder]
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
HEAVY = re.compile(r'#include <(arrow|parquet|ATen|c10|torch)/')


def check(source, header):
    command = ["c++", "-std=c++20", "-fsyntax-only", "-Wno-psabi", f"-I{source}", "-x", "c++", "-"]
    text = f'#include "{header.relative_to(source)}"\n'
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    return None if done.returncode == 0 else f"{header.relative_to(source)}: does not compile alone:\n{done.stderr[:1500]}"


def problems_of(source):
    headers = []
    for header in sorted(source.rglob("*.h")):
        parts = header.relative_to(source).parts
        if parts[0] in {"model", "train"} and HEAVY.search(header.read_text()):
            continue
        if parts[0] in {"model", "train"} and "options" not in header.name and "trainer" not in header.name:
            continue
        if "detail" in parts and HEAVY.search(header.read_text()):
            continue
        headers.append(header)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [p for p in pool.map(lambda h: check(source, h), headers) if p]


def main():
    problems = problems_of(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "src")
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
