"""Takes every connection and comes back as soon as one is closed, from one address; another address asks whether the
server is alive.

    python3 siege.py PROGRAM [--connections 1024] [--seconds 10]

Two sieges: by connections that never send a byte, and by connections that make a request and are kept. A probe has PROBE_PATIENCE
seconds; one in a hundred may fail, since a kernel's queue that is full drops who knocks. At most 40 seconds.
"""

import argparse
import multiprocessing
import selectors
import socket
import time

import common

PROBE_PATIENCE = 5
PROBER = ("127.0.0.9", 0)


def besiege(to, n_connections, speaks, over):
    """Keeps so many connections open; those that the server closes are made anew."""
    selector = selectors.DefaultSelector()
    while not over.is_set():
        while len(selector.get_map()) < n_connections and not over.is_set():
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(to)
            wanted = selectors.EVENT_WRITE if speaks else selectors.EVENT_READ
            selector.register(connection, wanted)
        for key, events in selector.select(0.2):
            connection = key.fileobj
            try:
                if events & selectors.EVENT_WRITE:
                    connection.send(common.request())
                    selector.modify(connection, selectors.EVENT_READ)
                elif not connection.recv(65536):
                    raise ConnectionResetError
            except BlockingIOError:
                pass
            except OSError:
                selector.unregister(connection)
                connection.close()


def siege(arguments, name, speaks):
    settings = (f"http.max_connections={arguments.connections}", "http.header_timeout=60s")
    with common.Server(arguments.program, *settings) as server:
        over = multiprocessing.Event()
        besieger = multiprocessing.Process(
            target=besiege, args=(server.http, arguments.connections + 200, speaks, over), daemon=True
        )
        besieger.start()
        time.sleep(2)
        took, failed, until = [], 0, time.monotonic() + arguments.seconds
        while time.monotonic() < until:
            begun = time.monotonic()
            try:
                with common.connect(server.http, PROBE_PATIENCE, PROBER) as connection:
                    connection.sendall(common.request("/livez", "Connection: close"))
                    common.answer(connection)
                took.append(time.monotonic() - begun)
            except OSError:
                failed += 1
            time.sleep(0.01)
        accepted = server.metric('sconce_http_connections_accepted_total{listener="http"}')
        counted = server.metric(common.closed("capacity"))
        over.set()
        besieger.join(5)
        besieger.kill()
    figures = common.milliseconds(took) if took else "no answer"
    print(f"{name}: {len(took)} probes answered, {failed} failed, {figures}; {accepted:.0f} accepted, {counted:.0f} made way")
    return [] if len(took) >= 99 * failed and took else [f"{name}: {failed} probes failed, {len(took)} did not"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--connections", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    failures = siege(arguments, "silent", False)
    failures += siege(arguments, "kept", True)
    common.end(failures)


if __name__ == "__main__":
    main()
