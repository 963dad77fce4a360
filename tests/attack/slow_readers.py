"""Slow readers: 60 HTTP/2 connections with 256 streams each ask for large answers and take a byte every 20 s.

    python3 slow_readers.py PROGRAM [SECONDS]

Half of the connections ask for /openapi.json, half for predictions whose answers are large. Streams that are reset
are opened again, connections that are closed too. Meanwhile other clients predict. The memory of the server must stay
within its budget and what so many streams take by themselves, and no prediction of the others may fail."""

import gzip
import http.client
import json
import multiprocessing
import selectors
import socket
import struct
import sys
import time

import common

CONNECTIONS, STREAMS, DRIP_SECONDS = 60, 256, 20
BUDGET = 128 << 20
# What a stream takes beside its answer: its state, its task, its heads.
STREAM_BYTES = 16 << 10
# No answer after this long is a failure.
PATIENCE = 10

RST_STREAM = 3


def text(value):
    return bytes([len(value)]) + value.encode()


class Reader:
    """One connection: opens its streams, and opens another for each that is reset."""

    def __init__(self, port, ask):
        self.port, self.ask = port, ask
        self.resets = self.closed = self.answers = 0
        self.socket = None
        self.connect()

    def connect(self):
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        # A window of one byte for each stream.
        settings = common.frame(common.SETTINGS, 0, 0, struct.pack(">HI", 4, 1))
        self.out = bytearray(common.PREFACE + settings)
        self.received = bytearray()
        self.next_stream, self.open = 1, set()
        for _ in range(STREAMS):
            self.request()
        self.socket.setblocking(False)

    def request(self):
        self.out += self.ask(self.next_stream)
        self.open.add(self.next_stream)
        self.next_stream += 2

    def drip(self):
        for stream in self.open:
            self.out += common.frame(common.WINDOW_UPDATE, 0, stream, struct.pack(">I", 1))

    def lost(self):
        self.closed += 1
        self.socket.close()

    def write(self):
        if self.out:
            del self.out[: self.socket.send(self.out)]

    def read(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError
        self.received += data
        while len(self.received) >= 9:
            size = int.from_bytes(self.received[:3], "big")
            if len(self.received) < 9 + size:
                return
            kind, flags = self.received[3], self.received[4]
            stream = int.from_bytes(self.received[5:9], "big")
            payload = bytes(self.received[9 : 9 + size])
            del self.received[: 9 + size]
            self.take(kind, flags, stream, payload)

    def take(self, kind, flags, stream, payload):
        if kind == common.SETTINGS and not flags & 1:
            self.out += common.frame(common.SETTINGS, 1, 0, b"")
        elif kind == common.PING and not flags & 1:
            self.out += common.frame(common.PING, 1, 0, payload)
        elif kind == common.GOAWAY:
            raise ConnectionError
        ended = kind in (common.DATA, common.HEADERS) and flags & 1
        if kind == RST_STREAM or ended:
            self.resets += kind == RST_STREAM
            self.answers += bool(ended)
            if stream in self.open:
                self.open.discard(stream)
                self.request()


def ask_for_document(stream):
    block = b"\x82\x86\x04" + text("/openapi.json") + b"\x01" + text("a")
    return common.frame(common.HEADERS, 5, stream, block)


def ask_for_prediction(stream):
    block = b"\x83\x86\x04" + text("/predict/breast_cancer") + b"\x01" + text("a")
    block += b"\x00" + text("content-encoding") + text("gzip, gzip")
    return common.frame(common.HEADERS, 4, stream, block) + common.frame(common.DATA, 1, stream, LARGE)


ROW = [0.5] * 30
ROWS = json.dumps({"instances": [ROW] * 1024}).encode()
# Packed twice, so that all bodies of a connection fit the first window of HTTP/2.
LARGE = gzip.compress(gzip.compress(ROWS))


class Client:
    """Somebody else, in a process of its own, who predicts and takes the answer at once."""

    def __init__(self, port, body):
        self.port, self.body = port, body
        self.good, self.bad, self.slowest = 0, {}, 0.0
        self.reports = multiprocessing.Queue()
        self.process = multiprocessing.Process(target=self.run, daemon=True)
        self.process.start()

    def look(self):
        while not self.reports.empty():
            self.good, self.bad, self.slowest = self.reports.get()

    def run(self):
        connection = None
        reported = time.monotonic()
        while True:
            begun = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
                connection.request("POST", "/predict/digits", self.body)
                answer = connection.getresponse()
                answer.read()
                outcome = answer.status
            except OSError as error:
                connection, outcome = None, type(error).__name__
            self.slowest = max(self.slowest, time.monotonic() - begun)
            if outcome == 200:
                self.good += 1
            else:
                self.bad[outcome] = self.bad.get(outcome, 0) + 1
            if time.monotonic() - reported > 0.5:
                reported = time.monotonic()
                self.reports.put((self.good, self.bad, self.slowest))
            time.sleep(0.02)


def main():
    program, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 120
    server = common.Server(program, f"limits.inflight_bytes={BUDGET >> 20}MiB", models=common.EXAMPLES).ready()
    # Of another model: the queue of the one that is attacked is full, and says so.
    image = [0.5] * 784
    small = Client(server.port, json.dumps({"features": image}))
    large = Client(server.port, json.dumps({"instances": [image] * 100}))
    time.sleep(2)
    before, peak, shown = server.memory(), 0, 0.0
    asks = [ask_for_document, ask_for_prediction]
    readers = [Reader(server.port, asks[idx % 2]) for idx in range(CONNECTIONS)]
    begun = time.monotonic()
    dripped = begun
    while time.monotonic() - begun < seconds:
        now = time.monotonic()
        if now - dripped >= DRIP_SECONDS:
            dripped = now
            for reader in readers:
                reader.drip()
        selector = selectors.DefaultSelector()
        for reader in readers:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if reader.out else 0)
            selector.register(reader.socket, events, reader)
        for key, events in selector.select(0.1):
            reader = key.data
            try:
                if events & selectors.EVENT_WRITE:
                    reader.write()
                if events & selectors.EVENT_READ:
                    reader.read()
            except BlockingIOError:
                pass
            except OSError:
                reader.lost()
                reader.connect()
        selector.close()
        memory = server.memory()
        peak = max(peak, memory)
        if now - begun >= shown:
            shown += 10
            for client in (small, large):
                client.look()
            streams = sum(len(reader.open) for reader in readers)
            print(f"{now - begun:4.0f} s: {memory >> 20} MiB, {streams} streams open, "
                  f"{sum(reader.resets for reader in readers)} reset, "
                  f"others: small {small.good} good {small.bad}, large {large.good} good {large.bad}", flush=True)
    for client in (small, large):
        client.process.terminate()
        client.look()
    for reader in readers:
        reader.socket.close()
    time.sleep(5)
    after = server.memory()
    server.stop()
    allowed = before + BUDGET + CONNECTIONS * STREAMS * STREAM_BYTES
    print(f"memory before {before >> 20}, at most {peak >> 20} (allowed {allowed >> 20}), 5 s after {after >> 20} MiB")
    print(f"slow streams: {sum(reader.answers for reader in readers)} answered, "
          f"{sum(reader.resets for reader in readers)} reset, {sum(reader.closed for reader in readers)} connections closed")
    print(f"others, small answers: {small.good} good, failed {small.bad}, slowest {small.slowest:.2f} s")
    print(f"others, large answers: {large.good} good, failed {large.bad}, slowest {large.slowest:.2f} s")
    faults = []
    if peak > allowed:
        faults.append("the memory grew beyond what is allowed")
    # The bodies of so many requests may fill the budget for a moment: one in a hundred may have to come again.
    if sum(small.bad.values()) > 0.01 * small.good:
        faults.append("predictions of others failed")
    # Large answers of others may be refused while the slow ones are being found out, not for long.
    if large.good < 0.9 * (large.good + sum(large.bad.values())):
        faults.append("large predictions of others failed")
    for fault in faults:
        print("FAILED:", fault)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
