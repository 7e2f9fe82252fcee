"""`uniscale train` as a process: what a polite stop leaves behind, and what it says on the way."""

import json
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from binaries import ROOT, UNISCALE, FolderTest, Thread


def newest(thread):
    return sorted((thread.output / "checkpoints").glob("step-*"))[-1]


class Stopped(FolderTest):
    def test_sigterm_checkpoints_exits_0_and_resumes_to_the_same_bytes(self):
        thread = Thread(self.folder / "straight")
        many = {"train__epochs": 40, "train__max_steps": 150, "train__repository": "", "train__log_every": 10,
                "train__checkpoint_every": 100000, "dataset__batch_candidates": 128, "train__first_steps_check": "false"}
        for verb in ("synth", "samples"):
            thread.run(verb)
        thread.run("train", **many)
        for name in (signal.SIGTERM, signal.SIGINT):
            other = Thread(self.folder / f"stopped-{name.name}")
            other.store, other.samples = thread.store, thread.samples
            process = subprocess.Popen([str(UNISCALE), "train", *map(str, other.flags(**many))], cwd=ROOT, text=True,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            # The second line of metrics stands: the loop is in the middle of its work.
            lines = other.output / "metrics.jsonl"
            for _ in range(1200):
                if process.poll() is not None or (lines.exists() and lines.read_text().count("\n") >= 2):
                    break
                time.sleep(0.01)
            process.send_signal(name)
            stdout, stderr = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, stderr)
            self.assertIn("stopped at step", stdout)
            step = json.loads((newest(other) / "state.json").read_text())["step"]
            self.assertGreaterEqual(step, 20)
            self.assertLess(step, 150)
            self.assertIn(f"stopped at step {step};", stdout)
            other.run("train", "--resume", **many)
            self.assertEqual(newest(other).name, newest(thread).name)
            for file in ("weights.safetensors", "optimizer.safetensors", "window.safetensors"):
                self.assertEqual((newest(other) / file).read_bytes(), (newest(thread) / file).read_bytes(), file)
            self.assertEqual(lines.read_text(), (thread.output / "metrics.jsonl").read_text())

    def test_progress_names_sizes_first_steps_and_speed(self):
        thread = Thread(self.folder)
        for verb in ("synth", "samples"):
            thread.run(verb)
        _, stderr = thread.run("train", train__max_steps=20)
        for words in ("dense parameters", "MFLOP a candidate", "first steps: a copy learned", "parameter tensors moved",
                      "GFLOP/s"):
            self.assertIn(words, stderr)
