"""Runs the commands of README.md: those of its sh blocks for real on a small world, those named in the text as far as
`make -n` and `--help` go. A command that does not work is a problem with its line number."""

import json
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from binaries import BUILD, ROOT, UNISCALE, FolderTest

LANGUAGES = ("sh", "text", "toml", "json")
# One day more than a model needs: train on two, evaluate on the third.
SMALL = ["synth.num_users=200", "synth.num_items=2000", "synth.days=3", "es3.to=2026-03-03", "dataset.to=2026-03-02",
         "train.eval_from=2026-03-03", "train.fit_requests=500", "dataset.batch_candidates=512", "train.warmup_steps=10"]
RAW = """
[ingest]
store = "store"

[[source]]
name = "requests"
path = "raw/requests"

[[source]]
name = "events"
table = "events"
path = "raw/events"

[[source]]
name = "items"
table = "items"
path = "raw/items"

[[source]]
name = "users"
table = "users"
path = "raw/users"
"""


def fenced_blocks(text):
    """(line number of the fence, language, lines) of every fenced block."""
    blocks, inside = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            if inside is None:
                inside = (number, line[3:].strip(), [])
            else:
                blocks.append(inside)
                inside = None
        elif inside is not None:
            inside[2].append(line)
    if inside is not None:
        blocks.append((inside[0], "unclosed", inside[2]))
    return blocks


def commands_of(text):
    """(line number, words) of each command in the sh blocks; comments and empty lines are left out."""
    for number, language, lines in fenced_blocks(text):
        if language != "sh":
            continue
        for offset, line in enumerate(lines, 1):
            words = shlex.split(line, comments=True)
            if words:
                yield number + offset, words


def named_commands_of(text):
    """(line number, words) of each command that the text names in back quotes."""
    for number, line in enumerate(text.splitlines(), 1):
        for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", line):
            if code.startswith(("make ", "uniscale ", "build/uniscale ")):
                yield number, code.split()


def with_setting(config, name, value):
    """`config` with the key `section.key` set in its [section]."""
    section, key = name.split(".")
    head, body = config.split(f"[{section}]\n", 1)
    end = body.find("\n[")
    own = re.sub(rf"(?m)^{key} = .*\n", "", body[:end])
    return f"{head}[{section}]\n{key} = {value if value.isdigit() else json.dumps(value)}\n{own}{body[end:]}"


class Runner:
    """Runs commands in a scratch folder that holds raw logs and a run.toml."""

    def __init__(self, folder):
        self.folder = folder
        self.is_set_up = False
        self.help_texts = {}

    def set_up(self):
        if self.is_set_up:
            return
        self.is_set_up = True
        config = (ROOT / "examples/synth/run.toml").read_text().replace("build/synth/", "") + RAW
        for setting in SMALL:
            config = with_setting(config, *setting.split("="))
        (self.folder / "run.toml").write_text(config)
        self.execute([str(UNISCALE), "synth", "--config", "run.toml", "--set", "synth.store=raw"])

    def execute(self, words, cwd=None):
        done = subprocess.run(words, cwd=cwd or self.folder, capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise AssertionError(f"exit {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
        return done.stdout

    def make(self, words):
        listing = self.execute(["make", "-n", f"BUILD={BUILD}", *words[1:]], cwd=ROOT)
        if "demo" not in words:
            return
        if "tools/demo.sh" not in listing:
            raise AssertionError(f"make demo does not run tools/demo.sh:\n{listing}")
        flags = [flag for setting in SMALL for flag in ("--set", setting)]
        out = self.execute(["tools/demo.sh", str(BUILD), str(self.folder / "demo"), *flags], cwd=ROOT)
        if "gauc@impr" not in out or "candidates, 0 of them unknown to the bundle" not in out:
            raise AssertionError(f"make demo: expected an evaluation and a stored search ranked anew:\n{out[-1500:]}")

    def serve(self, words):
        ports = self.folder / "ports"
        process = subprocess.Popen([str(UNISCALE), *words[1:], "--port", "0", "--metrics-port", "0", "--port-file", str(ports)],
                                   cwd=self.folder, stderr=subprocess.PIPE, text=True)
        try:
            for _ in range(200):
                if ports.exists() or process.poll() is not None:
                    break
                time.sleep(0.05)
            if not ports.exists():
                raise AssertionError(f"the server did not start: {process.stderr.read()[-1500:]}" if process.poll() is not None
                                     else "the server did not start within 10 s")
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=60)
        if process.returncode != 0:
            raise AssertionError(f"exit {process.returncode}: {log[-1500:]}")

    def run(self, words):
        if words[0] == "make":
            self.make(words)
        elif words[0] == "build/uniscale":
            self.set_up()
            self.serve(words) if words[1] == "serve" else self.execute([str(UNISCALE), *words[1:]])
        else:
            raise AssertionError("expected make or build/uniscale")

    def name(self, words):
        if words[0] == "make":
            self.execute(["make", "-n", f"BUILD={BUILD}", *words[1:]], cwd=ROOT)
        else:
            verb = [words[1]] if not words[1].startswith("-") else []
            flags = [word.split("=")[0] for word in words[2 if verb else 1:] if word.startswith("-")]
            key = " ".join(verb)
            if key not in self.help_texts:
                self.help_texts[key] = self.execute([str(UNISCALE), *verb, "--help"])
            for flag in flags:
                if not re.search(rf"(^|[\s,]){re.escape(flag)}\b", self.help_texts[key]):
                    raise AssertionError(f"no flag {flag}")


def problems_of(text, runner):
    problems = [f"line {number}: a block of {language or 'no language'}; expected one of {', '.join(LANGUAGES)}"
                for number, language, _ in fenced_blocks(text) if language not in LANGUAGES]
    for listed, check in ((commands_of(text), runner.run), (named_commands_of(text), runner.name)):
        for number, words in listed:
            try:
                check(words)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                problems.append(f"line {number}: {' '.join(words)}: {error}")
    return problems


class Readme(FolderTest):
    def test_every_command_works(self):
        text = (ROOT / "README.md").read_text()
        commands = [" ".join(words) for _, words in commands_of(text)]
        for needed in ("make demo", "make test", "build/uniscale serve"):
            self.assertTrue(any(command.startswith(needed) for command in commands), f"the README no longer shows {needed}")
        self.assertEqual(problems_of(text, Runner(self.folder)), [])

    def test_planted_mistakes_are_found(self):
        planted = {
            "```sh\nmake dmeo\n```": "line 2: make dmeo",
            "```sh\nbuild/uniscale config --explain es3.native_windw\n```": 'did you mean "es3.native_window"',
            "```sh\nbuild/uniscale config --config none.toml\n```": "none.toml: no such file",
            "```sh\nuniscale --help\n```": "expected make or build/uniscale",
            "```\nmake demo\n```": "a block of no language",
            "```sh\nbuild/uniscale --help\n": "a block of unclosed",
            "Say `make bench-everything` now.": "line 1: make bench-everything",
            "Say `build/uniscale smaples` now.": "line 1: build/uniscale smaples",
            "Say `build/uniscale ingest --day 2026-03-01` now.": "no flag --day",
        }
        for text, expected in planted.items():
            problems = problems_of(text, Runner(self.folder))
            self.assertEqual(len(problems), 1, (text, problems))
            self.assertIn(expected, problems[0])


class Docs(FolderTest):
    """The other pages: verbs and flags that they show exist, tests that they name exist."""

    def test_commands_that_the_pages_show_exist(self):
        runner, problems, count = Runner(self.folder), [], 0
        for page in sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md"]):
            text = page.read_text()
            shown = [(number + offset, line.split("#")[0].split()) for number, _, lines in fenced_blocks(text)
                     for offset, line in enumerate(lines, 1) if line.startswith(("make ", "uniscale ", "build/uniscale "))]
            for number, words in shown + list(named_commands_of(text)):
                if len(words) < 2 or any(mark in words[1] for mark in "[<…"):  # a pattern, not a command
                    continue
                count += 1
                try:
                    runner.name(words)
                except AssertionError as error:
                    problems.append(f"{page.relative_to(ROOT)}:{number}: {' '.join(words)}: {error}")
        self.assertGreater(count, 10)
        self.assertEqual(problems, [])

    def test_tests_named_in_the_table_of_awkward_input_exist(self):
        sources = "".join(path.read_text() for path in [*ROOT.glob("src/*/*_test.cc"), *ROOT.glob("tests/e2e/*.py")])
        table = (ROOT / "docs/ingest.md").read_text().split("## Awkward input")[1]
        rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
        self.assertGreater(len(rows), 20)
        for row in rows:
            cells = row.strip("| ").split(" | ")
            names = re.findall(r"`([^`]+)`", cells[-1])
            self.assertTrue(names or re.fullmatch(r"[TCPU, ]+", cells[-1]), row)
            for name in names:
                if name.endswith(".case"):
                    self.assertTrue((ROOT / "tests/cases" / name).is_file(), name)
                elif "/" in name:
                    self.assertTrue((ROOT / name).is_file(), name)
                else:
                    snake = "test_" + re.sub(r"(?<=.)([A-Z0-9]+)", r"_\1", name.rstrip("…")).lower()
                    found = re.search(rf"(TEST_F\(\w+, |class ){name.rstrip('…')}", sources) or f"def {snake}" in sources
                    self.assertTrue(found, name)


if __name__ == "__main__":
    unittest.main()
