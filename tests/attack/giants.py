"""Requests whose answers take gigabytes, of a model in a process of its own: each costs its own answer, and no process.

    giants.py PROGRAM
"""

import sys

import common

CAUSES = "crashed", "killed", "timed_out", "out_of_memory"


def main(program):
    check = common.Check()
    settings = ["requests.timeout=20s", "trial.memory_bytes=6GiB", 'isolation.process=["giant"]', "isolation.max_deaths=3"]
    with common.Server(program, *settings, models=[common.FIXTURES / "giant"]) as server:
        server.ready()
        for number in (3e8, 5e8, 1e9, 2e9, 2.8e8):
            status, answer = server.ask("POST", "/predict/giant", {"inputs": {"x": [[number]]}}, patience=60)
            check.that(status == 507, f"{number:.0f} numbers: {status} {answer[:160]}")
        deaths = sum(server.metric(f'sconce_model_deaths_total{{model="giant",version="1",cause="{it}"}}') or 0 for it in CAUSES)
        check.that(deaths == 0, f"no process ended: {deaths}")
        status, answer = server.ask("POST", "/predict/giant", {"inputs": {"x": [[3]]}})
        check.that(status == 200, f"the model goes on: {status} {answer[:80]}")
        check.that(server.is_alive(), "the server lives")
    check.end()


main(sys.argv[1])
