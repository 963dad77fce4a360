"""Ten models whose load never ends are reloaded at once while others predict.

    reloads.py PROGRAM [SECONDS]

Their trials wait for one another and end by `trial.timeout`. The public listener must not notice."""

import shutil
import sys
import threading
import time

import common

MODELS = 10


def tail(server, seconds):
    """Latencies of predictions for so long, on a connection each."""
    latencies, failed, end = [], 0, time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        status, _ = server.ask("POST", "/predict/tabular", {"features": [0.5] * 20})
        latencies.append(time.monotonic() - begun)
        failed += status != 200
    return latencies, failed


def main(program, seconds=20):
    check = common.Check()
    with common.Server(program, "requests.timeout=5s", "trial.timeout=5s", models=[common.FIXTURES / "tabular"]) as server:
        server.ready()
        quiet, failed = tail(server, seconds / 4)
        for number in range(MODELS):
            folder = server.models / f"hangs{number}" / "1"
            folder.mkdir(parents=True)
            shutil.copy(common.ROOT / "tests/fixtures/broken/hang.pt", folder / "model.pt")
        outcomes = []

        def reload(number):
            begun = time.monotonic()
            status, _ = server.ask("POST", f"/manage/models/hangs{number}/reload", on=server.management, patience=120)
            outcomes.append((status, time.monotonic() - begun))

        threads = [threading.Thread(target=reload, args=(number,), daemon=True) for number in range(MODELS)]
        [it.start() for it in threads]
        with common.Probe(server) as probe:
            busy, failed_busy = tail(server, seconds)
        for thread in threads:
            thread.join(120)
        before, during = (common.percentile(it, 0.99) * 1000 for it in (quiet, busy))
        print(f"  p99 before {before:.1f} ms of {len(quiet)}, meanwhile {during:.1f} ms of {len(busy)}; {probe}")
        print(f"  reloads: {sorted((status, round(took)) for status, took in outcomes)}")
        check.that(failed + failed_busy == 0, "every prediction is answered")
        # One core of two is taken by the child that tries: a factor, and not the same.
        check.that(during < max(5 * before, 50), "predictions do not wait for reloads")
        check.that(len(outcomes) == MODELS and all(status != 0 for status, _ in outcomes), "every order is answered")
        check.that(server.is_alive(), "the server lives")
    check.end()


main(sys.argv[1], *map(int, sys.argv[2:]))
