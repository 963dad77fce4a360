"""A part of the requests for a new version: a worse one is rolled back by itself, a good one is promoted."""

import math
import time

import serving
from load import Load, capacity
from models import save

# Rounds of products that the old version takes, so that its own run is most of what a request takes.
ROUNDS = 150
RUNS = 3
STEPS = '[rollout]\nstrategy = "canary"\nsteps = ["20% for 10s", "50% for 10s"]\ndecide = "automatic"\n'
BY_HAND = '[rollout]\nstrategy = "canary"\nsteps = ["5% for 1h"]\n'
BACK, ON = "rollout_rolled_back", "rollout_promoted"
# A canary compares no answers, as docs/rollouts.md says: other answers are for golden requests and for a shadow to find.
CASES = [
    ("errors", {"rounds": ROUNDS, "fails": 0.05}, BACK, RUNS),
    ("three times slower", {"rounds": 3 * ROUNDS}, BACK, RUNS),
    ("good", {"rounds": ROUNDS}, ON, RUNS),
    ("2 % other answers, which no canary sees", {"rounds": ROUNDS, "flips": 0.02}, ON, 1),
]
CALLERS = 5000
WEIGHTS = [5, 20, 50, 80]


def canary(program, check):
    for name, faults, wanted, runs in CASES:
        for run in range(1 if check.is_quick else runs):
            one(program, check, f"{name}, run {run + 1}", faults, wanted)
    weights(program, check)


def one(program, check, name, faults, wanted):
    server, folder = serving.serve(program, STEPS, {"rounds": ROUNDS})
    with server:
        most = capacity(server, 3)
        flips = {2: faults.get("flips", 0.0)}
        with Load(server, rate=most / 2, flips=flips) as load:
            time.sleep(1)
            save(folder, 2, **faults)
            ends = serving.until(lambda: serving.ended(server), 300)
            begins = serving.events(server, "rollout_started")
            alone = time.monotonic()
            time.sleep(1)
        told = ends[-1] if ends else {"kind": "nothing", "message": serving.rollout(server), "time": float("nan")}
        took = told["time"] - begins[0]["time"] if begins else float("nan")
        # What failed by itself, and nothing else: rows that share a run with such a one are answered.
        others = [it for it in load.failed if not it[2][0] < faults.get("fails", 0.0)]
        n_new = load.answers.get(2, 0) + len(load.failed)
        print(f"  {name}: {told['kind']} after {took:.0f} s and {n_new} requests of the new version, at {most / 2:.0f} a second: {told['message']}")
        print(f"  {load.told()}", flush=True)
        check.that(told["kind"] == wanted, f"{name}: {wanted}")
        check.that(not load.wrong and not others, f"{name}: no wrong answer, and no request fails but by the new version {others[:3] or ''}")
        stays = 1 if wanted == BACK else 2
        check.that(serving.model(server)["version"] == str(stays) and load.by(alone) == {stays}, f"{name}: version {stays} answers alone then")


def weights(program, check):
    """Shares are as they were asked for, and a caller moves at a step alone."""
    server, folder = serving.serve(program, BY_HAND, http__routing_key_header="X-User-Id")
    with server:
        save(folder, 2)
        serving.until(lambda: serving.events(server, "rollout_started"), 60)
        steps = []
        with Load(server, rate=capacity(server, 3) / 2, keys=CALLERS) as callers, Load(server, clients=2, seed=2) as load:
            for weight in WEIGHTS:
                begun = time.monotonic()
                serving.order(server, f"rollout/weight/{weight}")
                steps.append((begun, time.monotonic(), weight))
                time.sleep(5 if check.is_quick else 10)
            steps.append((time.monotonic(), float("inf"), 100))
        for (_, begun, weight), (end, *_) in zip(steps, steps[1:]):
            found = [version for due, took, version in load.versions if due >= begun and due + took < end]
            share = 100 * found.count(2) / max(len(found), 1)
            of_callers = {caller: version for due, done, caller, version in callers.callers if due >= begun and done < end}
            theirs = 100 * list(of_callers.values()).count(2) / max(len(of_callers), 1)
            print(f"  {weight} % asked for: {share:.3f} % of {len(found)} requests, {theirs:.2f} % of {len(of_callers)} callers", flush=True)
            # Of few requests, three more or less.
            check.that(abs(share - weight) <= max(0.02 * weight, 300 / max(len(found), 1)), f"{weight} % of the requests within 2 % of that")
            # Callers are drawn: four deviations of so many draws.
            deviation = 100 * math.sqrt(weight / 100 * (1 - weight / 100) / max(len(of_callers), 1))
            check.that(abs(theirs - weight) <= 4 * deviation, f"{weight} % of the callers, as closely as so many can be")
        moves, wrong_moves = moved(callers.callers, steps)
        print(f"  {moves} moves of callers")
        check.that(moves and not wrong_moves, f"callers move at a step alone, and to the new version {wrong_moves[:3] or ''}")
        for it in (callers, load):
            print(f"  {it.told()}")
            check.that(it.is_good, "weights: no request fails or is answered wrongly")


def moved(asked, steps):
    """How often callers got another version than before, and which of that was not to be."""
    last, moves, wrong = {}, 0, []
    for due, done, caller, version in sorted(asked):
        before = last.get(caller)
        last[caller] = (due, done, version)
        if before and before[2] != version:
            moves += 1
            # The order came between the first of both requests and the answers. Of two at once either may have been first.
            at_a_step = any(end >= before[0] and begun <= max(done, before[1]) for begun, end, _ in steps)
            is_back = version < before[2] and before[1] < due
            if is_back or not at_a_step:
                wrong.append((caller, before, (due, done, version)))
    return moves, wrong
