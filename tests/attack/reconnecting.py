"""Clients that make a connection for each request, and SIGTERM in the middle.

    python3 reconnecting.py PROGRAM [--rounds 20] [--clients 8] [--lame-duck 0ms]

A client may try again where it could not connect. A connection that was made, and a request that was sent on it, must
be answered, and the process must end with status 0. Half of the clients wait for a moment between connecting and
sending, as a client does that is somewhere else. Some three seconds a round.
"""

import argparse
import multiprocessing
import signal
import time

import common


def client(to, number, over, results):
    """Asks until nobody listens; puts (answered, failures) into the results."""
    pause = 0.0 if number % 2 == 0 else 0.002 * number
    answered, failures = 0, []
    while not over.is_set():
        try:
            connection = common.connect(to, 20)
        except (ConnectionRefusedError, ConnectionResetError, TimeoutError):
            break
        except OSError as error:
            failures.append(f"connect: {error}")
            break
        began = time.monotonic()
        try:
            if pause:
                time.sleep(pause)
            connection.sendall(common.request())
            status, *_ = common.answer(connection)
            if status == 200:
                answered += 1
            else:
                failures.append(f"status {status}")
        except OSError as error:
            failures.append(f"{type(error).__name__} {time.monotonic() - began:.4f} s after the connect")
        connection.close()
    results.put((answered, failures))


def round_of(arguments):
    settings = (f"shutdown.lame_duck={arguments.lame_duck}", "shutdown.drain=10s")
    with common.Server(arguments.program, *settings) as server:
        results, over = multiprocessing.Queue(), multiprocessing.Event()
        clients = [
            multiprocessing.Process(target=client, args=(server.http, number, over, results), daemon=True)
            for number in range(arguments.clients)
        ]
        for process in clients:
            process.start()
        time.sleep(arguments.load)
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        status = server.wait(30)
        took = time.monotonic() - begun
        over.set()
        ended = [results.get(timeout=30) for _ in clients]
        for process in clients:
            process.join(5)
    return sum(n for n, _ in ended), [text for _, texts in ended for text in texts], status, took


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--load", type=float, default=0.7)
    parser.add_argument("--lame-duck", default="0ms")
    arguments = parser.parse_args()
    answered, failed, failures, took = 0, [], [], []
    for number in range(arguments.rounds):
        n_answered, texts, status, seconds = round_of(arguments)
        answered += n_answered
        failed += texts
        took.append(seconds)
        if status != 0:
            failures.append(f"round {number + 1} ended with status {status}")
    print(f"{arguments.rounds} rounds: {answered} answered, {len(failed)} failed, down in {common.milliseconds(took)}")
    kinds = sorted({text.split(" ")[0] for text in failed})
    print("\n".join(f"  {kind}: {sum(text.startswith(kind) for text in failed)}" for kind in kinds))
    failures += failed[:10]
    common.end(failures)


if __name__ == "__main__":
    main()
