"""100 clients send JSON bodies of 6 MiB for a minute, with room for 128 MiB.

    python3 json_flood.py PROGRAM [SECONDS]

Most of them have to be refused. The memory must stay within bounds and come down afterwards, and the liveness probe must
be answered all the time, each time on a connection of its own."""

import multiprocessing
import socket
import sys
import threading
import time

import common

CLIENTS, ROWS, COLUMNS = 100, 1000, 784
BUDGET = 128 << 20
# Beside the budget: what runs hold, what the allocator keeps, what sockets have read.
BESIDE = 512 << 20
# The machine's cores are shared with a hundred clients.
SLOWEST_PROBE = 5.0

ROW = "[" + ",".join(["0.12345"] * COLUMNS) + "]"
BODY = ('{"instances":[' + ",".join([ROW] * ROWS) + "]}").encode()
HEAD = f"POST /predict/digits HTTP/1.1\r\nHost: a\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()


def answer(connection):
    """The status of the next answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(1 << 16)
        if not more:
            raise ConnectionError
        data += more
    head, rest = data.split(b"\r\n\r\n", 1)
    lines = head.lower().split(b"\r\n")
    length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
    while len(rest) < length:
        more = connection.recv(1 << 16)
        if not more:
            raise ConnectionError
        rest += more
    return int(head.split()[1]), b"connection: close" in lines


class Client(threading.Thread):
    def __init__(self, port, until):
        super().__init__(daemon=True)
        self.port, self.until, self.outcomes = port, until, {}

    def run(self):
        connection = None
        while time.monotonic() < self.until:
            closes = True
            try:
                if connection is None:
                    connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
                try:
                    connection.sendall(HEAD)
                    connection.sendall(BODY)
                except OSError:
                    pass  # The answer came before the body was sent.
                outcome, closes = answer(connection)
            except OSError as error:
                outcome = type(error).__name__
            if closes and connection is not None:
                connection.close()
                connection = None
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


class Prober:
    """In a process of its own, which the clients' threads do not hold up."""

    def __init__(self, port):
        self.port, self.times, self.failed = port, [], 0
        self.ending = multiprocessing.Event()
        self.report = multiprocessing.Queue()
        self.process = multiprocessing.Process(target=self.run, daemon=True)
        self.process.start()

    def end(self):
        self.ending.set()
        self.times, self.failed = self.report.get(timeout=11)

    def run(self):
        while not self.ending.is_set():
            begun = time.monotonic()
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
                    status, _ = answer(connection)
                self.failed += status != 200
            except OSError:
                self.failed += 1
            self.times.append(time.monotonic() - begun)
            time.sleep(0.02)
        self.report.put((self.times, self.failed))


def quantile(times, share):
    return sorted(times)[min(len(times) - 1, int(share * len(times)))] * 1000


def main():
    program, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 60
    server = common.Server(program, f"limits.inflight_bytes={BUDGET >> 20}MiB", models=common.EXAMPLES).ready()
    time.sleep(1)
    before, peak, shown = server.memory(), 0, 0.0
    prober = Prober(server.port)
    begun = time.monotonic()
    clients = [Client(server.port, begun + seconds) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    while (passed := time.monotonic() - begun) < seconds:
        memory = server.memory()
        peak = max(peak, memory)
        if passed >= shown:
            shown += 5
            print(f"{passed:4.0f} s: {memory >> 20} MiB", flush=True)
        time.sleep(0.2)
    for client in clients:
        client.join(70)
    prober.end()
    time.sleep(5)
    after = server.memory()
    alive = server.process.poll() is None
    server.stop()
    outcomes = {}
    for client in clients:
        for outcome, count in client.outcomes.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + count
    print(f"{CLIENTS} clients, bodies of {len(BODY) / (1 << 20):.1f} MiB, {seconds:.0f} s: {outcomes}, "
          f"{outcomes.get(200, 0) / seconds:.1f} good a second")
    print(f"memory before {before >> 20}, at most {peak >> 20}, 5 s after the end {after >> 20} MiB")
    times = prober.times
    print(f"/livez, {len(times)} times: p50 {quantile(times, 0.5):.1f}, p99 {quantile(times, 0.99):.1f}, "
          f"slowest {max(times) * 1000:.1f} ms, {prober.failed} failed")
    faults = []
    if not alive:
        faults.append("the server died")
    if peak > before + BUDGET + BESIDE:
        faults.append("the memory grew beyond what is allowed")
    if prober.failed or max(times) > SLOWEST_PROBE:
        faults.append("the liveness probe was not answered in time")
    if not outcomes.get(200):
        faults.append("nothing was answered")
    for fault in faults:
        print("FAILED:", fault)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
