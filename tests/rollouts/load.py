"""Requests in great number, and a check of every answer against the version that it names.

The client is one event loop in a process of its own: the threads of a Python process wait for each other, which is not the
server's doing. In an open loop a request goes out when it is due, on a connection of its own if need be, and its latency
counts from that moment on, so that waiting is never forgotten.
"""

import array
import contextlib
import json
import multiprocessing
import random
import selectors
import threading
import time

import common
import models

# An answer that takes longer has failed.
PATIENCE = 30
# A connection that idled for so long may be closed by the other end at any moment.
IDLE = 20
# Fewer than wait in the queue of a model at most. What is due then is sent as soon as one of them is free.
MOST_CONNECTIONS = 500


class Load:
    """Asks the model `m` as long as the context lasts. `rate` is requests a second, at even distances; without one each of
    so many clients asks again as soon as it is answered. `flips` is what the versions are known to answer otherwise, `keys`
    how many callers there are, who name themselves by the header X-User-Id."""

    def __init__(self, server, rate=None, clients=16, flips=None, keys=0, path="/predict/m", seed=1):
        self.address = server.http
        self.rate, self.clients, self.flips, self.keys, self.path, self.seed = rate, clients, flips or {}, keys, path, seed
        self.answers, self.wrong, self.failed = {}, [], []
        # Of each request: when it was due, how long it took, and which version answered, 0 for none.
        self.due, self.took, self.version = array.array("d"), array.array("d"), array.array("q")
        # Of callers: when they were due and answered, by whom, which version it was. Of an open loop: how late they were sent.
        self.callers, self.delays = [], array.array("d")

    def __enter__(self):
        receiver, sender = multiprocessing.Pipe(duplex=False)
        self._ending = multiprocessing.Event()
        self._process = multiprocessing.Process(target=self._run, args=(sender,), daemon=True)
        self._process.start()
        sender.close()
        self._told = None
        # Read at once: what is told at the end is more than a pipe holds.
        self._reader = threading.Thread(target=self._read, args=(receiver,), daemon=True)
        self._reader.start()
        return self

    def _read(self, receiver):
        with contextlib.suppress(EOFError):
            self._told = receiver.recv()

    def __exit__(self, *_):
        self._ending.set()
        self._reader.join(PATIENCE * 3)
        self._process.kill()
        if self._told is None:
            raise SystemExit("the client did not end")
        self.answers, self.wrong, self.failed, self.callers, self.due, self.took, self.version, self.delays = self._told

    def _run(self, sender):
        client = _Client(self)
        client.run(self._ending)
        sender.send((client.answers, client.wrong, client.failed, client.callers, client.due, client.took, client.version, client.delays))
        sender.close()

    @property
    def n(self):
        return len(self.due)

    @property
    def latencies(self):
        return zip(self.due, self.took)

    @property
    def versions(self):
        return zip(self.due, self.took, self.version)

    def p99(self, since=0.0, until=float("inf")):
        """Milliseconds, of what was due in this time."""
        took = [took for due, took in self.latencies if since <= due < until]
        return common.percentile(took, 0.99) * 1000 if took else float("nan")

    def by(self, since):
        """The versions that answered what was due since then."""
        return {version for due, _, version in self.versions if due >= since}

    def told(self):
        """What came of it, in words."""
        delay = f", 99 % sent within {common.percentile(self.delays, 0.99) * 1000:.1f} ms of when they were due" if self.delays else ""
        faults = "".join(f"\n  {what}: {list(found)[:3]}" for what, found in [("failed", self.failed), ("wrong", self.wrong)] if found)
        return f"{self.n} requests, {len(self.failed)} failed, {len(self.wrong)} wrong{delay}{faults}"

    @property
    def is_good(self):
        return self.n > 0 and not self.failed and not self.wrong


def capacity(server, seconds=5, clients=16, **named):
    """Requests a second that this client gets answered when it asks as fast as it can."""
    with Load(server, clients=clients, **named) as load:
        time.sleep(1)
        begun = time.monotonic()
        time.sleep(seconds)
        ended = time.monotonic()
    if not load.is_good:
        raise SystemExit(f"the capacity cannot be measured: {load.told()}")
    return sum(begun <= sent + took < ended for sent, took in load.latencies) / seconds


class _Connection:
    def __init__(self, address):
        self.socket = common.connect(address, 10)
        self.socket.setblocking(False)
        self.buffer, self.asked, self.idle_since = b"", None, 0.0

    def answer(self):
        """Status and body as soon as all of it is there."""
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return None
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        if len(body) < length:
            return None
        self.buffer = body[length:]
        return int(lines[0].split()[1]), body[:length]


class _Client:
    def __init__(self, load):
        self.load, self.draw = load, random.Random(load.seed)
        self.selector = selectors.DefaultSelector()
        self.idle, self.waiting = [], 0
        self.answers, self.wrong, self.failed, self.callers = {}, [], [], []
        self.due, self.took, self.version, self.delays = array.array("d"), array.array("d"), array.array("q"), array.array("d")
        self.head = f"POST {load.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

    def run(self, ending):
        every = 1 / self.load.rate if self.load.rate else 0.0
        due, end = time.monotonic(), None
        while True:
            now = time.monotonic()
            if end is None and ending.is_set():
                end = now + PATIENCE
            if end is None and every:
                while due <= now and self.waiting < MOST_CONNECTIONS:
                    self.send(due)
                    due += every
            elif end is None:
                while self.waiting < self.load.clients:
                    if not self.send(time.monotonic()):
                        # Whoever is not let in does not knock at once again.
                        time.sleep(0.01)
                        break
            elif not self.waiting or now > end:
                break
            wait = max(0.0, min(due - now, 0.1)) if every and end is None else 0.1
            for key, _ in self.selector.select(wait):
                self.receive(key.data)
        for key in list(self.selector.get_map().values()):
            if key.data.asked:
                self.fail(key.data.asked, f"no answer within {PATIENCE} s")
            key.data.socket.close()

    def connection(self):
        now = time.monotonic()
        while self.idle:
            connection = self.idle.pop()
            if connection.idle_since > now - IDLE:
                return connection
            self.close(connection)
        connection = _Connection(self.load.address)
        self.selector.register(connection.socket, selectors.EVENT_READ, connection)
        return connection

    def close(self, connection):
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(connection.socket)
        connection.socket.close()

    def send(self, due):
        """Whether it could be sent."""
        row = [round(self.draw.random(), 6) for _ in range(4)]
        caller = self.draw.randrange(self.load.keys) if self.load.keys else None
        body = json.dumps({"features": row})
        key = "" if caller is None else f"X-User-Id: user {caller}\r\n"
        asked, connection = (due, row, caller), None
        try:
            connection = self.connection()
            connection.socket.sendall(f"{self.head}{key}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        except OSError as error:
            self.fail(asked, repr(error))
            if connection:
                self.close(connection)
            return False
        connection.asked = asked
        if self.load.rate:
            self.delays.append(time.monotonic() - due)
        self.waiting += 1
        return True

    def receive(self, connection):
        try:
            piece = connection.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            piece, reason = b"", repr(error)
        else:
            reason = "closed without an answer"
        if not piece:
            self.close(connection)
            if connection.asked:
                self.waiting -= 1
                self.fail(connection.asked, reason)
            elif connection in self.idle:
                self.idle.remove(connection)
            return
        connection.buffer += piece
        answer = connection.answer()
        if answer and connection.asked:
            asked, connection.asked = connection.asked, None
            self.waiting -= 1
            connection.idle_since = time.monotonic()
            self.idle.append(connection)
            self.check(asked, *answer)

    def count(self, due, version=0):
        self.due.append(due)
        self.took.append(time.monotonic() - due)
        self.version.append(version)

    def fail(self, asked, reason, status=0):
        due, row, _ = asked
        self.count(due)
        self.failed.append((status, reason, row))

    def check(self, asked, status, body):
        due, row, caller = asked
        try:
            body = json.loads(body)
            if status != 200:
                self.fail(asked, body.get("error"), status)
                return
            version, found = int(body["version"]), body["prediction"]
        except (ValueError, KeyError, AttributeError) as error:
            self.fail(asked, repr(error), status)
            return
        self.count(due, version)
        self.answers[version] = self.answers.get(version, 0) + 1
        if caller is not None:
            self.callers.append((due, time.monotonic(), caller, version))
        wanted = models.expected(version, row, self.load.flips.get(version, 0.0))
        if len(found) != len(wanted) or max(abs(a - b) for a, b in zip(found, wanted)) > 1e-5:
            self.wrong.append((version, row, found, wanted))
