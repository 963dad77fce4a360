"""Takes every connection that the server allows, then asks whether it is alive, from new connections.

    python3 full_house.py PROGRAM [--connections 4096] [--probes 1000]

Four houses: connections that were used and are kept, that never sent a byte, that stand in half a head, and HTTP/2
connections that were used. A probe that is not answered within PROBE_PATIENCE has failed; ten of them end the house.
All guests come from one address. A few connections of another one, kept as well, must outlive the house. At most some 90
seconds.
"""

import argparse
import time

import common
from common import END_HEADERS, END_STREAM, HEADERS, HELLO, frame, get_head

PROBE_PATIENCE = 5


def kept(to, source=None):
    connection = common.connect(to, 20, source)
    connection.sendall(common.request())
    common.answer(connection)
    return connection


def silent(to):
    return common.connect(to, 20)


def half(to):
    connection = common.connect(to, 20)
    connection.sendall(b"GET / HTTP/1.1\r\nHo")
    return connection


def http2(to):
    connection = common.connect(to, 20)
    connection.sendall(HELLO + frame(HEADERS, END_HEADERS | END_STREAM, 1, get_head()))
    connection.recv(65536)
    return connection


def house(program, name, enter, arguments):
    failures = []
    # Nobody is to leave because of a time that has passed.
    settings = (f"http.max_connections={arguments.connections}", "http.header_timeout=60s")
    with common.Server(program, *settings) as server:
        started = time.monotonic()
        bystanders = [kept(server.http, ("127.0.0.9", 0)) for _ in range(8)]
        guests = []
        while len(guests) < arguments.connections and time.monotonic() < started + 20:
            try:
                guests.append(enter(server.http))
            except OSError as error:
                print(f"  guest {len(guests) + 1}: {error}")
                break
        # The kernel accepts for the server: wait for the server to have them.
        while time.monotonic() < started + 20 and server.metric(
            'sconce_http_connections{listener="http"}'
        ) < min(len(guests), arguments.connections * 0.9):
            time.sleep(0.1)
        filled = time.monotonic() - started
        if enter is not kept and enter is not http2:
            time.sleep(1)
        took, failed = [], 0
        for _ in range(arguments.probes):
            begun = time.monotonic()
            try:
                status, *_ = common.get(server.http, "/livez", PROBE_PATIENCE)
                took.append(time.monotonic() - begun)
                failed += status != 200
            except OSError:
                failed += 1
            if failed >= 10:
                break
        n_pushed_out = sum(not common.is_open(bystander) for bystander in bystanders)
        gone = sum(not common.is_open(guest) for guest in guests)
        counted = server.metric(common.closed("capacity"))
        waits = server.metric('sconce_http_capacity_waits_total{listener="http"}')
        figures = common.milliseconds(took) if took else "no answer"
        print(
            f"{name}: {len(guests)} connections in {filled:.1f} s, {len(took)} probes answered, {failed} failed, {figures}; "
            f"{gone} made way, {counted:.0f} counted, {waits:.0f} waits"
        )
        if n_pushed_out:
            failures.append(f"{name}: {n_pushed_out} connections of another address were closed")
        if failed or not took:
            failures.append(f"{name}: {failed} probes failed")
        for connection in guests + bystanders:
            connection.close()
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--connections", type=int, default=4096)
    parser.add_argument("--probes", type=int, default=1000)
    arguments = parser.parse_args()
    failures = []
    houses = {"kept": kept, "silent": silent, "half heads": half, "kept HTTP/2": http2}
    for name, enter in houses.items():
        failures += house(arguments.program, name, enter, arguments)
    common.end(failures)


if __name__ == "__main__":
    main()
