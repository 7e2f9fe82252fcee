"""The page /ui: over plain HTTP with every call that it makes, and in headless Chromium by keyboard alone."""

import base64
import hashlib
import json
import pathlib
import re
import sys
import time
import unittest
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import browser
from binaries import FolderTest, Server, publish_planted


class Ui(FolderTest):
    def setUp(self):
        super().setUp()
        publish_planted(self.folder / "models", seed=1)
        publish_planted(self.folder / "models", seed=2)
        self.server = Server(self.folder / "models", self.folder, "--items-log", str(self.folder / "items"))
        self.addCleanup(self.server.stop)

    def get(self, path, expect=200, **kwargs):
        status, text, _ = self.server.request("GET", path, **kwargs)
        self.assertEqual(status, expect, text)
        return json.loads(text)

    def post(self, path, body, expect=200):
        status, text, _ = self.server.request("POST", path, body)
        self.assertEqual(status, expect, text)
        return json.loads(text)

    def wait_for_previous(self):
        for _ in range(100):
            model = self.get("/v1/models")["models"][0]
            if len(model["versions"]) == 2:
                return model
            time.sleep(0.05)
        self.fail("the version before CURRENT was never loaded")

    def test_page_and_its_policy(self):
        status, text, headers = self.server.request("GET", "/ui")
        self.assertEqual(status, 200)
        page, policy = text.decode(), headers["Content-Security-Policy"]
        self.assertTrue(headers["Content-Type"].startswith("text/html"))
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
        self.assertIn("default-src 'none'", policy)
        self.assertIn("connect-src 'self'", policy)
        self.assertNotIn("unsafe", policy)
        for tag, directive in (("script", "script-src"), ("style", "style-src")):
            parts = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.S)
            self.assertEqual(len(parts), 1)
            digest = base64.b64encode(hashlib.sha256(parts[0].encode()).digest()).decode()
            self.assertIn(f"{directive} 'sha256-{digest}'", policy)
        # Self-contained: nothing is fetched from anywhere, no handler or style stands in an attribute.
        self.assertEqual(re.findall(r"(?:src|href|action)\s*=", page), [])
        self.assertEqual(re.findall(r"https?://", page), [])
        self.assertEqual(re.findall(r"<[^>]+\s(?:on\w+|style)\s*=", page), [])

    def test_every_call_that_the_page_makes(self):
        model = self.wait_for_previous()
        self.assertEqual((model["version"], model["versions"]), ("2", ["2", "1"]))
        examples = self.get("/v1/models/main/examples?version=2")["examples"]
        self.assertEqual(len(examples), 1)
        self.assertEqual(len(examples[0]["items"]["ids"]), 7)
        replies = {}
        for version in ("1", "2"):
            reply = self.post(f"/v1/rank/main?version={version}", {**examples[0], "return": ["scores", "order", "heads", "stages"]})
            self.assertEqual(reply["version"], version)
            self.assertEqual(set(reply["stages_ms"]), {"queue", "parse", "features", "score"})
            self.assertTrue(all(0 <= ms <= reply["took_ms"] for ms in reply["stages_ms"].values()), reply)
            why = self.post(f"/v1/explain?version={version}", {**examples[0], "model": "main", "item": 3})
            self.assertEqual((why["version"], why["score"]), (version, reply["scores"][3]))
            replies[version] = reply["scores"]
        self.assertNotEqual(replies["1"], replies["2"])
        self.assertEqual(self.post("/v1/rank/main", examples[0])["scores"], replies["2"])
        self.assertEqual(self.post("/v1/rank/main?version=3", examples[0], 404)["error"],
                         'model "main" serves version 2 and keeps version 1')
        self.post("/v1/items:upsert", {"items": [{"id": "new", "features": {"title": "red boots"}}]})
        found = self.post("/v1/items:lookup?version=2", {"model": "main", "ids": ["i3", "new", "nobody"]})["items"]
        self.assertEqual(found, [
            {"id": "i3", "known": True, "fresh": False, "features": {"price": 1.5, "title": "blue hat 3"}},
            {"id": "new", "known": True, "fresh": True, "features": {"title": "red boots"}},
            {"id": "nobody", "known": False, "fresh": False, "features": {}}])
        for body, status, text in (({}, 400, "body: model"), ({"model": "main", "ids": [1]}, 400, "body: ids: expected strings, got number"),
                                   ({"model": "other", "ids": []}, 404, 'no model "other"'),
                                   ({"model": "main", "ids": ["a"] * 1001}, 413, "ids: expected at most 1000, got 1001")):
            self.assertIn(text, self.post("/v1/items:lookup", body, status)["error"])

    def test_the_page_can_be_turned_off(self):
        other = self.folder / "other"
        other.mkdir()
        server = Server(self.folder / "models", other, "--set", "serve.ui=false", "--set", "serve.keep_previous=false")
        try:
            for path in ("/ui", "/v1/models/main/examples"):
                self.assertEqual(server.request("GET", path)[0], 404)
        finally:
            server.stop()

    @unittest.skipUnless(browser.find(), "no Chromium or Chrome here: apt-get install chromium")
    def test_in_a_browser_by_keyboard(self):
        self.wait_for_previous()
        with browser.Page(self.folder) as page:
            page.open(f"http://127.0.0.1:{self.server.port}/ui")
            page.wait("document.readyState == 'complete' && document.getElementById('status').textContent.startsWith('Pick')")
            self.assertEqual(page.value("document.getElementById('user').value"), "u1")
            # From the top: example, user, query, model, beside it, Rank.
            order = []
            for _ in range(6):
                page.press("Tab")
                order.append(page.value("document.activeElement.id"))
            self.assertEqual(order, ["example", "user", "query", "left", "right", "rank"])
            page.press("Enter", text="\r")
            page.wait("document.querySelectorAll('#list tbody tr').length == 7")
            example = self.get("/v1/models/main/examples")["examples"][0]
            body = {**example, "return": ["scores", "order", "heads"]}
            for version, column in (("2", 3), ("1", 8)):
                reply = self.post(f"/v1/rank/main?version={version}", body)
                ours = page.value(f"[...document.querySelectorAll('#list tbody td:nth-child({column}) small')].map(n => n.textContent)")
                self.assertEqual(ours, [example["items"]["ids"][i] for i in reply["order"]], version)
            engines = page.value("[...document.querySelectorAll('#list tbody td:nth-child(2) small')].map(n => n.textContent)")
            self.assertEqual(engines, example["items"]["ids"])
            titles = page.value("[...document.querySelectorAll('#list tbody td:nth-child(2) span')].map(n => n.textContent)")
            self.assertEqual(titles, example["items"]["features"]["title"])
            self.assertEqual(page.value("[...document.querySelectorAll('#list th')].map(n => n.textContent)"),
                             ["#", "Engine's order", "main 2", "moved", "score", "click", "purchase", "main 1", "moved", "score"])
            self.assertEqual(page.value("[...document.querySelectorAll('#time h3')].map(n => n.textContent)"), ["main 2", "main 1"])
            self.assertIn("score", page.value("document.getElementById('time').textContent"))
            # On to the first item of ours: why.
            for _ in range(2):
                page.press("Tab")
            self.assertEqual(page.value("document.activeElement.className"), "item")
            page.press("Enter", text="\r")
            page.wait("document.getElementById('why').textContent.includes('The engine had it at')")
            first = self.post("/v1/rank/main", body)["order"][0]
            why = self.post("/v1/explain", {**example, "model": "main", "item": first})
            shown = page.value("[...document.querySelectorAll('#why .bars > :nth-child(3n+1)')].map(n => n.textContent)")
            self.assertEqual(shown, [group["group"] for group in why["groups"]])
            self.assertIn(f"The engine had it at {first + 1}, main version 2 at 1", page.value("document.getElementById('why').textContent"))
            # Another user, typed: a stranger without a past.
            page.value("document.getElementById('user').focus(); document.getElementById('user').select()")
            page.type("<b>stranger</b>")
            page.press("Enter", text="\r")
            page.wait("document.getElementById('unknown').textContent.startsWith('The user.')")
            # What is pasted is checked.
            page.value("document.getElementById('body').value = '{'; document.getElementById('form').requestSubmit()")
            page.wait("document.getElementById('status').className == 'error'")
            self.assertIn("the request is not JSON", page.value("document.getElementById('status').textContent"))
            self.assertEqual(page.value("document.querySelectorAll('b').length"), 0)
            hosts = {urllib.parse.urlparse(url).netloc for url in page.requested() if url.startswith("http")}
            self.assertEqual(hosts, {f"127.0.0.1:{self.server.port}"})
            self.assertEqual([text for text in page.complaints() if "favicon" not in text], [])


if __name__ == "__main__":
    unittest.main()
