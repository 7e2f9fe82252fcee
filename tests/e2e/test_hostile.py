"""Hostile clients: every one gets its error fast, memory stays flat, and the next request is fine."""

import gzip
import json
import pathlib
import shutil
import socket
import struct
import sys
import tempfile
import time
import unittest
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from binaries import Server, publish_planted

# A refusal takes well under a millisecond; the bound leaves room for machines that others load too.
MAX_SECONDS = 0.1
GOOD = {"items": {"ids": ["i1", "i2", "stranger"]}}


def bytes_tensor(*texts):
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def ids_input(shape, binary=None, data=None):
    tensor = {"name": "item_ids", "datatype": "BYTES", "shape": shape}
    if binary is not None:
        tensor["parameters"] = {"binary_data_size": binary}
    if data is not None:
        tensor["data"] = data
    return tensor


class HostileTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="uniscale-"))
        publish_planted(cls.folder / "models")
        cls.server = Server(cls.folder / "models", cls.folder, "--set", "serve.header_timeout=2s")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        shutil.rmtree(cls.folder, ignore_errors=True)

    def rss_mib(self):
        for line in pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    def refused(self, path, body, statuses, headers=None, repeat=3):
        """The best of a few tries must be fast; every one must be refused with a reason."""
        best = float("inf")
        for _ in range(repeat):
            begin = time.perf_counter()
            status, reply, _ = self.server.request("POST", path, body, headers)
            best = min(best, time.perf_counter() - begin)
            self.assertIn(status, statuses, (path, body[:80], reply[:300]))
            reply = json.loads(reply)
            self.assertTrue(reply["error"] and reply["code"], reply)
        self.assertLess(best, MAX_SECONDS, (path, body[:80]))
        self.assertEqual(self.server.rank(GOOD)[0], 200)
        return reply["error"]

    def infer(self, inputs, raw=b"", length=None, statuses=(400,)):
        head = json.dumps({"inputs": inputs}).encode() if not isinstance(inputs, bytes) else inputs
        headers = {"Inference-Header-Content-Length": str(len(head) if length is None else length)}
        return self.refused("/v2/models/main/infer", head + raw, statuses, headers)


class Tensors(HostileTest):
    def test_shapes_that_overflow_or_lie(self):
        raw = bytes_tensor(b"i1")
        self.assertIn("too many elements", self.infer([ids_input([2**4, 2**60 + 2], len(raw))], raw))
        self.assertIn("too many elements", self.infer([ids_input([2**32, 2**32], len(raw))], raw))
        self.assertIn("shape: expected sizes of at least 0, got -1", self.infer([ids_input([-1], len(raw))], raw))
        self.assertIn("shape: expected whole numbers", self.infer([ids_input([2**64 - 1], len(raw))], raw))
        self.assertIn("shape: expected whole numbers", self.infer([ids_input([1.5], len(raw))], raw))
        self.assertIn("expected at most 8 dimensions, got 9", self.infer([ids_input([1] * 9, len(raw))], raw))
        self.assertIn("expected 2 elements, got 1", self.infer([ids_input([2], len(raw))], raw))
        self.assertIn("expected 0 elements, got more", self.infer([ids_input([0], len(raw))], raw))
        self.assertIn("data: expected 3 elements, got 2", self.infer([ids_input([3], data=["a", "b"])]))

    def test_sizes_that_lie(self):
        raw = bytes_tensor(b"i1")
        self.assertIn("binary_data_size: expected a number of at most 6, got 7", self.infer([ids_input([1], 7)], raw))
        self.assertIn("binary_data_size", self.infer([ids_input([1], -1)], raw))
        self.assertIn("binary_data_size", self.infer([ids_input([1], 2**63)], raw))
        self.assertIn("1 bytes after the last input", self.infer([ids_input([1], 6)], raw + b"x"))
        self.assertIn("an element of 4294967295 bytes, 2 are left", self.infer([ids_input([1], 6)], b"\xff\xff\xff\xff" + b"i1"))
        self.assertIn("cut off inside a length", self.infer([ids_input([1], 2)], b"\x01\x00"))
        price = {"name": "feature.price", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 3}}
        self.assertIn("expected 4 bytes, got 3", self.infer([ids_input([1], 6), price], raw + b"abc"))

    def test_header_lengths_that_lie(self):
        for length in ("99999999999", "-1", "1e3", "", "0x10", "18446744073709551616", "9" * 200):
            if length == "":
                continue  # an empty header is no header
            self.assertIn("Inference-Header-Content-Length", self.infer([ids_input([1], 6)], bytes_tensor(b"i1"), length))
        self.infer([ids_input([1], 6)], bytes_tensor(b"i1"), 0)

    def test_names_types_and_texts(self):
        raw = bytes_tensor(b"i1")
        self.assertIn("inputs: expected \"item_ids\"", self.infer([]))
        self.assertIn("given twice", self.infer([ids_input([1], 6), ids_input([1], 6)], raw + raw))
        self.assertIn("unknown input", self.infer([{**ids_input([1], 6), "name": "ids"}], raw))
        self.assertIn("datatype: expected BYTES, FP32, FP64, INT32 or INT64", self.infer([{**ids_input([1], 6), "datatype": "FP8"}], raw))
        for bad in (b"a\x00b", b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b""):
            packed = bytes_tensor(bad)
            self.infer([ids_input([1], len(packed))], packed)
        self.assertIn("NUL", self.infer([ids_input([1], 7)], bytes_tensor(b"a\0b")))
        many = bytes_tensor(*[b"i"] * 6000)
        self.assertIn("at most 1000 ids, got 6000", self.infer([ids_input([6000], len(many))], many, statuses=(413,)))


class Bodies(HostileTest):
    def test_depth(self):
        deep = b'{"items":{"ids":[]},"x":' + b"[" * 100 + b"]" * 100 + b"}"
        self.refused("/v1/rank/main", deep, (400,))
        self.infer(b'{"inputs":' + b"[" * 100 + b"]" * 100 + b"}")

    def test_compression_bombs_and_broken_streams(self):
        bomb = gzip.compress(b" " * (512 << 20), 9)
        before = self.rss_mib()
        for path in ("/v1/rank/main", "/v2/models/main/infer"):
            for _ in range(5):
                status, reply, _ = self.server.request("POST", path, bomb, {"Content-Encoding": "gzip"})
                self.assertEqual(status, 413, reply)
        self.assertLess(self.rss_mib() - before, 64)
        whole = json.dumps(GOOD).encode()
        for encoding, body in (("gzip", gzip.compress(whole)), ("deflate", zlib.compress(whole)), ("identity", whole)):
            self.assertEqual(self.server.request("POST", "/v1/rank/main", body, {"Content-Encoding": encoding})[0], 200)
        for body in (b"", b"x", gzip.compress(whole)[:-9], gzip.compress(whole) + b"x"):
            self.assertIn("not valid gzip data", self.refused("/v1/rank/main", body, (400,), {"Content-Encoding": "gzip"}))
        self.refused("/v1/rank/main", whole, (415,), {"Content-Encoding": "br"})

    def test_ids(self):
        for body in (b'{"items":{"ids":["a\\u0000b"]}}', b'{"items":{"ids":["\xff\xfe"]}}', b'{"items":{"ids":["\\ud800"]}}',
                     b'{"items":{"ids":[""]}}', b'{"items":{"ids":[7]}}'):
            self.refused("/v1/rank/main", body, (400,))

    def test_traversal_in_model_names(self):
        body = json.dumps(GOOD).encode()
        for name in ("..", "../main", "..%2fmain", "%2e%2e", "main/../main", "....//main", ".main", "a" * 65, "main%00", "m\u00e4in".encode().hex()):
            for path in (f"/v1/rank/{name}", f"/v2/models/{name}/infer", f"/v2/models/{name}/versions/1/infer"):
                self.refused(path, body, (404,), repeat=1)
        self.refused("/v2/models/main/versions/../1/infer", body, (404,))
        self.refused("/v2/models/main/versions/2/infer", body, (404,))
        self.refused("/v1/rerank", b'{"model":"../main","query":"q","documents":[]}', (404,))
        status, _, _ = self.server.request("POST", "/v1/models/..:load", port=self.server.metrics_port)
        self.assertEqual(status, 404)
        status, _, _ = self.server.request("POST", "/v1/models/main:load")
        self.assertEqual(status, 404)  # not on the public port

    def test_memory_is_flat_under_many_refusals(self):
        bad = [b"{" * 1000, b'{"items":{"ids":[' + b'"x",' * 100000 + b'"x"]}}', b"\x00" * 100000]
        for body in bad * 20:
            self.server.request("POST", "/v1/rank/main", body)
        before = self.rss_mib()
        for body in bad * 60:
            self.server.request("POST", "/v1/rank/main", body)
        self.assertLess(self.rss_mib() - before, 32)


class Connections(HostileTest):
    def test_a_trickling_header_is_cut_off(self):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=10) as connection:
            connection.sendall(b"POST /v1/rank/main HTTP/1.1\r\nX: ")
            begin = time.time()
            with self.assertRaises(ConnectionError):
                while time.time() < begin + 10:
                    connection.sendall(b"a")
                    time.sleep(0.1)
            self.assertLess(time.time() - begin, 6)  # header_timeout is 2 s
        self.assertEqual(self.server.rank(GOOD)[0], 200)


del HostileTest  # the base class itself holds no tests


if __name__ == "__main__":
    unittest.main()
