"""Runs the built binaries as a user would; shared by the end-to-end tests."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("US_BUILD", ROOT / "build"))
UNISCALE = BUILD / "uniscale"
SERVER = BUILD / "uniscale-server"


def run(*args, expect=0, timeout=300, cwd=ROOT):
    """Runs `uniscale args…`; returns (stdout, stderr); fails the test on another exit code."""
    done = subprocess.run([str(UNISCALE), *map(str, args)], capture_output=True, text=True, timeout=timeout, cwd=cwd)
    if expect is not None and done.returncode != expect:
        raise AssertionError(
            f"uniscale {' '.join(map(str, args))}\nexit {done.returncode}, expected {expect}\n"
            f"stdout: {done.stdout[-3000:]}\nstderr: {done.stderr[-3000:]}")
    return done.stdout, done.stderr


def run_and_kill(delay_s, *args):
    """Starts `uniscale args…` and sends SIGKILL after `delay_s`; returns True if it was still running."""
    process = subprocess.Popen([str(UNISCALE), *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    time.sleep(delay_s)
    running = process.poll() is None
    if running:
        process.send_signal(signal.SIGKILL)
    process.wait()
    return running


def tree_hashes(folder, ignore=()):
    """Relative path → content hash of every published file below `folder`, hidden ones left out."""
    import hashlib
    hashes = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        relative = str(path.relative_to(folder))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            if not any(word in relative for word in ignore):
                hashes[relative] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashes


class FolderTest(unittest.TestCase):
    """A test with a scratch folder of its own."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="uniscale-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
