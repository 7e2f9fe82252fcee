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


class Thread:
    """The synthetic example in a folder of its own, small: flags for every verb."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.store, self.samples = self.folder / "store", self.folder / "samples"
        self.output, self.models = self.folder / "train", self.folder / "models"

    def flags(self, **overrides):
        values = {
            "synth.store": self.store, "synth.num_users": 300, "synth.num_items": 3000, "synth.days": 3,
            "schema.num_buckets": 4,
            "es3.store": self.store, "es3.samples": self.samples, "es3.from": "2026-03-01", "es3.to": "2026-03-03",
            "dataset.samples": self.samples, "dataset.from": "2026-03-01", "dataset.to": "2026-03-02",
            "train.store": self.store, "train.output": self.output, "train.repository": self.models,
            "train.eval_from": "2026-03-03", "train.checkpoint_every": 20, "train.log_every": 20, "train.fit_requests": 500,
            "dataset.batch_candidates": 512, "train.warmup_steps": 10,
        }
        values.update({key.replace("__", "."): value for key, value in overrides.items()})
        out = ["--config", ROOT / "examples/synth/run.toml", "--threads", "2"]
        for key, value in values.items():
            out += ["--set", f"{key}={value}"]
        return out

    def run(self, verb, *args, expect=0, **overrides):
        return run(verb, *self.flags(**overrides), *args, expect=expect)

    def build_all(self):
        for verb in ("synth", "samples", "train"):
            self.run(verb)
        return self


def publish_planted(repository, model="main", seed=1, width=None):
    """The next version of a small random model (src/serve/planted_bundle_main.cc); returns its directory."""
    more = [] if width is None else [str(width)]
    done = subprocess.run([str(BUILD / "planted_bundle"), str(repository), model, str(seed), *more], check=True, capture_output=True,
                          text=True)
    return pathlib.Path(done.stdout.strip())


class Server:
    """uniscale-server on free ports, stopped at the end."""

    def __init__(self, repository, folder, *flags):
        port_file = pathlib.Path(folder) / "ports"
        if port_file.exists():
            port_file.unlink()
        self.log = open(pathlib.Path(folder) / "server.log", "wb")
        self.process = subprocess.Popen(
            [str(SERVER), "--repository", str(repository), "--port-file", str(port_file), "--set", "serve.port=0",
             "--set", "serve.metrics_port=0", "--set", "serve.grpc_port=0", "--set", "serve.poll_interval=50ms", "--set", "serve.drain_delay=300ms", *flags],
            stderr=self.log)
        self.port, self.metrics_port, self.grpc_port = self.wait_for_ports(port_file)

    def wait_for_ports(self, port_file):
        """The ports, once the binary listens; fails with its log if it ends before."""
        for _ in range(200):
            if port_file.exists():
                break
            if self.process.poll() is not None:
                raise AssertionError(pathlib.Path(self.log.name).read_text())
            time.sleep(0.05)
        return map(int, port_file.read_text().split())

    def request(self, method, path, body=None, headers=None, port=None, timeout=20):
        import http.client
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout)
        try:
            if isinstance(body, (dict, list)):
                import json
                body = json.dumps(body)
            connection.request(method, path, body, headers or {"Content-Type": "application/json"})
            reply = connection.getresponse()
            return reply.status, reply.read(), dict(reply.getheaders())
        finally:
            connection.close()

    def rank(self, body, model="main", **kwargs):
        import json
        status, text, _ = self.request("POST", f"/v1/rank/{model}", body, **kwargs)
        return status, json.loads(text)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=30)
        self.log.close()
        return self.process.returncode
