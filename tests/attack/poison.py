#!/usr/bin/env python3
"""Clients whose requests make their run fail, beside many whose requests do not.

    tests/attack/poison.py PROGRAM

64 clients ask for rows that are fine, then the same beside 4 that ask for a word beyond the table, with a model that raises
at once and one that raises at the end of its run; and beside a hundred bad requests a second, whether or not they are answered. Fails where the good ones get much less than without the bad ones, or a
wrong status. Takes about a minute.
"""

import asyncio
import random
import sys

from overload import closed_loop, open_loop, predict, row, serving

GOOD, BAD, SECONDS, FLOOD = 64, 4, 4, 100
# What is wanted, and how far off a machine that does something else beside may be.
SHARE = (0.8, 0.65)


def main() -> int:
    random.seed(7)
    problems = []
    for model in ("heavy", "heavy_late"):
        batching = '[batching]\nmax_batch_size = 16\nmax_queue_wait = "30s"'
        def good() -> bytes:
            return predict(model, {"features": row()})

        def bad() -> bytes:
            return predict(model, {"features": row()[:-1] + [100 + random.randrange(1000)]})

        def measure(n_bad: int) -> tuple[float, float]:
            """Answers a second of the good and of the bad clients."""
            clients = asyncio.run(closed_loop(server.port, [good] * GOOD + [bad] * n_bad, SECONDS))
            for place, answers in enumerate(clients):
                expected = 200 if place < GOOD else 500
                if wrong := {status for status, _ in answers} - {expected}:
                    problems.append(f"{model}: statuses {sorted(wrong)} in place of {expected}")
            per_second = [len(answers) / SECONDS for answers in clients]
            return sum(per_second[:GOOD]), sum(per_second[GOOD:])

        async def flood() -> tuple[list, list]:
            bads = open_loop(server.port, bad, FLOOD, SECONDS)
            return await asyncio.gather(closed_loop(server.port, [good] * GOOD, SECONDS), bads)

        with serving(sys.argv[1], model, "instances = 1", batching) as server:
            measure(0)
            # In turns, since other programs do not leave the same to each.
            figures = [(measure(0)[0], *measure(BAD)) for _ in range(3)]
            clients, bads = asyncio.run(flood())
            last = measure(0)[0]
        flooded = sum(status == 200 for answers in clients for status, _ in answers) / SECONDS / last
        if wrong := {status for status, _, _ in bads} - {500, 429, 504}:
            problems.append(f"{model}: statuses {sorted(wrong)} of bad requests")
        alone, beside, refused = (sum(it) / len(figures) for it in zip(*figures))
        share = beside / alone
        print(
            f"{model}: {GOOD} good clients get {alone:.0f} answers a second, beside {BAD} bad ones {beside:.0f} "
            f"({share:.2f}); the bad ones {refused:.0f}; beside {FLOOD} bad requests a second {flooded:.2f}"
        )
        share = min(share, flooded)
        if share < SHARE[1]:
            problems.append(f"{model}: good clients get {share:.2f} of what they get without bad ones, wanted {SHARE[0]}")
    for problem in problems:
        print("FAILED:", problem)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
