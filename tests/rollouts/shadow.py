"""Copies of requests for a new version that answers nobody: what they find, and what they cost."""

import time

import common
import serving
from load import Load, capacity
from models import save

RUNS = 3
# Long enough for what spare capacity compares to show 2 %.
STEPS = '[rollout]\nstrategy = "shadow"\nsteps = ["100% for 30s"]\ndecide = "automatic"\nmin_agreement = 0.995\n'
BY_HAND = '[rollout]\nstrategy = "shadow"\nsteps = ["100% for 1h"]\n'
# So many rounds that the server and not the client is what is busy, and no runs that are shared.
ROUNDS = 150
ALONE = "[batching]\nenabled = false\n"
CLIENTS = 64


def shadow(program, check):
    for name, faults in [("2 % other answers", {"flips": 0.02}), ("good", {})]:
        for run in range(1 if check.is_quick else RUNS):
            found(program, check, f"{name}, run {run + 1}", faults)
    half_load(program, check)
    full_load(program, check)


def found(program, check, name, faults):
    """A version that gives other answers is found without answering anybody."""
    server, folder = serving.serve(program, STEPS)
    with server:
        most = capacity(server, 3)
        with Load(server, rate=most / 2) as load:
            time.sleep(1)
            save(folder, 2, **faults)
            ends = serving.until(lambda: serving.ended(server), 300)
            begins = serving.events(server, "rollout_started")
        told = ends[-1] if ends else {"kind": "nothing", "message": serving.rollout(server), "time": float("nan")}
        took = told["time"] - begins[0]["time"] if begins else float("nan")
        print(f"  {name}: {told['kind']} after {took:.0f} s at {most / 2:.0f} requests a second: {told['message']}")
        print(f"  {load.told()}", flush=True)
        wanted = "rollout_promoted" if not faults else "rollout_rolled_back"
        check.that(told["kind"] == wanted, f"{name}: {wanted}")
        answered = set(load.answers) <= ({1} if faults else {1, 2})
        check.that(load.is_good and answered, f"{name}: the live version answers all, until the new one is promoted")


def copies(server):
    """Compared and dropped."""
    return [int(serving.total(server, f"sconce_shadow_{what}")) for what in ("compared", "dropped")]


def turns(server, folder, check):
    """Takes turns without and with copies, many, since machines are not the same from minute to minute. When each began and
    ended, and what came of the copies."""
    seconds, n = (4, 1) if check.is_quick else (10, 5)
    without, during, of_copies = [], [], [0, 0]
    for version in range(2, 2 + n):
        time.sleep(2)
        without.append((time.monotonic(), time.sleep(seconds) or time.monotonic()))
        save(folder, version)
        if serving.until(lambda: serving.model(server)["labels"].get("canary") == str(version), 60) is None:
            raise SystemExit(f"version {version} does not come: {serving.model(server)['problem']}")
        time.sleep(2)
        before = copies(server)
        during.append((time.monotonic(), time.sleep(seconds) or time.monotonic()))
        of_copies = [total + after - since for total, after, since in zip(of_copies, copies(server), before)]
        serving.order(server, "rollout/abort")
    return without, during, of_copies


def within(load, spans):
    return [took for due, took in load.latencies if any(begun <= due < end for begun, end in spans)]


def compared(load, without, during, of_copies, name):
    """Prints how both compare; the 99th percentiles and the numbers of answers a second."""
    took = [within(load, spans) for spans in (without, during)]
    p99 = [common.percentile(it, 0.99) * 1000 for it in took]
    rates = [len(it) / sum(end - begun for begun, end in spans) for it, spans in zip(took, (without, during))]
    print(f"  {name}: p99 {p99[0]:.2f} ms without copies, {p99[1]:.2f} ms with, {p99[1] / p99[0]:.2f} times; {rates[0]:.0f} and {rates[1]:.0f} answers a second")
    print(f"  {name}: {of_copies[0]} copies compared, {of_copies[1]} dropped; {load.told()}", flush=True)
    return p99, rates


def half_load(program, check):
    """What copies of all requests cost those of half of the load."""
    server, folder = serving.serve(program, BY_HAND, {"rounds": ROUNDS})
    with server:
        with Load(server, rate=capacity(server) / 2) as load:
            spans = turns(server, folder, check)
        p99, _ = compared(load, *spans, "half of the load")
        check.that(load.is_good and set(load.answers) == {1}, "half of the load: version 1 answers all requests")
        check.that(spans[2][0] > 0, "half of the load: copies are compared")
        if not check.is_quick:
            check.that(p99[1] <= 1.1 * p99[0], "half of the load: p99 is at most 1.1 times that without copies")


def full_load(program, check):
    """Where there is no room, copies go without, and live requests do not wait for them."""
    server, folder = serving.serve(program, BY_HAND + ALONE, {"rounds": ROUNDS})
    with server:
        with Load(server, clients=CLIENTS) as load:
            spans = turns(server, folder, check)
        _, rates = compared(load, *spans, "full load")
        check.that(load.is_good and set(load.answers) == {1}, "full load: version 1 answers all requests")
        check.that(spans[2][1] > spans[2][0], "full load: most copies are dropped")
        if not check.is_quick:
            check.that(rates[1] >= 0.95 * rates[0], "full load: no request waits for a copy, so as many are answered")
