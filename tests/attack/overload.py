#!/usr/bin/env python3
"""A slow model under an open loop of 2, 5 and 10 times what it can do.

    tests/attack/overload.py PROGRAM

Says for each load what was answered, how late, and how soon the others were refused. Fails where less is answered than
the model can do, where answers are much later than at 90 % load, or where refusals take long. Takes about a minute.
"""

import asyncio
import contextlib
import json
import pathlib
import random
import re
import shutil
import sys
import tempfile
import time

import common

LOADS = (2, 5, 10)
SECONDS = 6
# What is wanted, and how far off a machine that does something else beside may be.
GOODPUT, LATENESS, REFUSAL = (0.95, 0.70), (1.5, 2.0), (0.005, 0.03)
MAX_CONNECTIONS = 900
# Stands for 200 of an answer behind the end.
OVERTIME = 299


@contextlib.contextmanager
def serving(program, fixture, head, tail):
    """A server that is ready and has one fixture as its only model, with these lines in its model.toml."""
    with tempfile.TemporaryDirectory(prefix="sconce-attack-") as folder:
        model = pathlib.Path(folder) / fixture
        shutil.copytree(common.FIXTURES / fixture, model)
        manifest = model / "model.toml"
        manifest.write_text(f"{head}\n{manifest.read_text()}\n{tail}\n")
        with common.Server(program, models=folder) as server:
            yield server.ready()


class Client(asyncio.Protocol):
    """A connection that asks one thing at a time."""

    def __init__(self, port: int):
        self.port, self.transport, self.buffer, self.waiter = port, None, b"", None

    async def ask(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Status, head and body."""
        loop = asyncio.get_running_loop()
        if self.transport is None or self.transport.is_closing():
            self.buffer = b""
            self.transport, _ = await loop.create_connection(lambda: self, "127.0.0.1", self.port)
        self.waiter = loop.create_future()
        self.transport.write(request)
        return await self.waiter

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        if len(body) >= length:
            self.buffer = body[length:]
            if not self.waiter.done():
                self.waiter.set_result((int(head[9:12]), head, body[:length]))

    def connection_lost(self, error) -> None:
        if self.waiter and not self.waiter.done():
            self.waiter.set_exception(ConnectionError(f"closed without an answer: {error}"))

    def close(self) -> None:
        if self.transport:
            self.transport.close()


def predict(model: str, body: dict, headers: str = "") -> bytes:
    text = json.dumps(body).encode()
    head = f"POST /predict/{model} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n{headers}\r\n"
    return head.encode() + text


def row() -> list[int]:
    return [random.randrange(100) for _ in range(16)]


async def closed_loop(port: int, requests: list, seconds: float) -> list[list]:
    """Each of `requests` makes the next request of a client of its own; what comes back is (status, seconds) of each."""
    until = time.monotonic() + seconds

    async def client(request) -> list:
        connection, answers = Client(port), []
        while (asked := time.monotonic()) < until:
            status, _, _ = await connection.ask(request())
            answers.append((status, time.monotonic() - asked))
        connection.close()
        return answers

    return await asyncio.gather(*(client(request) for request in requests))


async def open_loop(port: int, request, rate: float, seconds: float) -> list[tuple]:
    """Requests at random times, whether or not those before are answered: (status, seconds, Retry-After) of each."""
    idle, answers, tasks, n_open = [], [], set(), 0
    began = due = time.monotonic()

    async def one(connection: Client) -> None:
        asked = time.monotonic()
        try:
            status, head, _ = await connection.ask(request())
        except ConnectionError:
            status, head = 0, b""
        again = re.search(rb"(?i)retry-after: (\d+)", head)
        # What is answered when no more is asked belongs to no second of the load.
        status = OVERTIME if status == 200 and time.monotonic() > began + seconds else status
        answers.append((status, time.monotonic() - asked, int(again[1]) if again else None))
        idle.append(connection)

    while due < began + seconds:
        due += random.expovariate(rate)
        delay = due - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)
        if not idle and n_open >= MAX_CONNECTIONS:
            answers.append((-1, 0.0, None))
            continue
        if not idle:
            n_open += 1
            idle.append(Client(port))
        task = asyncio.ensure_future(one(idle.pop()))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(list(tasks), timeout=60)
    for connection in idle:
        connection.close()
    return answers


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def main() -> int:
    random.seed(7)
    batching = "[batching]\nmax_batch_size = 8"
    problems = []

    def want(holds: bool, text: str) -> None:
        if not holds:
            problems.append(text)

    def request() -> bytes:
        return predict("heavy", {"features": row()})

    with serving(sys.argv[1], "heavy", "instances = 1", batching) as server:

        async def served(beside: float) -> list:
            """Answers of a closed loop; beside it so many requests a second that are refused before their body is read."""
            others = open_loop(server.port, lambda: predict("nobody", {"features": row()}), beside, 3) if beside else None
            answers = closed_loop(server.port, [request] * 20, 3)
            return (await asyncio.gather(answers, others))[0] if others else await answers

        def capacity(beside: float = 0) -> float:
            """Answers a second. What makes the load takes processor time of its own, on the same cores: it is there in both."""
            answers = sum(asyncio.run(served(beside)), [])
            return sum(status == 200 for status, _ in answers) / 3

        capacity()
        most = capacity()
        answers = asyncio.run(open_loop(server.port, request, 0.9 * most, 2 * SECONDS))
        usual = percentile([took for status, took, _ in answers if status in (200, OVERTIME)], 0.99)
        refused = sum(status == 429 for status, _, _ in answers) / len(answers)
        print(f"capacity {most:.0f}/s; at 0.9 of it p99 {1e3 * usual:.0f} ms, {refused:.1%} refused")
        # Until more is found to come than can be served, the queue bears a second: the first seconds count by themselves.
        answers = asyncio.run(open_loop(server.port, request, LOADS[0] * most, 3))
        good = [took for status, took, _ in answers if status in (200, OVERTIME)]
        print(f"  the first 3 s of {LOADS[0]} x: p50 {1e3 * percentile(good, 0.5):.0f} ms, p99 {1e3 * percentile(good, 0.99):.0f} ms")
        for load in LOADS:
            before = capacity((load - 1) * most)
            answers = asyncio.run(open_loop(server.port, request, load * before, SECONDS))
            after = capacity((load - 1) * most)
            most = (before + after) / 2
            good = [took for status, took, _ in answers if status in (200, OVERTIME)]
            soon = [took for status, took, _ in answers if status == 429]
            other = {status for status, _, _ in answers} - {200, 429, OVERTIME}
            goodput = sum(status == 200 for status, _, _ in answers) / SECONDS / most
            late, refusal = percentile(good, 0.99), percentile(soon, 0.99)
            print(
                f"{load:>3} x {before:.0f}/s: answered {goodput:.2f} of capacity, p50 {1e3 * percentile(good, 0.5):.0f} ms, "
                f"p99 {1e3 * late:.0f} ms ({late / usual:.2f} of usual); {len(soon)} refused, "
                f"p50 {1e3 * percentile(soon, 0.5):.1f} ms, p99 {1e3 * refusal:.1f} ms; others {sorted(other) or 'none'}"
            )
            want(goodput >= GOODPUT[1], f"{load} x: answered {goodput:.2f} of capacity, wanted {GOODPUT[0]}")
            want(late <= LATENESS[1] * usual, f"{load} x: p99 is {late / usual:.2f} of the usual, wanted {LATENESS[0]}")
            want(refusal <= REFUSAL[1], f"{load} x: refusals take {1e3 * refusal:.1f} ms, wanted {1e3 * REFUSAL[0]:.0f}")
            want(not other, f"{load} x: statuses {sorted(other)}")
            want(all(again for status, _, again in answers if status == 429), "a refusal does not say when to come again")
    for problem in problems:
        print("FAILED:", problem)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
