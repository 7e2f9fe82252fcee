"""Headless Chromium over its debugging pipe (--remote-debugging-pipe): plain Python, no driver to install."""

import json
import os
import select
import shutil
import subprocess
import time


def find():
    """Path of a Chromium or Chrome, or None."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if path := shutil.which(name):
            return path
    return None


class Page:
    """One page of a browser of its own; `with Page(folder) as page:`."""

    def __init__(self, folder):
        to_browser, self.write_fd = os.pipe()
        self.read_fd, from_browser = os.pipe()

        def wire():  # the browser reads commands from 3 and writes to 4
            os.dup2(to_browser, 200)
            os.dup2(from_browser, 201)
            os.dup2(200, 3)
            os.dup2(201, 4)

        self.process = subprocess.Popen(
            [find(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder}/browser",
             "--remote-debugging-pipe", "about:blank"],
            preexec_fn=wire, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.buffer, self.next_id, self.session, self.events = b"", 0, None, []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.read_fd)
        os.close(self.write_fd)

    def send(self, method, timeout=60, **params):
        self.next_id += 1
        message = {"id": self.next_id, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write_fd, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + timeout
        while True:
            while b"\0" in self.buffer:
                one, self.buffer = self.buffer.split(b"\0", 1)
                reply = json.loads(one)
                if reply.get("id") == self.next_id:
                    if "error" in reply:
                        raise AssertionError(f"{method}: {reply['error']}")
                    return reply["result"]
                self.events.append(reply)
            if not select.select([self.read_fd], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"{method}: the browser does not answer")
            self.buffer += os.read(self.read_fd, 1 << 16)

    def open(self, url):
        self.send("Page.navigate", url=url)

    def value(self, script):
        """The value of a JavaScript expression."""
        out = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in out:
            raise AssertionError(f"{script}: {out['exceptionDetails']}")
        return out["result"].get("value")

    def wait(self, script, timeout=60):
        """Until the expression is true."""
        end = time.monotonic() + timeout
        while not self.value(script):
            if time.monotonic() > end:
                raise AssertionError(f"never true: {script}\n{self.value('document.body.innerText')[:2000]}")
            time.sleep(0.05)

    def press(self, key, code=None, text=None, modifiers=0):
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=code or key, text=text or "", modifiers=modifiers,
                  windowsVirtualKeyCode={"Tab": 9, "Enter": 13, "Home": 36, "End": 35, " ": 32}.get(key, 0))
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, code=code or key, modifiers=modifiers)

    def type(self, text):
        self.send("Input.insertText", text=text)

    def complaints(self):
        """What the page or its policy complained about so far."""
        out = []
        for event in self.events:
            if event.get("method") == "Runtime.exceptionThrown":
                out.append(event["params"]["exceptionDetails"]["text"])
            if event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
                out.append(event["params"]["entry"]["text"])
        return out

    def requested(self):
        return [event["params"]["request"]["url"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
