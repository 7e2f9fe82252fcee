"""uniscale-server as a client meets it: answers, errors, limits, reload, drain."""

import json
import pathlib
import shutil
import socket
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from binaries import Server, Thread


class ServerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="uniscale-"))
        cls.thread = Thread(cls.folder).build_all()
        cls.golden = [json.loads(line) for line in (cls.thread.models / "main/1/golden.jsonl").read_text().splitlines()]
        cls.server = Server(cls.thread.models, cls.folder)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        shutil.rmtree(cls.folder, ignore_errors=True)

    def body(self, ids=("i1", "i2", "i3"), **more):
        return {"request_id": "r", "user": {"id": "u1"}, "query": {"text": "wool coat"},
                "context": {"domain": "search", "ts_ms": 1772500000000}, "items": {"ids": list(ids)}, **more}

    def assert_error(self, status, reply, want, code):
        self.assertEqual(status, want, reply)
        self.assertEqual(reply["code"], code)
        self.assertTrue(reply["error"])


class Answers(ServerTest):
    def test_golden_requests_score_as_in_training(self):
        for golden in self.golden[:20]:
            status, reply = self.server.rank({**golden["request"], "return": ["heads", "scores"]})
            self.assertEqual(status, 200, reply)
            for task, want in golden["heads"].items():
                for a, b in zip(reply["heads"][task], want):
                    self.assertAlmostEqual(a, b, delta=1e-5)

    def test_scores_permute_with_the_items(self):
        request = self.golden[0]["request"]
        ids = request["items"]["ids"]
        order = list(range(len(ids)))[::-1]
        permuted = json.loads(json.dumps(request))
        permuted["items"]["ids"] = [ids[i] for i in order]
        for name, values in permuted["items"]["features"].items():
            permuted["items"]["features"][name] = [values[i] for i in order]
        _, first = self.server.rank(request)
        _, second = self.server.rank(permuted)
        self.assertEqual([first["scores"][i] for i in order], second["scores"])

    def test_order_is_best_first_and_top_k_cuts_it(self):
        _, reply = self.server.rank(self.golden[0]["request"])
        scores = reply["scores"]
        self.assertEqual(reply["order"], sorted(range(len(scores)), key=lambda i: (-scores[i], i)))
        _, reply = self.server.rank({**self.golden[0]["request"], "top_k": 3})
        self.assertEqual(len(reply["order"]), 3)
        self.assertEqual(len(reply["scores"]), len(scores))

    def test_zero_items(self):
        status, reply = self.server.rank(self.body(ids=()))
        self.assertEqual((status, reply["scores"], reply["order"]), (200, [], []))

    def test_unknown_user_and_items_are_scored_and_reported(self):
        status, reply = self.server.rank(self.body(ids=("never-seen", "nor-this"), user={"id": "nobody"}))
        self.assertEqual(status, 200)
        self.assertEqual(reply["missing"], {"user": True, "items": [0, 1]})
        self.assertEqual(len(reply["scores"]), 2)

    def test_scores_are_written_with_a_decimal_point(self):
        _, text, _ = self.server.request("POST", "/v1/rank/main", self.body())
        numbers = text.decode().split('"scores":[')[1].split("]")[0].split(",")
        self.assertTrue(all("." in n or "e" in n for n in numbers), numbers)

    def test_health_models_and_metrics(self):
        self.assertEqual(self.server.request("GET", "/v2/health/live")[:2], (200, b'{"live":true}'))
        self.assertEqual(self.server.request("GET", "/v2/health/ready")[:2], (200, b'{"ready":true}'))
        status, text, _ = self.server.request("GET", "/v1/models")
        self.assertEqual(json.loads(text)["models"][0]["name"], "main")
        self.server.rank(self.body())
        status, text, _ = self.server.request("GET", "/metrics", port=self.server.metrics_port)
        self.assertEqual(status, 200)
        self.assertIn(b'uniscale_rank_requests_total{model="main",version="1",code="200"}', text)
        self.assertIn(b"uniscale_rank_duration_seconds_bucket", text)


class Errors(ServerTest):
    def test_too_many_items(self):
        self.assert_error(*self.server.rank(self.body(ids=[f"i{i}" for i in range(6000)])), 413, "too_many_items")

    def test_broken_json(self):
        status, reply = self.server.rank('{"items": {"ids": ["i1"')
        self.assert_error(status, reply, 400, "invalid_request")

    def test_deep_json(self):
        self.assert_error(*self.server.rank("[" * 101 + "]" * 101), 400, "invalid_request")

    def test_numbers_that_json_does_not_have(self):
        self.assert_error(*self.server.rank('{"items":{"ids":["i1"],"features":{"bm25":[NaN]}}}'), 400, "invalid_request")

    def test_invalid_utf8_and_nul_ids(self):
        self.assert_error(*self.server.rank(b'{"items":{"ids":["\xff\xfe"]}}'), 400, "invalid_request")
        self.assert_error(*self.server.rank('{"items":{"ids":["a\\u0000b"]}}'), 400, "invalid_request")

    def test_long_and_empty_ids(self):
        self.assert_error(*self.server.rank(self.body(ids=["x" * 257])), 400, "invalid_request")
        self.assert_error(*self.server.rank(self.body(ids=[""])), 400, "invalid_request")

    def test_unknown_feature_and_wrong_length(self):
        items = {"ids": ["i1", "i2"], "features": {"bm52": [1.0, 2.0]}}
        status, reply = self.server.rank(self.body(items=items))
        self.assert_error(status, reply, 400, "invalid_request")
        self.assertIn("bm52", reply["error"])
        status, reply = self.server.rank(self.body(items={"ids": ["i1", "i2"], "features": {"bm25": [1.0]}}))
        self.assertIn("expected 2 values, got 1", reply["error"])

    def test_other_domain(self):
        status, reply = self.server.rank(self.body(context={"domain": "feed", "ts_ms": 0}))
        self.assert_error(status, reply, 400, "invalid_request")
        self.assertIn("context.domain", reply["error"])

    def test_unknown_model_path_and_method(self):
        self.assert_error(*self.server.rank(self.body(), model="other"), 404, "unknown_model")
        for name in ("..", "%2e%2e", "../../etc/passwd", ".hidden", "a" * 65):
            self.assertEqual(self.server.rank(self.body(), model=name)[0], 404, name)
        self.assertEqual(self.server.request("GET", "/v1/rank/main")[0], 405)
        self.assertEqual(self.server.request("GET", "/nothing")[0], 404)

    def test_content_type(self):
        status, text, _ = self.server.request("POST", "/v1/rank/main", "x=1", {"Content-Type": "application/x-www-form-urlencoded"})
        self.assertEqual(status, 415)

    def test_body_too_large(self):
        status, _, _ = self.server.request("POST", "/v1/rank/main", b" " * (9 << 20))
        self.assertEqual(status, 413)

    def test_hostile_bodies_leave_the_server_well(self):
        for body in ('{"items":{"ids":' + "[" * 50 + "]" * 50 + "}}", '"text"', "null", "[]", "1e999", '{"items":{"ids":{}}}',
                     '{"items":{"ids":["a"]},"history":[{"item_id":"a","action":"click","ts_ms":-9223372036854775808}]}',
                     '{"items":{"ids":["a"]},"context":{"ts_ms":9223372036854775807}}', '{"items":{"ids":["a"]},"deadline_ms":-1}'):
            status, reply = self.server.rank(body)
            self.assertIn(status, (200, 400), (body[:80], reply))
        self.assertEqual(self.server.rank(self.body())[0], 200)

    def test_garbage_instead_of_http(self):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=10) as client:
            client.sendall(b"\x16\x03\x01\x02\x00garbage\r\n\r\n")
            self.assertIn(b"400", client.recv(4096))
        self.assertEqual(self.server.rank(self.body())[0], 200)


class Life(ServerTest):
    def test_deadline(self):
        status, reply = self.server.rank(self.body(ids=[f"i{i}" for i in range(1000)], deadline_ms=0.001, request_id="late"))
        self.assertIn(status, (200, 504))
        if status == 504:
            self.assertEqual((reply["code"], reply["request_id"]), ("deadline_exceeded", "late"))

    def test_slow_header_is_cut_off(self):
        server = Server(self.thread.models, self.folder / "models", "--set", "serve.header_timeout=300ms")
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
                client.sendall(b"POST /v1/rank/main HTTP/1.1\r\nHost: x\r\n")
                begin = time.time()
                self.assertEqual(client.recv(4096), b"")
                self.assertLess(time.time() - begin, 5)
        finally:
            server.stop()

    def test_reload_under_traffic_and_a_corrupt_package(self):
        failures, versions, stop = [], set(), threading.Event()

        def traffic():
            while not stop.is_set():
                status, reply = self.server.rank(self.body())
                versions.add(reply.get("version"))
                if status != 200:
                    failures.append(reply)

        client = threading.Thread(target=traffic)
        client.start()
        try:
            self.thread.run("export")
            deadline = time.time() + 20
            while "2" not in versions and time.time() < deadline:
                time.sleep(0.05)
            self.assertIn("2", versions)
            # A package whose weights were changed after its manifest was written.
            model = self.thread.models / "main"
            shutil.copytree(model / "2", model / "3")
            weights = bytearray((model / "3/weights.safetensors").read_bytes())
            weights[-1] ^= 1
            (model / "3/weights.safetensors").write_bytes(bytes(weights))
            (model / "CURRENT").write_text("3\n")
            time.sleep(1)
            (model / "CURRENT").write_text("not a number\n")
            time.sleep(0.5)
        finally:
            stop.set()
            client.join()
        self.assertEqual(failures, [])
        self.assertNotIn("3", versions)
        _, text, _ = self.server.request("GET", "/metrics", port=self.server.metrics_port)
        self.assertIn(b'uniscale_model_loads_total{model="main",result="refused"}', text)
        (self.thread.models / "main/CURRENT").write_text("2\n")

    def test_sigterm_drains(self):
        server = Server(self.thread.models, self.folder / "models")
        self.assertEqual(server.rank(self.body())[0], 200)
        import signal
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        self.assertEqual(server.request("GET", "/v2/health/ready")[0], 503)
        self.assertEqual(server.rank(self.body())[0], 200)  # still served during the drain delay
        server.process.wait(timeout=30)
        self.assertEqual(server.stop(), 0)


del ServerTest  # the base class itself holds no tests


if __name__ == "__main__":
    unittest.main()
