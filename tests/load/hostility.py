"""What must not go wrong in production, with pass numbers: `python tests/load/hostility.py swaps|restarts|publish|slow|soak`.

swaps     hot swaps under load, every 20th version corrupt: 0 errors, 0 replies that mix versions, 0 corrupt ones served
restarts  SIGTERM restarts of two replicas in turn behind a client-side balancer: 0 failed requests
publish   kill -9 of a publisher at random moments: CURRENT names a whole version every time
slow      slow connections beside good traffic: p99 of the good < 2x
soak      mixed traffic for minutes: memory and descriptors do not grow
"""

import argparse
import http.client
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
import open_loop
from binaries import BUILD, Server, publish_planted

SLOW_CLIENT = """
import resource, socket, sys, time
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
slow = []
def connect():
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    connection.sendall(b"POST /v1/rank/main HTTP/1.1\\r\\nHost: x\\r\\nX: ")
    return connection
for _ in range(int(sys.argv[2])):
    slow.append(connect())
print("open", flush=True)
while True:
    time.sleep(0.5)
    for n, connection in enumerate(slow):
        try:
            connection.sendall(b"a")
        except OSError:
            slow[n] = connect()
"""


def golden(directory):
    """(request, click probabilities) of a version's first golden request: from the double twin, not from the server."""
    line = json.loads((pathlib.Path(directory) / "golden.jsonl").read_text().splitlines()[0])
    del line["request"]["items"]["features"]["score"]  # which the model does not read
    line["request"]["user"]["features"]["city"] = None  # or the table's would be taken, which the twin did not see
    return line["request"], line["heads"]["click"]


def corrupt_copy(directory, version):
    """A copy of a version under another number with one bit of its weights flipped, and CURRENT on it."""
    bad = directory.parent / str(version)
    shutil.copytree(directory, bad)
    weights = bad / "weights.safetensors"
    weights.chmod(0o644)
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(bytes(raw))
    flip(directory.parent, version)
    return bad


def flip(folder, version):
    aside = folder / ".CURRENT.test"
    aside.write_text(f"{version}\n")
    aside.rename(folder / "CURRENT")


def load(server):
    status, body, _ = server.request("POST", "/v1/models/main:load", port=server.metrics_port)
    return status, json.loads(body)


def swaps(count, folder, every_corrupt=20):
    repository = folder / "models"
    directory = publish_planted(repository, seed=1)
    request, scores = golden(directory)
    want = {"1": scores}
    body = json.dumps({**request, "deadline_ms": 10000})
    server = Server(repository, folder)
    stop, errors, mixed, served, served_versions = threading.Event(), [], [], 0, set()

    def traffic():
        nonlocal served
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        while not stop.is_set():
            connection.request("POST", "/v1/rank/main", body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            text = json.loads(reply.read())
            if reply.status != 200:
                errors.append(text)
                continue
            served += 1
            served_versions.add(text["version"])
            expected = want.get(text["version"])
            if expected is None or max(abs(a - b) for a, b in zip(expected, text["scores"])) > 1e-5:
                mixed.append(text)
        connection.close()

    threads = [threading.Thread(target=traffic) for _ in range(2)]
    for thread in threads:
        thread.start()
    corrupt_served = corrupt = 0
    try:
        for n in range(count):
            # Published under another name first: its scores are known before it can serve.
            version = n + 2
            aside = publish_planted(folder / "aside", seed=version)
            want[str(version)] = golden(aside)[1]
            directory = publish_planted(repository, seed=version)
            if directory.name != str(version):
                raise AssertionError(f"expected version {version}, got {directory}")
            status, reply = load(server)
            if (status, reply.get("version")) != (200, str(version)):
                errors.append(reply)
            if n % every_corrupt == every_corrupt - 1:
                corrupt += 1
                bad = corrupt_copy(directory, 100_000 + version)
                status, reply = load(server)
                if (status, reply.get("code")) != (422, "bad_package"):
                    errors.append(reply)
                flip(directory.parent, version)
                shutil.rmtree(bad)
                load(server)
            for old in (directory.parent / str(version - 3), aside.parent / str(version - 3)):
                shutil.rmtree(old, ignore_errors=True)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        server.stop()
    corrupt_served = sum(int(version) >= 100_000 for version in served_versions)
    return {"swaps": count, "corrupt": corrupt, "served": served, "errors": len(errors), "mixed": len(mixed),
            "corrupt_served": corrupt_served}, ["errors", "mixed", "corrupt_served"]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Balancer:
    """Round robin over the replicas that say they are ready; a request that a replica did not take goes to the next."""

    def __init__(self, ports):
        self.ports, self.ready, self.stop = ports, {port: False for port in ports}, threading.Event()
        self.turn, self.retries = 0, 0
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.stop.is_set():
            for port in self.ports:
                try:
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
                    connection.request("GET", "/v2/health/ready")
                    self.ready[port] = connection.getresponse().status == 200
                    connection.close()
                except OSError:
                    self.ready[port] = False
            time.sleep(0.02)

    def post(self, path, body):
        for _ in range(4):
            self.turn += 1
            up = [port for port in self.ports if self.ready[port]] or self.ports
            connection = http.client.HTTPConnection("127.0.0.1", up[self.turn % len(up)], timeout=20)
            try:
                connection.connect()
            except ConnectionRefusedError:
                self.retries += 1
                continue
            try:
                connection.request("POST", path, body, {"Content-Type": "application/json"})
                reply = connection.getresponse()
                reply.read()
                return reply.status
            except (OSError, http.client.HTTPException) as error:
                return f"{type(error).__name__}: {error}"
            finally:
                connection.close()
        return "no replica"


def restarts(count, folder):
    repository = folder / "models"
    publish_planted(repository)
    ports, servers = [free_port(), free_port()], []

    def start(n):
        home = folder / f"replica{n}"
        home.mkdir(exist_ok=True)
        return Server(repository, home, "--set", f"serve.port={ports[n]}", "--set", "serve.drain_delay=200ms")

    servers = [start(0), start(1)]
    balancer = Balancer(ports)
    while not all(balancer.ready.values()):
        time.sleep(0.02)
    body = json.dumps({"items": {"ids": [f"i{n}" for n in range(50)]}})
    stop, failed, served = threading.Event(), [], 0

    def traffic():
        nonlocal served
        while not stop.is_set():
            status = balancer.post("/v1/rank/main", body)
            if status == 200:
                served += 1
            else:
                failed.append(status)

    threads = [threading.Thread(target=traffic) for _ in range(2)]
    for thread in threads:
        thread.start()
    bad_exits = 0
    try:
        for n in range(count):
            which = n % 2
            bad_exits += servers[which].stop() != 0
            servers[which] = start(which)
            end = time.monotonic() + 10
            while not balancer.ready[ports[which]] and time.monotonic() < end:
                time.sleep(0.01)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        balancer.stop.set()
        balancer.thread.join()
        for server in servers:
            server.stop()
    for one in failed[:5]:
        print("failed:", one)
    return {"restarts": count, "served": served, "retried": balancer.retries, "failed": len(failed), "bad_exits": bad_exits}, \
        ["failed", "bad_exits"]


def publish(count, folder, seed=1):
    repository = folder / "models"
    chance = random.Random(seed)
    begin = time.perf_counter()
    publish_planted(repository)
    usual = time.perf_counter() - begin
    server = Server(repository, folder)
    broken, runs, killed, published = [], 0, 0, 0
    try:
        while killed < count:
            runs += 1
            process = subprocess.Popen([str(BUILD / "planted_bundle"), str(repository), "main", str(runs + 1)], stdout=subprocess.DEVNULL)
            time.sleep(chance.uniform(0, 1.2 * usual))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
            text = (repository / "main" / "CURRENT").read_text()
            status, reply = load(server)
            if not text.strip().isdigit() or (status, reply.get("version")) != (200, text.strip()):
                broken.append((text, status, reply))
            published = max(published, int(text) if text.strip().isdigit() else 0)
        refused = [line for line in server.request("GET", "/metrics", port=server.metrics_port)[1].decode().splitlines()
                   if line.startswith("uniscale_model_loads_total") and "refused" in line]
    finally:
        server.stop()
    for one in broken[:5]:
        print("broken:", one)
    return {"kills": killed, "runs": runs, "versions": published, "broken": len(broken), "refused": len(refused)}, ["broken", "refused"]


def slow(count, folder, seconds=4.0, rate=100):
    repository = folder / "models"
    publish_planted(repository)
    server = Server(repository, folder, "--set", "serve.header_timeout=2s")
    payload = [open_loop.post("/v1/rank/main", json.dumps({"items": {"ids": [f"i{n}" for n in range(50)]}}).encode())]
    errors = 0

    def p99():
        nonlocal errors
        sent = open_loop.run(server.port, payload, rate, seconds)
        errors += sum(one.status != 200 for one in sent)
        return open_loop.percentile([one.latency for one in sent], 0.99)

    client = None
    try:
        # In turns, the best of each: what else the machine does hits both.
        alone = beside = float("inf")
        for _ in range(3):
            alone = min(alone, p99())
            client = subprocess.Popen([sys.executable, "-c", SLOW_CLIENT, str(server.port), str(count)], stdout=subprocess.PIPE, text=True)
            if client.stdout.readline() != "open\n":
                raise AssertionError("the slow connections did not open")
            beside = min(beside, p99())
            client.kill()
            client.wait()
            client.stdout.close()
    finally:
        if client is not None and client.poll() is None:
            client.kill()
            client.wait()
        server.stop()
    return {"connections": count, "alone_p99_ms": alone * 1e3, "beside_p99_ms": beside * 1e3, "p99_ratio": beside / alone, "errors": errors,
            "p99_missed": int(beside >= 2 * alone)}, ["errors", "p99_missed"]


def resident_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def slope(points):
    """Of the least-squares line through (x, y)."""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points))
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def soak(minutes, folder):
    repository = folder / "models"
    publish_planted(repository)
    server = Server(repository, folder, "--items-log", str(folder / "items"), "--log-requests", str(folder / "ranked"))
    good = json.dumps({"user": {"id": "u1"}, "items": {"ids": [f"i{n}" for n in range(200)]}})
    stop, counts = threading.Event(), {"good": 0, "refused": 0, "upserts": 0, "swaps": 0, "wrong": 0}

    def call(path, body, want, name, **kwargs):
        status, text, _ = server.request("POST", path, body, **kwargs)
        counts[name if status == want else "wrong"] += 1
        if status != want:
            print("wrong:", path, status, text[:200])

    def ranks():
        # At a steady pace: what waits for the rank log's next second is memory too, and follows the rate.
        due = time.monotonic()
        while not stop.is_set():
            due = max(due + 0.02, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))
            call("/v1/rank/main", good, 200, "good")
            call("/v1/rank/main", '{"items":', 400, "refused")
            call("/v2/models/main/infer", '{"inputs":[{"name":"item_ids","datatype":"BYTES","shape":[1],"data":["i1"]}]}', 200, "good")

    def changes():
        n = 0
        while not stop.is_set():
            n += 1
            items = [{"id": f"f{(n * 7 + k) % 500}", "features": {"price": n % 100, "title": f"title {n}"}} for k in range(20)]
            call("/v1/items:upsert", {"items": items}, 200, "upserts")
            if n % 20 == 0:
                directory = publish_planted(repository, seed=n)
                call("/v1/models/main:load", None, 200, "swaps", port=server.metrics_port)
                shutil.rmtree(directory.parent / str(int(directory.name) - 4), ignore_errors=True)
            time.sleep(0.1)

    threads = [threading.Thread(target=work) for work in (ranks, ranks, changes)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    points, descriptors = [], []
    try:
        while time.monotonic() < begin + 60 * minutes:
            time.sleep(0.5)
            at = (time.monotonic() - begin) / 60
            if at > minutes / 3:  # warm: every size was seen, the 500 fresh items are there
                points.append((at, resident_mib(server.process.pid)))
                descriptors.append(len(os.listdir(f"/proc/{server.process.pid}/fd")))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        code = server.stop()
    growth = slope(points) * (points[-1][0] - points[0][0])
    return {"minutes": minutes, **counts, "rss_mib": points[-1][1], "slope_mib_per_min": slope(points), "growth_mib": growth,
            "descriptors": descriptors[-1], "bad_exit": int(code != 0), "grew": int(growth > max(4.0, 0.05 * points[0][1])),
            "descriptors_grew": int(descriptors[-1] > descriptors[0] + 8)}, ["wrong", "bad_exit", "grew", "descriptors_grew"]


DEFAULTS = {"swaps": (swaps, 200), "restarts": (restarts, 100), "publish": (publish, 300), "slow": (slow, 1000), "soak": (soak, 20.0)}


def measure(name, count=None, **more):
    """({name: number}, [names of the numbers that must be 0])."""
    function, default = DEFAULTS[name]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for the server too, which inherits it
    with tempfile.TemporaryDirectory(prefix="uniscale-") as folder:
        try:
            return function(default if count is None else count, pathlib.Path(folder), **more)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def missed(numbers, zeros):
    return [name for name in zeros if numbers[name] != 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=DEFAULTS)
    parser.add_argument("count", nargs="?", type=float, help="how many; soak: minutes")
    arguments = parser.parse_args()
    count = arguments.count if arguments.what == "soak" or arguments.count is None else int(arguments.count)
    numbers, zeros = measure(arguments.what, count)
    print(f"load {arguments.what}: " + " ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
                                               for key, value in numbers.items()))
    bad = missed(numbers, zeros)
    if bad:
        print("missed:", ", ".join(bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
