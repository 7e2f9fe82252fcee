"""The command line as a stranger meets it: help, wrong configuration, exit codes."""

import sys
import pathlib

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from binaries import FolderTest, run

VERBS = ["synth", "ingest", "samples", "why", "train", "eval", "export", "config", "serve"]


class Help(FolderTest):
    def test_every_verb_is_listed_and_explains_itself(self):
        listing, _ = run("--help")
        for verb in VERBS:
            self.assertIn(verb, listing)
            text, _ = run(verb, "--help")
            self.assertIn("--help", text)
            self.assertGreater(len(text), 150, verb)

    def test_unknown_verb_is_a_usage_error(self):
        _, stderr = run("smaples", expect=2)
        self.assertIn("smaples", stderr)


class Configuration(FolderTest):
    def test_three_mistakes_give_three_messages_with_positions(self):
        path = self.folder / "run.toml"
        path.write_text('[es3]\nclick_window = "3 day"\nunexposed_rato = 2.0\n\n[schema]\nnum_buckets = 0\n')
        _, stderr = run("config", "--config", path, expect=2)
        lines = [line for line in stderr.splitlines() if str(path) in line]
        self.assertEqual(len(lines), 3, stderr)
        self.assertIn(f"{path}:2:16: es3.click_window: expected a duration", stderr)
        self.assertIn('unexposed_rato: unknown key; did you mean "unexposed_ratio"?', stderr)
        self.assertIn(f"{path}:6:15: schema.num_buckets: expected an integer in 1 … 999, got 0", stderr)

    def test_missing_file_is_named(self):
        _, stderr = run("config", "--config", self.folder / "none.toml", expect=2)
        self.assertIn("none.toml: no such file", stderr)

    def test_explain_prints_default_and_source(self):
        stdout, _ = run("config", "--explain", "es3.unexposed_ratio")
        self.assertIn("default: 2.0", stdout)
        self.assertIn("es3.md", stdout)

    def test_explain_of_a_slip_names_the_nearest_key(self):
        _, stderr = run("config", "--explain", "es3.unexposed_rato", expect=2)
        self.assertIn("es3.unexposed_ratio", stderr)

    def test_resolved_file_reads_back_as_itself(self):
        first, _ = run("config", "--set", "es3.unexposed_ratio=1.5")
        path = self.folder / "resolved.toml"
        path.write_text(first)
        second, _ = run("config", "--config", path)
        self.assertEqual(first, second)


class NotReady(FolderTest):
    def test_samples_without_a_store(self):
        _, stderr = run("samples", "--set", f"es3.store={self.folder}/none", "--set", f"es3.samples={self.folder}/out",
                        "--dt", "2026-03-01", expect=None)
        self.assertIn("none", stderr)
