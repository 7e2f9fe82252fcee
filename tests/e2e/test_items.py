"""Fresh items: POST /v1/items:upsert survives kill -9 at any moment."""

import http.client
import json
import pathlib
import random
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from binaries import FolderTest, Server, publish_planted


class Items(FolderTest):
    def start(self, *flags):
        return Server(self.folder / "models", self.folder, "--items-log", str(self.folder / "items"), *flags)

    def known(self, server, ids):
        status, reply = server.rank({"items": {"ids": ids}})
        self.assertEqual(status, 200, reply)
        missing = set(reply["missing"]["items"])
        return [place not in missing for place in range(len(ids))]

    def test_what_was_acknowledged_survives_kill_9(self):
        publish_planted(self.folder / "models")
        acknowledged, sent, seed = [], 0, random.Random(4)
        for round_number in range(10):
            server = self.start()
            try:
                text = pathlib.Path(server.log.name).read_text()
                self.assertIn('"event":"items_log_replayed"', text)
                for begin in range(0, len(acknowledged), 500):
                    part = acknowledged[begin:begin + 500]
                    self.assertTrue(all(self.known(server, part)), f"round {round_number}: an acknowledged item is gone")
                stop = threading.Event()

                def write():
                    nonlocal sent
                    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
                    try:
                        while not stop.is_set():
                            ids = [f"r{round_number}-{sent}-{n}" for n in range(20)]
                            sent += 1
                            body = json.dumps({"items": [{"id": i, "features": {"price": 2.5, "title": "x" * 200}} for i in ids]})
                            connection.request("POST", "/v1/items:upsert", body, {"Content-Type": "application/json"})
                            reply = connection.getresponse()
                            reply.read()
                            if reply.status == 200:
                                acknowledged.append(ids[0])
                                acknowledged.append(ids[-1])
                    except (OSError, http.client.HTTPException):
                        pass  # killed
                    finally:
                        connection.close()

                writer = threading.Thread(target=write)
                writer.start()
                time.sleep(0.05 + 0.15 * seed.random())
                server.process.kill()
                server.process.wait()
                stop.set()
                writer.join()
            finally:
                server.stop()
        self.assertGreater(len(acknowledged), 20)

    def test_a_torn_tail_is_counted_and_a_second_server_is_refused(self):
        publish_planted(self.folder / "models")
        server = self.start()
        body = {"items": [{"id": "new", "features": {"price": 2.5}}]}
        status, text, _ = server.request("POST", "/v1/items:upsert", body)
        self.assertEqual((status, json.loads(text)), (200, {"accepted": 1, "fresh_items": 1}))
        with self.assertRaises(AssertionError) as refused:
            other = self.folder / "other"
            other.mkdir()
            Server(self.folder / "models", other, "--items-log", str(self.folder / "items")).stop()
        self.assertIn("another server has this items log open", str(refused.exception))
        server.stop()
        with open(self.folder / "items" / "items.log", "ab") as log:
            log.write(b"usir\x20\0\0\0torn")
        server = self.start()
        try:
            self.assertEqual(self.known(server, ["new", "newer"]), [True, False])
            _, metrics, _ = server.request("GET", "/metrics", port=server.metrics_port)
            self.assertIn(b"uniscale_items_log_torn_bytes 12\n", metrics)
        finally:
            server.stop()


if __name__ == "__main__":
    unittest.main()
