"""An open-loop HTTP client on one thread: requests leave at their times whether or not replies came back."""

import selectors
import socket
import time


class Sent:
    """One request: when it was due and left, when the whole reply was there, its status (0: none came)."""
    __slots__ = ("due", "sent", "done", "status", "body")

    def __init__(self, due):
        self.due, self.sent, self.done, self.status, self.body = due, 0.0, 0.0, 0, b""

    @property
    def latency(self):
        return self.done - self.sent


class _Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.out, self.into, self.request = b"", bytearray(), None


def _reply_of(data):
    """(status, body, keeps alive) of a whole HTTP reply, or None."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(data[:end]).lower()
    length = 0
    for line in head.split(b"\r\n")[1:]:
        if line.startswith(b"content-length:"):
            length = int(line[15:])
    if len(data) < end + 4 + length:
        return None
    return int(head[9:12]), bytes(data[end + 4:end + 4 + length]), b"connection: close" not in head


def post(path, body, headers=()):
    """The bytes of a POST request."""
    head = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def run(port, payloads, rate, seconds, drain=2.0, max_connections=1000):
    """Sends payloads[i % n] at `rate` a second for `seconds`; waits `drain` more for replies. Returns [Sent]."""
    selector = selectors.DefaultSelector()
    free, busy, everything = [], set(), []
    begin = time.perf_counter()
    total = int(rate * seconds)
    number = 0

    def close(connection):
        selector.unregister(connection.socket)
        connection.socket.close()
        busy.discard(connection)

    def flush(connection):
        try:
            done = connection.socket.send(connection.out)
        except BlockingIOError:
            done = 0
        connection.out = connection.out[done:]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.out else 0)
        selector.modify(connection.socket, wanted, connection)

    while number < total or busy:
        now = time.perf_counter()
        if now > begin + seconds + drain:
            break
        while number < total and begin + number / rate <= now:
            sent = Sent(begin + number / rate)
            everything.append(sent)
            number += 1
            if not free and len(busy) >= max_connections:
                continue  # counted as lost: status 0
            connection = free.pop() if free else _Connection(port)
            if connection.socket not in selector.get_map():
                selector.register(connection.socket, selectors.EVENT_READ, connection)
            busy.add(connection)
            sent.sent = time.perf_counter()
            connection.request, connection.into = sent, bytearray()
            connection.out = payloads[(number - 1) % len(payloads)]
            try:
                flush(connection)
            except OSError:
                close(connection)
        next_due = begin + number / rate if number < total else now + 0.05
        for key, events in selector.select(max(0.0, min(0.05, next_due - time.perf_counter()))):
            connection = key.data
            try:
                if events & selectors.EVENT_WRITE:
                    flush(connection)
                if not events & selectors.EVENT_READ:
                    continue
                data = connection.socket.recv(262144)
            except OSError:
                data = b""
            if not data:
                close(connection)
                if connection in free:
                    free.remove(connection)
                continue
            connection.into += data
            reply = _reply_of(connection.into)
            if reply is None or connection.request is None:
                continue
            request, connection.request = connection.request, None
            request.status, request.body, keep = reply
            request.done = time.perf_counter()
            busy.discard(connection)
            if keep:
                free.append(connection)
            else:
                close(connection)
    for key in list(selector.get_map().values()):
        key.data.socket.close()
    selector.close()
    return everything


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
