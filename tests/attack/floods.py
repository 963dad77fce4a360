"""Sends HTTP/2 frames that ask for nothing as fast as they go, and watches another client meanwhile.

    python3 floods.py PROGRAM [--seconds 6]

Each kind of frame: by when the server has closed the connection, what processor time it took, and the latency of a
client with a connection of its own. Clients that behave are watched too: one that pings, one that opens its window for
each piece of a large answer; they must never be closed. At most a minute.
"""

import argparse
import contextlib
import socket
import struct
import threading
import time

import common
from common import (
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, HELLO, PING, PRIORITY, SETTINGS, WINDOW_UPDATE, frame, get_head,
)

FLOODS = {
    "PING": frame(PING, payload=b"12345678"),
    "SETTINGS": frame(SETTINGS),
    "WINDOW_UPDATE": frame(WINDOW_UPDATE, payload=struct.pack(">I", 1)),
    "PRIORITY": frame(PRIORITY, stream=1, payload=b"\0\0\0\0\x10"),
    "unknown frames": frame(0x77, payload=b"x"),
    "empty DATA": frame(DATA, stream=1),
    "empty CONTINUATION": frame(CONTINUATION, stream=1),
}
# What must stand before a flood: an open stream, or an open head.
BEFORE = {
    "empty DATA": frame(HEADERS, END_HEADERS, 1, b"\x83\x86\x04\x06/livez\x01\x01a"),
    "empty CONTINUATION": frame(HEADERS, 0, 1, get_head()),
}


class Watch:
    """A client that asks again and again on a connection of its own."""

    def __init__(self, to):
        self.took = []
        self.failed = 0
        self.to = to
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        connection = common.connect(self.to)
        while not self.over.is_set():
            begun = time.monotonic()
            try:
                connection.sendall(common.request())
                common.answer(connection)
                self.took.append(time.monotonic() - begun)
            except OSError:
                self.failed += 1
                connection = common.connect(self.to)
            time.sleep(0.002)

    def end(self):
        self.over.set()
        self.thread.join()
        return common.milliseconds(self.took)


def flood(to, name, seconds):
    """Returns (frames sent, seconds until the server closed, or None)."""
    bytes_of = FLOODS[name] * 500
    connection = common.connect(to)
    connection.sendall(HELLO + BEFORE.get(name, b""))
    connection.settimeout(0.5)

    def read():
        with contextlib.suppress(OSError):
            while connection.recv(1 << 20):
                pass

    connection_reader = threading.Thread(target=read, daemon=True)
    connection_reader.start()
    started, n_frames = time.monotonic(), 0
    while time.monotonic() < started + seconds:
        try:
            connection.sendall(bytes_of)
            n_frames += 500
        except socket.timeout:
            continue
        except OSError:
            return n_frames, time.monotonic() - started
    connection.close()
    return n_frames, None


def behaves_by_pinging(to, seconds):
    connection = common.connect(to)
    connection.sendall(HELLO)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        connection.sendall(frame(PING, payload=b"12345678"))
        time.sleep(0.02)
    return common.is_open(connection)


def behaves_by_updating(to, seconds):
    """Takes /metrics over and over through a window of 2,000 bytes that it opens by each piece, and pings for each."""
    connection = common.connect(to)
    settings = frame(SETTINGS, payload=struct.pack(">HI", 4, 2000))
    connection.sendall(common.PREFACE + settings)
    until = time.monotonic() + seconds
    stream, data, n_answers, n_updates = 1, b"", 0, 0
    connection.sendall(frame(HEADERS, END_HEADERS | END_STREAM, stream, get_head(b"/metrics")))
    while time.monotonic() < until:
        piece = connection.recv(65536)
        if not piece:
            return False, n_answers, n_updates
        data += piece
        while len(data) >= 9 and len(data) >= 9 + (length := int.from_bytes(data[:3], "big")):
            kind, flags, of = data[3], data[4], int.from_bytes(data[5:9], "big") & 0x7FFFFFFF
            data = data[9 + length:]
            if kind == SETTINGS and not flags & 1:
                connection.sendall(frame(SETTINGS, 1))
            elif kind == PING and not flags & 1:
                connection.sendall(frame(PING, 1, payload=b"\0" * 8))
            elif kind == DATA and length:
                update = struct.pack(">I", length)
                ping = frame(PING, payload=b"12345678")
                connection.sendall(frame(WINDOW_UPDATE, 0, of, update) + frame(WINDOW_UPDATE, 0, 0, update) + ping)
                n_updates += 2
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                n_answers += 1
                stream += 2
                connection.sendall(frame(HEADERS, END_HEADERS | END_STREAM, stream, get_head(b"/metrics")))
    return True, n_answers, n_updates


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--seconds", type=float, default=6)
    arguments = parser.parse_args()
    failures = []
    with common.Server(arguments.program) as server:
        watch = Watch(server.http)
        time.sleep(1)
        print(f"another client, before: {watch.end()}")
        for name in FLOODS:
            watch, cpu = Watch(server.http), server.cpu_seconds()
            n_frames, closed_after = flood(server.http, name, arguments.seconds)
            took = server.cpu_seconds() - cpu
            latency = watch.end()
            when = "never closed" if closed_after is None else f"closed after {closed_after:.2f} s"
            print(f"{name}: {n_frames} frames, {when}, {took:.2f} s of processor; another client: {latency}")
            if closed_after is None:
                failures.append(f"{name}: the connection lives on")
            if watch.failed:
                failures.append(f"{name}: {watch.failed} requests of another client failed")
        print(f"counted as floods: {server.metric(common.closed('flood')):.0f}")
        pinging = behaves_by_pinging(server.http, arguments.seconds / 2)
        updating, n_answers, n_updates = behaves_by_updating(server.http, arguments.seconds)
        print(f"a client that pings lives: {pinging}; one that opens windows: {updating}, {n_answers} answers, "
              f"{n_updates} updates and half as many pings")
        if not (pinging and updating):
            failures.append("a client that behaves was closed")
    common.end(failures)


if __name__ == "__main__":
    main()
