"""Requests that are kept in files: what that costs the others, a disk without room, a crash, and what a replay finds in them."""

import json
import pathlib
import subprocess
import tempfile
import time

import common
import serving
from load import Load, capacity
from models import save
from scarce import fill, small_disk

ROUNDS = 150
CLIENTS = 64
TURNS = 5
FLIPS = 0.02


def captured(program, check):
    cost(program, check)
    full_disk(program, check)
    replayed(program, check)


def records(server):
    """How many were written, dropped and failed."""
    return [int(serving.total(server, "sconce_capture_records_total", outcome=it)) for it in ("written", "dropped", "failed")]


def cost(program, check):
    """Every request is captured by one of two servers, which take turns."""
    with tempfile.TemporaryDirectory(prefix="sconce-captured-") as folder:
        without, _ = serving.serve(program, faults={"rounds": ROUNDS})
        with_it, _ = serving.serve(program, faults={"rounds": ROUNDS}, capture__folder=folder, capture__sample_rate=1)
        with without, with_it:
            half = capacity(without) / 2
            for name, load_of in {
                "half of the load": lambda server: Load(server, rate=half),
                "full load": lambda server: Load(server, clients=CLIENTS),
            }.items():
                took, n, is_good = [[], []], [0, 0], True
                seconds, turns = (3, 1) if check.is_quick else (8, TURNS)
                for _ in range(turns):
                    for place, server in enumerate((without, with_it)):
                        time.sleep(1)
                        with load_of(server) as load:
                            time.sleep(seconds)
                        took[place] += [it for _, it in load.latencies]
                        n[place] += load.n
                        is_good &= load.is_good
                p99 = [common.percentile(it, 0.99) * 1000 for it in took]
                told = f"p99 {p99[0]:.2f} ms without, {p99[1]:.2f} ms with, {p99[1] / p99[0]:.2f} times"
                print(f"  {name}: {told}; {n[0]} and {n[1]} answers; {records(with_it)} written, dropped, failed", flush=True)
                check.that(is_good, f"{name}: no request fails or is answered wrongly")
                if not check.is_quick and name == "half of the load":
                    check.that(p99[1] <= 1.1 * p99[0], f"{name}: p99 is at most 1.1 times that without captured requests")
                    check.that(records(with_it)[0] > 0.99 * n[1], f"{name}: requests are captured")


def full_disk(program, check):
    """The disk fills up, and has room again."""
    with small_disk("8m") as disk:
        if disk is None:
            return
        server, _ = serving.serve(program, capture__folder=disk / "c", capture__sample_rate=1, capture__max_bytes="4MiB")
        with server, Load(server, rate=capacity(server, 3) / 2) as load:
            time.sleep(3)
            ballast = fill(disk)
            began = time.monotonic()
            failing = serving.until(lambda: records(server)[2], 30)
            time.sleep(3)
            ended = time.monotonic()
            ballast.unlink()
            before = records(server)[0]
            again = serving.until(lambda: records(server)[0] > before, 30)
            told = serving.events(server, "capture_problem")
            time.sleep(1)
        print(f"  full disk: {load.n} requests, p99 {load.p99():.2f} ms, while it was full {load.p99(began, ended):.2f} ms", flush=True)
        check.that(failing and told, "full disk: what is not captured is counted, and an event says why")
        check.that(again, "full disk: with room again requests are captured")
        check.that(load.is_good, "full disk: no request fails or is answered wrongly")


def run(program, *arguments):
    ended = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=300, env=common.environment())
    if ended.returncode:
        raise SystemExit(f"{arguments[0]}: status {ended.returncode}\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    return ended.stdout


def replayed(program, check):
    """A day that a crash ended is asked again of a version with two of a hundred other answers, and of a good one."""
    with tempfile.TemporaryDirectory(prefix="sconce-captured-") as kept:
        server, folder = serving.serve(program, capture__folder=kept, capture__sample_rate=1)
        with server:
            with Load(server, rate=1000) as load:
                time.sleep(5)
            serving.until(lambda: records(server)[0] >= load.n, 30)
            with Load(server, rate=1000):
                time.sleep(1)
                server.process.kill()
                server.process.wait(30)
            save(folder, 2, flips=FLIPS)
            save(folder, 3)
            lines = sum(file.read_bytes().count(b"\n") for file in pathlib.Path(kept).iterdir())
            exported = run(program, "export", kept, "--as", "v2").count("\n")
            check.that(exported == lines >= load.n, f"replay: all {lines} whole lines are read after a crash, {exported}")
            with tempfile.TemporaryDirectory() as state:
                own = ["--models", server.models, "--set", f"state_dir={state}", "--json"]
                other, good = [json.loads(run(program, "replay", kept, "--against", f"m/{it}", *own)) for it in (2, 3)]
        low, high = other["changed_part_interval"]
        print(f"  replay: {other['compared']} requests, {other['changed_part']:.4f} of another class ({low:.4f} to {high:.4f}), of a good one {good['changed_part']:.4f}", flush=True)
        check.that(low <= FLIPS <= high and low > 0, "replay: the planted 2 % are found")
        # The part by which versions are told from each other turns rows whose scores are that close.
        check.that(good["changed_part"] < FLIPS / 4 and good["compared"] == lines, "replay: a good version changes next to nothing")
