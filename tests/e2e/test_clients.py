"""Stock clients, each in a process and a virtual environment of its own: `make clients` sets them up."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from binaries import ROOT, Server, publish_planted


class StockClients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="uniscale-")
        publish_planted(f"{cls.folder.name}/models")
        cls.server = Server(f"{cls.folder.name}/models", cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()

    def run_client(self, name, script):
        python = ROOT / f".venv-{name}" / "bin" / "python"
        if not python.exists():
            self.skipTest(f"no .venv-{name}: run `make clients`")
        done = subprocess.run([str(python), str(ROOT / "tests/clients" / script), str(self.server.port), str(self.server.grpc_port), "main"],
                              capture_output=True, text=True, timeout=120)
        self.assertEqual((done.returncode, done.stdout.splitlines()[-1:]), (0, ["ok"]), done.stdout[-2000:] + done.stderr[-4000:])

    def test_tritonclient(self):
        self.run_client("triton", "triton.py")

    def test_kserve(self):
        self.run_client("kserve", "kserve_client.py")


if __name__ == "__main__":
    unittest.main()
