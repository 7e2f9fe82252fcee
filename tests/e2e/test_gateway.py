"""uniscale-gateway between a client and a scripted engine: OpenSearch's and Solr's JSON, good, slow, failing and garbage."""

import http.server
import json
import pathlib
import signal
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from binaries import BUILD, FolderTest, Server, publish_planted, run

NUM_ITEMS = 30


class Engine:
    """Answers searches over items i0 … i29, scores falling; `mode` says how it behaves; keeps what it was asked."""

    def __init__(self, certificate=None):
        engine = self
        self.mode, self.asked = "good", []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                engine.asked.append((self.command, self.path, body, dict(self.headers)))
                status, reply = engine.reply(self.path, body)
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("X-Engine", "scripted")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                try:
                    self.wfile.write(reply)
                except OSError:  # the gateway waited no longer
                    self.close_connection = True

            do_GET = do_POST = do_PUT = answer

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def reply(self, path, body):
        target = urllib.parse.urlsplit(path)
        if not target.path.endswith(("_search", "select")):
            return 200, b'{"passed": true}'
        if target.path.endswith("select"):
            query = dict(urllib.parse.parse_qsl(target.query))
            first, size = int(query.get("start", 0)), int(query.get("rows", 10))
        else:
            asked = json.loads(body or b"{}")
            first, size = asked.get("from", 0), asked.get("size", 10)
        wide = size >= NUM_ITEMS
        if self.mode == "slow":
            time.sleep(3)
        if self.mode == "closes":
            return None, b""
        if self.mode == "wide 500" and wide:
            return 500, b'{"error": "too much"}'
        if self.mode == "500":
            return 500, b'{"error": "broken"}'
        if self.mode == "garbage" or (self.mode == "wide garbage" and wide):
            return 200, b"<html>not JSON"
        items = range(first, min(first + size, NUM_ITEMS))
        if target.path.endswith("select"):
            docs = [{"id": f"i{i}", "title": f"t{i}", **({"score": 30.0 - i} if "score" in query.get("fl", "") else {})} for i in items]
            return 200, json.dumps({"responseHeader": {"status": 0}, "response": {"numFound": NUM_ITEMS, "start": first, "docs": docs}}).encode()
        hits = [{"_index": "shop", "_id": f"i{i}", "_score": 30.0 - i, "_source": {"price": i * 1.5}} for i in items]
        return 200, json.dumps({"took": 1, "hits": {"total": {"value": NUM_ITEMS}, "max_score": 30.0, "hits": hits}}).encode()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Gateway(Server):
    """The binary on free ports; `request` as for the server."""

    def __init__(self, folder, *flags):
        port_file = pathlib.Path(folder) / "gateway-ports"
        port_file.unlink(missing_ok=True)
        self.log = open(pathlib.Path(folder) / "gateway.log", "wb")
        self.process = subprocess.Popen(
            [str(BUILD / "uniscale-gateway"), "--port-file", str(port_file), "--set", "gateway.port=0", "--set",
             "gateway.metrics_port=0", "--set", "gateway.drain_delay=100ms", "--set", f"gateway.depth={NUM_ITEMS}", *flags],
            stderr=self.log)
        self.port, self.metrics_port = self.wait_for_ports(port_file)


class GatewayTest(FolderTest):
    engine_name, flags = "opensearch", ()

    def setUp(self):
        super().setUp()
        publish_planted(self.folder / "models")
        self.engine = Engine()
        self.addCleanup(self.engine.stop)
        self.server = Server(self.folder / "models", self.folder)
        self.addCleanup(self.server.stop)
        self.gateway = Gateway(self.folder, "--engine", self.engine_name, "--upstream", f"http://127.0.0.1:{self.engine.port}",
                               "--server", f"http://127.0.0.1:{self.server.port}", "--set", "gateway.deadline=2s", "--set",
                               f"gateway.log_requests={self.folder / 'log'}", *self.flags)
        self.addCleanup(self.gateway.stop)

    def search(self, body, headers=None, path="/shop/_search"):
        status, text, head = self.gateway.request("POST", path, body, {"Content-Type": "application/json", **(headers or {})})
        return status, text, head.get("X-Uniscale", "")

    def ids(self, text):
        return [hit["_id"] for hit in json.loads(text)["hits"]["hits"]]

    def best(self, user, query):
        """The server's own order of all items."""
        items = [f"i{i}" for i in range(NUM_ITEMS)]
        status, reply = self.server.rank({"user": {"id": user}, "query": {"text": query}, "items": {"ids": items}})
        self.assertEqual(status, 200, reply)
        order = [items[place] for place in reply["order"]]
        self.assertNotEqual(order, items)
        return order


class OpenSearch(GatewayTest):
    BODY = {"query": {"match": {"title": "hat"}}, "from": 3, "size": 5, "ext": {"ubi": {"client_id": "u1", "query_id": "q1"}}}

    def test_a_search_comes_back_in_the_models_order(self):
        best = self.best("u1", "hat")
        status, text, done = self.search(self.BODY, {"Authorization": "Basic abc", "Accept-Encoding": "gzip"})
        self.assertEqual((status, done), (200, "ranked"))
        self.assertEqual(self.ids(text), best[3:8])
        reply = json.loads(text)
        self.assertEqual(reply["hits"]["total"], {"value": NUM_ITEMS})
        for hit in reply["hits"]["hits"]:  # the engine's own score stays
            self.assertEqual(hit["_score"], 30.0 - int(hit["_id"][1:]))
        method, path, body, headers = self.engine.asked[-1]
        self.assertEqual((method, path, json.loads(body)), ("POST", "/shop/_search", {**self.BODY, "from": 0, "size": NUM_ITEMS}))
        self.assertEqual(headers["Authorization"], "Basic abc")
        self.assertNotIn("Accept-Encoding", headers)

    def test_what_is_no_search_passes_untouched(self):
        status, text, head = self.gateway.request("PUT", "/shop/_doc/7?refresh=true", b'{"a" : 1}', {"X-Mine": "yes"})
        self.assertEqual((status, json.loads(text), head["X-Uniscale"], head["X-Engine"]),
                         (200, {"passed": True}, "passed: not a search", "scripted"))
        method, path, body, headers = self.engine.asked[-1]
        self.assertEqual((method, path, body, headers["X-Mine"]), ("PUT", "/shop/_doc/7?refresh=true", b'{"a" : 1}', "yes"))
        status, text, done = self.search({"sort": ["price"], "size": 4})
        self.assertEqual((done, self.ids(text)), ("passed: sorted", ["i0", "i1", "i2", "i3"]))

    def test_without_the_server_the_engines_order_is_served(self):
        self.server.stop()
        status, text, done = self.search(self.BODY)
        self.assertEqual((status, done), (200, "failed open: server unreachable"))
        self.assertEqual(self.ids(text), [f"i{i}" for i in range(3, 8)])

    def test_an_engine_that_will_not_go_deep_is_asked_again_as_it_was(self):
        for mode, why in (("wide 500", "engine status 500"), ("wide garbage", "engine answer")):
            self.engine.mode = mode
            status, text, done = self.search(self.BODY)
            self.assertEqual((status, done), (200, f"failed open: {why}"))
            self.assertEqual(self.ids(text), [f"i{i}" for i in range(3, 8)])
            self.assertEqual(json.loads(self.engine.asked[-1][2]), self.BODY)

    def test_what_the_engine_says_is_said(self):
        for mode, want in (("500", (500, b'{"error": "broken"}')), ("garbage", (200, b"<html>not JSON"))):
            self.engine.mode = mode
            status, text, done = self.search(self.BODY)
            self.assertEqual((status, text), want)
            self.assertTrue(done.startswith("failed open"), done)

    def test_an_engine_that_hangs_up_or_is_away_is_a_502(self):
        self.engine.mode = "closes"
        status, text, _ = self.search(self.BODY)
        self.assertEqual((status, json.loads(text)["code"]), (502, "engine_unreachable"))
        self.engine.mode = "good"
        self.assertEqual(self.search(self.BODY)[0], 200)

    def test_many_at_once(self):
        best, wrong = self.best("u1", "hat")[3:8], []

        def client():
            for _ in range(20):
                _, text, done = self.search(self.BODY)
                if done != "ranked" or self.ids(text) != best:
                    wrong.append((done, text))
        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        _, text, _ = self.gateway.request("GET", "/metrics", port=self.gateway.metrics_port)
        self.assertIn(b'uniscale_gateway_searches_total{outcome="ranked",reason=""} 160', text)
        self.assertIn(b"uniscale_gateway_rank_duration_seconds_count 160", text)

    def test_the_log_is_training_input_with_every_candidate(self):
        import pyarrow.parquet
        best = self.best("u1", "hat")
        self.search(self.BODY)
        self.server.stop()
        self.search({**self.BODY, "ext": {"ubi": {"client_id": "u2", "query_id": "q2"}}})
        self.assertEqual(self.gateway.stop(), 0)
        (self.folder / "run.toml").write_text(
            f'[schema]\nnum_buckets = 1\n[ingest]\nstore = "{self.folder}/store"\nmax_reject_share = 0.0\n'
            f'[[source]]\nname = "ranked"\npath = "{self.folder}/log"\n')
        run("ingest", "--config", self.folder / "run.toml")
        rows = {row["request_id"]: row for file in (self.folder / "store/requests").rglob("*.parquet")
                for row in pyarrow.parquet.read_table(file).to_pylist()}
        self.assertEqual({(row["user_id"], row["query"], row["domain"], len(row["candidates"])) for row in rows.values()},
                         {("u1", "hat", "search", NUM_ITEMS), ("u2", "hat", "search", NUM_ITEMS)})
        shown = {one["item_id"]: one["position"] for one in rows["q1"]["candidates"]}
        self.assertEqual(shown, {item: place if 4 <= place <= 8 else None for place, item in enumerate(best, 1)})
        shown = {one["item_id"]: (one["position"], one["score"]) for one in rows["q2"]["candidates"]}
        self.assertEqual(shown, {f"i{i}": (i + 1 if 3 <= i < 8 else None, 30.0 - i) for i in range(NUM_ITEMS)})


class SlowEngine(GatewayTest):
    flags = ("--set", "gateway.engine_timeout=300ms")

    def test_is_a_504_in_time(self):
        self.engine.mode = "slow"
        begin = time.monotonic()
        status, text, _ = self.search(OpenSearch.BODY)
        self.assertEqual((status, json.loads(text)["code"]), (504, "engine_timeout"))
        self.assertLess(time.monotonic() - begin, 2)


class SlowServer(FolderTest):
    def test_the_engines_order_is_served_at_the_deadline(self):
        silent = socket.create_server(("127.0.0.1", 0))  # accepts and says nothing
        self.addCleanup(silent.close)
        engine = Engine()
        self.addCleanup(engine.stop)
        gateway = Gateway(self.folder, "--upstream", f"http://127.0.0.1:{engine.port}", "--server",
                          f"http://127.0.0.1:{silent.getsockname()[1]}", "--set", "gateway.deadline=100ms")
        self.addCleanup(gateway.stop)
        begin = time.monotonic()
        status, text, head = gateway.request("POST", "/shop/_search", {"size": 3})
        self.assertLess(time.monotonic() - begin, 1.5)
        self.assertEqual((status, head["X-Uniscale"]), (200, "failed open: late"))
        self.assertEqual([hit["_id"] for hit in json.loads(text)["hits"]["hits"]], ["i0", "i1", "i2"])


class Solr(GatewayTest):
    engine_name = "solr"

    def test_a_search_comes_back_in_the_models_order(self):
        best = self.best("u1", "wool hat")
        status, text, head = self.gateway.request("GET", "/solr/shop/select?q=wool+hat&start=2&rows=4&fl=id", headers={"X-Uniscale-User": "u1"})
        self.assertEqual((status, head["X-Uniscale"]), (200, "ranked"))
        response = json.loads(text)["response"]
        self.assertEqual([one["id"] for one in response["docs"]], best[2:6])
        self.assertEqual((response["start"], response["numFound"]), (2, NUM_ITEMS))
        self.assertNotIn("score", response["docs"][0])


@unittest.skipUnless(shutil.which("openssl"), "no openssl to make a certificate")
class Https(FolderTest):
    def setUp(self):
        super().setUp()
        self.certificate = (self.folder / "cert.pem", self.folder / "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=engine", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-out", self.certificate[0], "-keyout", self.certificate[1]],
                       check=True, capture_output=True)
        self.engine = Engine(self.certificate)
        self.addCleanup(self.engine.stop)

    def search(self, host, *flags):
        gateway = Gateway(self.folder, "--upstream", f"https://{host}:{self.engine.port}", *flags)
        try:
            replies = [gateway.request("POST", "/shop/_search", {"size": 3}) for _ in range(3)]
        finally:
            self.assertEqual(gateway.stop(), 0)
        self.assertEqual(len({status for status, _, _ in replies}), 1)
        return replies[-1][0], json.loads(replies[-1][1])

    def test_an_engine_is_known_by_its_certificate(self):
        status, reply = self.search("127.0.0.1", "--set", f"gateway.ca_file={self.certificate[0]}")
        self.assertEqual((status, len(reply["hits"]["hits"])), (200, 3))

    def test_an_unknown_certificate_or_another_name_is_refused_unless_told(self):
        status, reply = self.search("127.0.0.1")
        self.assertEqual((status, reply["code"]), (502, "engine_unreachable"))
        self.assertIn("certificate", reply["error"])
        status, reply = self.search("localhost", "--set", f"gateway.ca_file={self.certificate[0]}")
        self.assertEqual((status, reply["code"]), (502, "engine_unreachable"))
        status, reply = self.search("127.0.0.1", "--set", "gateway.verify_tls=false")
        self.assertEqual((status, len(reply["hits"]["hits"])), (200, 3))

    def test_a_file_that_is_no_authority_is_named(self):
        (self.folder / "no.pem").write_text("nothing")
        done = subprocess.run([str(BUILD / "uniscale-gateway"), "--upstream", "https://127.0.0.1:1", "--set",
                               f"gateway.ca_file={self.folder}/no.pem"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"gateway.ca_file: {self.folder}/no.pem: expected a PEM file", done.stderr)


class Mistakes(FolderTest):
    def test_name_the_key(self):
        for flags, want in ((("--upstream", "es:9200"), "gateway.upstream: expected http://host[:port][/path], or https"),
                            ((), "gateway.upstream: expected the engine's http://host:port or https"),
                            (("--upstream", "http://es:9200", "--engine", "sphinx"), "gateway.engine")):
            _, stderr = run("gateway", *flags, expect=2)
            self.assertIn(want, stderr)

    def test_the_verb_starts_the_gateway(self):
        engine = Engine()
        self.addCleanup(engine.stop)
        ports = self.folder / "ports"
        process = subprocess.Popen([str(BUILD / "uniscale"), "gateway", "--upstream", f"http://127.0.0.1:{engine.port}", "--port", "0",
                                    "--metrics-port", "0", "--port-file", str(ports), "--set", "gateway.drain_delay=50ms"],
                                   stderr=subprocess.DEVNULL)
        try:
            for _ in range(200):
                if ports.exists():
                    break
                time.sleep(0.05)
            connection = socket.create_connection(("127.0.0.1", int(ports.read_text().split()[0])))
            connection.close()
        finally:
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(timeout=30), 0)


if __name__ == "__main__":
    unittest.main()
