"""Two clients ask for 120,000,000 classes of F.one_hot each, which is what `ids` says: 50 bytes of a request.

    one_hot.py PROGRAM

Asked for 0.9 GiB a run and more, the server must say so at once or in time (504 or 507), and meanwhile answer others."""

import sys
import threading
import time

import common


def main(program):
    check = common.Check()
    settings = ["requests.timeout=5s", "limits.memory_bytes=4GiB", "limits.inflight_bytes=256MiB"]
    models = [common.FIXTURES / "one_hot", common.FIXTURES / "tabular"]
    with common.Server(program, *settings, models=models) as server:
        server.ready()
        status, answer = server.ask("POST", "/predict/one_hot", {"features": [3]})
        check.that(status == 200, f"a small id is answered: {status} {answer[:80]}")
        outcomes = []

        def ask(number):
            begun = time.monotonic()
            status, answer = server.ask("POST", "/predict/one_hot", {"features": [number]})
            outcomes.append((status, time.monotonic() - begun, answer[:200]))

        with common.Probe(server) as probe, common.Probe(server, on=server.management) as managed:
            threads = [threading.Thread(target=ask, args=(number,)) for number in (120_000_000, 120_000_001, 2**62, -1)]
            [it.start() for it in threads]
            while any(it.is_alive() for it in threads):
                status, _ = server.ask("POST", "/predict/tabular", {"features": [0.5] * 20})
                if status != 200:
                    check.that(False, f"others are answered: {status}")
                time.sleep(0.01)
            [it.join() for it in threads]
        for outcome in sorted(outcomes):
            print("  status {}, {:.2f} s, {}".format(*outcome))
        print("  public", probe, "\n  management", managed, f"\n  resident {server.memory() >> 20} MiB")
        check.that(all(seconds < 6 for _, seconds, _ in outcomes), "each has its answer in time")
        check.that(all(status in (200, 500, 504, 507) for status, _, _ in outcomes), "each has an answer")
        check.that(probe.failed + managed.failed == 0, "liveness is answered")
        check.that(common.percentile(probe.seconds, 0.99) < 0.1, "liveness within 100 ms (p99)")
        check.that(server.is_alive(), "the server lives")
    check.end()


main(sys.argv[1])
