"""How the program ends: in time, with status 0, whatever hangs, and whoever does not read its log.

    python3 endings.py PROGRAM

Also under a run that never ends, and while a model loads. At most a minute.
"""

import argparse
import contextlib
import os
import signal
import time

import common

QUICK = ("shutdown.lame_duck=0ms", "shutdown.drain=500ms")
LONG = ("shutdown.lame_duck=60s", "shutdown.drain=60s")


def ended(server, allowed, what, statuses=(0,)):
    begun = time.monotonic()
    status = server.wait(allowed + 10)
    took = time.monotonic() - begun
    print(f"{what}: {took:.2f} s, status {status}")
    if status is None or took > allowed:
        return [f"{what}: took {took:.1f} s, not {allowed}"]
    return [] if status in statuses else [f"{what}: status {status}"]


def stick(server, patience=60):
    """Sends the request that hangs, when the model is there; returns its connection."""
    body = b'{"features": [2000, 0, 0, 0]}'
    deadline = time.monotonic() + patience
    while common.get(server.http, "/health/ready")[0] != 200:
        if time.monotonic() > deadline:
            raise SystemExit("the model does not load")
        time.sleep(0.1)
    connection = common.connect(server.http)
    head = f"POST /predict/stuck HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    time.sleep(0.5)
    return connection


def hung(program, models):
    failures = []
    with common.Server(program, *QUICK, models=models) as server:
        connection = stick(server)
        server.signal()
        failures += ended(server, 0.5 + 1, "a hung run, drain of half a second")
        connection.close()
    with common.Server(program, *LONG, models=models) as server:
        connection = stick(server)
        server.signal()
        time.sleep(0.3)
        server.signal()
        failures += ended(server, 1, "a hung run, second signal in the lame duck")
        connection.close()
    with common.Server(program, *LONG, models=models) as server:
        connection = stick(server)
        server.signal(signal.SIGINT)
        time.sleep(0.3)
        server.signal()
        failures += ended(server, 1, "a hung run, second signal in the drain")
        connection.close()
    with common.Server(program, *LONG, models=models) as server:
        server.signal()
        time.sleep(0.2)
        server.signal()
        failures += ended(server, 1, "while loading, second signal")
    return failures


def unread(program, what, stderr, requests=3000):
    """A server whose log cannot be written: it must serve and end."""
    failures = []
    settings = (*QUICK, "log.requests=all")
    with common.Server(program, *settings, stderr=stderr) as server:
        ports = server.find()
        http = next(port for port in ports if common.get(port)[0] == 200)
        for _ in range(requests // 100):
            with common.connect(http) as connection:
                for number in range(100):
                    connection.sendall(common.request("/no/such/route" if number % 2 else "/livez"))
                    common.answer(connection)
        dropped = [metric for port in ports if (metric := common.metric(port, "sconce_log_lines_dropped_total"))]
        print(f"{what}: {requests} requests answered, {dropped[0] if dropped else 0:.0f} lines dropped")
        server.signal()
        failures += ended(server, 1.5, what)
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    arguments = parser.parse_args()
    failures = []
    # A pipe that nobody reads: one that is full from the start, so that the first line blocks.
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writing, b"x" * 65536):
            pass
    with contextlib.suppress(BlockingIOError):
        while os.write(writing, b"x"):
            pass
    os.set_blocking(writing, True)
    failures += unread(arguments.program, "a full pipe that nobody reads", writing)
    os.close(reading)
    failures += unread(arguments.program, "a pipe whose reader has gone", writing)
    os.close(writing)
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            failures += unread(arguments.program, "a full disk", full)
    # The shell closes the descriptor for it.
    wrapper = os.path.join(os.path.dirname(os.path.abspath(__file__)), ".closed-stderr")
    with open(wrapper, "w") as script:
        script.write(f'#!/bin/sh\nexec "{os.path.abspath(arguments.program)}" "$@" 2>&-\n')
    os.chmod(wrapper, 0o755)
    try:
        with open(os.devnull, "wb") as nothing:
            failures += unread(wrapper, "a closed descriptor", nothing)
    finally:
        os.unlink(wrapper)
    failures += hung(arguments.program, [common.FIXTURES / "stuck"])
    common.end(failures)


if __name__ == "__main__":
    main()
