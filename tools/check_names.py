#!/usr/bin/env python3
"""File names say something, files stay readable, nothing unfinished or of one machine is committed.

usage: check_names.py [root folder]
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
EMPTY_NAME = re.compile(r"(^|_)(utils?|helpers?|common|misc|manager)(_|\.|$)")
# Written so that this file does not contain what it looks for.
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(wo" + r"rk|ro" + r"ot|ho" + r"me)/[a-z]")
ALLOWED_NAMES = {"common_options.cc"}  # the options that all verbs have in common
MAX_LINES = 600


def tracked(root):
    try:
        out = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout
        return [root / line for line in out.splitlines()]
    except (subprocess.CalledProcessError, FileNotFoundError):
        return [p for p in root.rglob("*") if p.is_file()]


def problems_of(root):
    problems = []
    for path in tracked(root):
        if not path.is_file():
            continue
        relative = path.relative_to(root)
        code = path.suffix in {".cc", ".h", ".py", ".sh"}
        if code and (path.stem != path.stem.lower() or "-" in path.stem):
            problems.append(f"{relative}: expected a snake_case name")
        if code and EMPTY_NAME.search(path.name) and path.name not in ALLOWED_NAMES:
            problems.append(f"{relative}: a name that says nothing")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        lines = text.splitlines()
        if code and len(lines) > MAX_LINES:
            problems.append(f"{relative}: {len(lines)} lines, expected at most {MAX_LINES}: split it by what it does")
        for number, line in enumerate(lines, 1):
            if UNFINISHED.search(line):
                problems.append(f"{relative}:{number}: a mark of unfinished work")
            if MACHINE_PATH.search(line):
                problems.append(f"{relative}:{number}: a path of one machine")
            if path.suffix == ".h" and re.match(r"\s*using namespace\b", line):
                problems.append(f"{relative}:{number}: using namespace in a header")
    return problems


def main():
    problems = problems_of(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
