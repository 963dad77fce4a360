"""100 clients send JSON bodies of 6 MiB for a minute, with room for 128 MiB.

    python3 json_flood.py PROGRAM [SECONDS]

Most of them have to be refused. The memory must stay within bounds and come down afterwards, and the liveness probe must
be answered all the time, each time on a connection of its own."""

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
                outcome, head, _ = common.answer(connection)
                closes = "connection: close" in head
            except OSError as error:
                outcome = type(error).__name__
            if closes and connection is not None:
                connection.close()
                connection = None
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


def main():
    program, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 60
    server = common.Server(program, f"limits.inflight_bytes={BUDGET >> 20}MiB", models=common.EXAMPLES).ready()
    time.sleep(1)
    before, peak, shown = server.memory(), 0, 0.0
    with common.Probe(server, every=0.02) as probe:
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
    print(probe)
    faults = []
    if not alive:
        faults.append("the server died")
    if peak > before + BUDGET + BESIDE:
        faults.append("the memory grew beyond what is allowed")
    if probe.failed or max(probe.seconds) > SLOWEST_PROBE:
        faults.append("the liveness probe was not answered in time")
    if not outcomes.get(200):
        faults.append("nothing was answered")
    for fault in faults:
        print("FAILED:", fault)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
