"""Leaves HTTP/2 connections standing half-way, and waits for the server to close them.

    python3 half_http2.py PROGRAM

Each must close within the time for a head (2 seconds here, and some patience) and be counted as `header_timeout`. At most
15 seconds.
"""

import argparse
import time

import common
from common import CONTINUATION, END_HEADERS, END_STREAM, HEADERS, HELLO, PING, PREFACE, frame, get_head

HEADER_TIMEOUT = 2
PATIENCE = 8

HALVES = {
    "half a preface": PREFACE[:16],
    "a preface without settings": PREFACE,
    "half the first settings": HELLO[:-4],
    "HEADERS without their end": HELLO + frame(HEADERS, END_STREAM, 1, get_head()),
    "the same with CONTINUATION": HELLO + frame(HEADERS, END_STREAM, 1, get_head()) + frame(CONTINUATION, 0, 1, b""),
    "half of HEADERS": HELLO + frame(HEADERS, END_HEADERS | END_STREAM, 1, get_head())[:15],
    "half a PING": HELLO + frame(PING, payload=b"12345678")[:-3],
    "half a frame's header": HELLO + b"\0\0",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    arguments = parser.parse_args()
    failures = []
    with common.Server(arguments.program, f"http.header_timeout={HEADER_TIMEOUT}s") as server:
        started = time.monotonic()
        standing = {}
        for name, half in HALVES.items():
            standing[name] = common.connect(server.http)
            standing[name].sendall(half)
        ended = {}
        while standing and time.monotonic() < started + HEADER_TIMEOUT + PATIENCE:
            for name in [name for name, connection in standing.items() if not common.is_open(connection)]:
                ended[name] = time.monotonic() - started
                del standing[name]
            time.sleep(0.02)
        for name, after in ended.items():
            print(f"{name}: closed after {after:.2f} s")
        failures += [f"{name}: still open" for name in standing]
        counted = server.metric(common.closed("header_timeout"))
        print(f"counted as header_timeout: {counted:.0f} of {len(HALVES)}")
        if counted != len(HALVES):
            failures.append(f"{counted:.0f} of {len(HALVES)} were counted")
    common.end(failures)


if __name__ == "__main__":
    main()
