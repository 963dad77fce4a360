"""The process stands still for longer than any run may take, as with a frozen container, a debugger or a machine that sleeps.

    standstill.py PROGRAM

The runs under way were not at work meanwhile, so none of them counts as stuck and the model goes on, without anybody's doing."""

import signal
import sys
import threading
import time

import common

STANDS_STILL = 8


def main(program):
    check = common.Check()
    settings = [
        "requests.timeout=3s",
        "limits.stuck_grace=1s",
        "limits.max_stuck_runs=1",
        "batching.max_batch_size=1",
        'isolation.none=["slow"]',
        "threads.instances=4",
    ]
    models = [common.FIXTURES / "slow", common.FIXTURES / "tabular"]
    with common.Server(program, *settings, models=models) as server:
        server.ready()
        statuses = []

        def ask():
            status, _ = server.ask("POST", "/predict/slow", {"features": [300.0] * 4}, patience=60)
            statuses.append(status)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        [it.start() for it in threads]
        time.sleep(0.1)
        server.signal(signal.SIGSTOP)
        time.sleep(STANDS_STILL)
        server.signal(signal.SIGCONT)
        [it.join() for it in threads]
        time.sleep(5)
        print("  while it stood still:", sorted(statuses))
        status, answer = server.ask("POST", "/predict/slow", {"features": [1.0] * 4})
        check.that(status == 200, f"the model goes on: {status} {answer[:120]}")
        stuck = server.metric('sconce_stuck_runs_total{model="slow",version="1"}')
        check.that(not stuck, f"no run counts as stuck: {stuck}")
        status, _ = server.ask("POST", "/predict/tabular", {"features": [0.5] * 20})
        check.that(status == 200, "others are answered")
        check.that(server.is_alive(), "the server lives")
    check.end()


main(sys.argv[1])
