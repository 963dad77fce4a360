"""kill -9 in every state of a roll-out: the next start serves what was stated, and goes on where that was."""

import contextlib
import json
import random
import threading
import time

import common
import serving
from load import Load
from models import Endless, expected, prepare, save

CANARY = '[rollout]\nstrategy = "canary"\nsteps = ["20% for 1h", "50% for 1h"]\n'
QUICK_STEPS = '[rollout]\nstrategy = "canary"\nsteps = ["20% for 1s", "50% for 1h"]\ndecide = "automatic"\nmin_requests = 10\nhysteresis = 1\n'
SHADOW = '[rollout]\nstrategy = "shadow"\nsteps = ["100% for 1h"]\n'
REPLACE = '[rollout]\nstrategy = "replace"\n'
GOLDEN_REQUESTS = 10_000
BOTH, OLD, NEW = {"stable": "1", "canary": "2"}, {"stable": "1"}, {"stable": "2"}


# Each brings a server, which serves version 1, into a state; false where it could not be met.


def in_state(state, module=None, **faults):
    """While the new version is on its way."""

    def reach(server, folder):
        path = prepare(folder.parent / ".prepared", 2, module, **faults)
        if state == "verifying":
            lines = []
            for idx in range(GOLDEN_REQUESTS):
                row = [0.5, idx / GOLDEN_REQUESTS, 0.5, 0.5]
                lines.append(json.dumps({"request": {"features": row}, "expected": expected(2, row)}))
            (path / "golden.jsonl").write_text("\n".join(lines))
        path.rename(folder / "2")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found = serving.version(server, 2).get("state")
            if found in (state, "ready"):
                return found == state
            time.sleep(0.005)
        return False

    return reach


def on_first_step(server, folder):
    save(folder, 2)
    return serving.until(lambda: serving.model(server)["labels"].get("canary") == "2", 60)


def on_second_step(server, folder):
    on_first_step(server, folder)
    with Load(server, clients=4):
        return serving.until(lambda: serving.events(server, "rollout_step"), 60)


def with_a_weight(server, folder):
    on_first_step(server, folder)
    return serving.order(server, "rollout/weight/35")


def promoted(server, folder):
    on_first_step(server, folder)
    return serving.order(server, "rollout/promote")


def aborted(server, folder):
    on_first_step(server, folder)
    return serving.order(server, "rollout/abort")


def within(what, delay):
    """While an order is carried out: it may have been written down or not."""

    def reach(server, folder):
        on_first_step(server, folder)
        ask = lambda: server.ask("POST", f"/manage/models/m/rollout/{what}", on=server.management)  # noqa: E731
        threading.Thread(target=ask, daemon=True).start()
        time.sleep(delay)
        return True

    return reach


def replaced(server, folder):
    save(folder, 2)
    return serving.until(lambda: serving.model(server)["version"] == "2", 60)


# Name, how versions change, how the state is reached, and what may be after the start: labels with the new version's share.
FIRST_STEP = [(BOTH, 0.2)]
STATES = [
    ("loading", CANARY, in_state("loading"), FIRST_STEP),
    ("loading, of one that hangs", CANARY, in_state("loading", Endless(2)), [(OLD, 0.0)]),
    ("warming", CANARY, in_state("warming", rounds=3000), FIRST_STEP),
    ("verifying", CANARY, in_state("verifying"), FIRST_STEP),
    ("on its first step", CANARY, on_first_step, FIRST_STEP),
    ("on its second step", QUICK_STEPS, on_second_step, [(BOTH, 0.5)]),
    ("with a share by hand", CANARY, with_a_weight, [(BOTH, 0.35)]),
    ("promoted", CANARY, promoted, [(NEW, 1.0)]),
    ("aborted", CANARY, aborted, [(OLD, 0.0)]),
    ("shadow", SHADOW, on_first_step, [(BOTH, 0.0)]),
    ("replaced", REPLACE, replaced, [(NEW, 1.0)]),
]
ORDERS = [
    ("promote", [(BOTH, 0.2), (NEW, 1.0)]),
    ("abort", [(BOTH, 0.2), (OLD, 0.0)]),
    ("weight/35", [(BOTH, 0.2), (BOTH, 0.35)]),
]


def kill(program, check):
    draw = random.Random(1)
    states = list(STATES)
    for run in range(1 if check.is_quick else 4):
        for what, allowed in ORDERS:
            delay = draw.random() * 0.02
            states.append((f"while it is ordered to {what}, run {run + 1}", CANARY, within(what, delay), allowed))
    for state in states:
        one(program, check, *state)


def one(program, check, name, manifest, reach, allowed):
    server, folder = serving.serve(program, manifest, trial__timeout="10s")
    with server:
        if not reach(server, folder):
            print(f"  {name}: was over before it could be met")
            return
        orphans = serving.children(server.process.pid)
        server.process.kill()
        server.process.wait(30)
        # What the process started ends with it, whatever it was doing.
        serving.until(lambda: not serving.alive(orphans), 5)
        orphans = serving.alive(orphans)
        with start_again(program, server) as again:
            answering = load_of(again)
            told, rollout = serving.model(again), serving.rollout(again)
            share = answering.answers.get(2, 0) / max(answering.n, 1)
            states = {it["version"]: it["state"] for it in told["versions"]}
            print(f"  {name}: labels {told['labels']}, versions {states}, {share:.4f} of {answering.n} requests by version 2")
            found = [labels == told["labels"] and abs(share - part) <= 0.02 * part + 0.002 for labels, part in allowed]
            check.that(any(found), f"{name}: {' or '.join(f'{labels} with {part}' for labels, part in allowed)}")
            check.that((rollout is not None) == ("canary" in told["labels"]), f"{name}: what is told of the roll-out is so")
            check.that(answering.is_good, f"{name}: no request fails or is answered wrongly {answering.told() if not answering.is_good else ''}")
            left = serving.drafts([server.folder.name])
            check.that(not orphans and not left, f"{name}: nothing is left behind {orphans or ''}{left or ''}")
            if told["problem"]:
                print(f"  {name}: {told['problem'][:200]}")


@contextlib.contextmanager
def start_again(program, server):
    """Another process with the same folders, as soon as the model serves and nothing is on its way."""
    state = f"{server.folder.name}/state"
    with common.Server(program, f"state_dir={state}", "trial.timeout=10s", models=server.models) as again:
        again.ready()
        on_its_way = ("loading", "warming", "verifying")
        serving.until(lambda: not any(it["state"] in on_its_way for it in serving.model(again)["versions"]), 60)
        yield again


def load_of(server):
    with Load(server, clients=8) as load:
        time.sleep(4)
    return load
