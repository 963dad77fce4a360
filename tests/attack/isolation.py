#!/usr/bin/env python3
"""A model that ends its process, or does not end, in many ways, beside one that does nothing of the kind.

    tests/attack/isolation.py PROGRAM [DEATHS]

Both are under load while one request in a few hundred of the bad model takes one of its ways out, and while its process gets
signals from outside. Fails where a request of the good model fails or takes much longer than before, where a request of the bad
one fails that is not to blame, or has no reason; and then has its process die so many times (1,000) and looks what is left. Ten
minutes.
"""

import asyncio
import os
import pathlib
import random
import signal
import sys
import tempfile
import time

import common
from overload import Client, percentile, predict

WAYS = range(1, 25)
# Those that go on, and those that end with an error of the run and no death.
ENDLESS, HARMLESS = {19, 20, 21, 22}, {14, 23, 24}
# Each sure to end it at once.
MORTAL = [way for way in range(1, 18) if way not in (4, 14)]
SIGNALS = ["SIGSEGV", "SIGILL", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL", "SIGTERM", "SIGXCPU", "SIGSTOP"]
SECONDS = 3
SETTINGS = ["isolation.max_deaths=1000000", "requests.timeout=2s", "limits.stuck_grace=500ms", "threads.instances=2"]
# How much later the good model's answers may be (p99), and how far off a machine that does something else beside may be.
LATENESS = (1.5, 4.0)


def children(pid, flags=("--serving", "--zygote")):
    """The processes that a server has started to serve models, but for the one from which they are forked."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                is_child = int(fields[1]) == pid
                if is_child and any(flag in (entry / "cmdline").read_text() for flag in flags):
                    # A zygote has one thread, and what is forked from it has several.
                    if int(fields[17]) > 1:
                        found.append(int(entry.name))
            except OSError:
                pass
    return found


def good() -> bytes:
    return predict("tabular", {"features": [random.gauss(0, 1) for _ in range(20)]})


def fine() -> bytes:
    return predict("mortal", {"features": [random.random() for _ in range(4)]})


def killer(way: int) -> bytes:
    # Never the same one twice: that would be known.
    return predict("mortal", {"features": [1000 + way] + [random.random() for _ in range(3)]})


async def loop(port, request, seconds, every=0.0):
    """(status, seconds, code) of one request after the other."""
    connection, answers, until = Client(port), [], time.monotonic() + seconds
    while (asked := time.monotonic()) < until:
        status, _, body = await connection.ask(request())
        code = next((it for it in ("model_crashed", "deadline_exceeded", "inference_failed", "out_of_memory") if it.encode() in body), "")
        answers.append((status, time.monotonic() - asked, code if status != 200 else ""))
        await asyncio.sleep(every)
    return answers


async def under_load(port, third, seconds=SECONDS, every=0.2):
    """Answers of the good model, of the bad one to what is fine, and to `third`, which comes now and then."""
    clients = [loop(port, good, seconds, 0.002) for _ in range(4)] + [loop(port, fine, seconds, 0.002) for _ in range(4)]
    answers = await asyncio.gather(*clients, loop(port, third, seconds, every))
    return sum(answers[:4], []), sum(answers[4:8], []), answers[8]


def counted(answers):
    counts = {}
    for status, _, code in answers:
        name = f"{status} {code}".strip()
        counts[name] = counts.get(name, 0) + 1
    return counts


def failed(answers):
    return {name: n for name, n in counted(answers).items() if name != "200"}


def late(answers):
    return 1e3 * percentile([took for _, took, _ in answers], 0.99)


def left_of(pid):
    """Descriptors, threads, memory (MiB) and children of a server."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    field = lambda name: int(next(line for line in status.splitlines() if line.startswith(name)).split()[1])
    return len(os.listdir(f"/proc/{pid}/fd")), field("Threads"), (field("RssAnon") + field("RssShmem")) >> 10, len(children(pid, ["engine-child"]))


def settled(server):
    """Until the bad model answers again: its process may just be starting."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.ask("POST", "/predict/mortal", {"features": [random.random()] * 4})[0] == 200:
            return True
        time.sleep(0.05)
    return False


def main() -> int:
    random.seed(7)
    n_deaths = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    check = common.Check()
    models = [common.FIXTURES / "tabular", common.FIXTURES / "mortal"]
    with common.Server(sys.argv[1], *SETTINGS, "trial.memory_bytes=1500MiB", models=models) as server:
        server.ready(300)
        check.that(len(children(server.process.pid)) == 1, "the bad model has a process of its own, and the good one has none")
        asyncio.run(under_load(server.port, fine))
        usual = [asyncio.run(under_load(server.port, fine)) for _ in range(3)]
        p99 = sorted(late(goods) for goods, _, _ in usual)[1]
        print(f"  usual: p99 of the good model {p99:.1f} ms, of the bad one {sorted(late(it) for _, it, _ in usual)[1]:.1f} ms")
        lates, good_failed, blameless_failed, killers = [], {}, {}, {}
        for way in WAYS:
            goods, fines, bads = asyncio.run(under_load(server.port, lambda: killer(way)))
            lates.append(late(goods) / p99)
            good_failed[way], blameless_failed[way] = failed(goods), failed(fines)
            killers[way] = counted(bads)
            print(
                f"  way {way:2}: good {len(goods)} answered, p99 {lates[-1]:.2f} of usual; bad model: {counted(fines)}, "
                f"p99 {late(fines):.0f} ms; its killers {killers[way]}", flush=True
            )
            check.that(settled(server), f"way {way}: the bad model serves again")
        pid = server.process.pid
        for name in SIGNALS:
            async def signalled():
                run = asyncio.create_task(under_load(server.port, fine))
                await asyncio.sleep(1)
                for child in children(pid):
                    os.kill(child, getattr(signal, name))
                return await run

            goods, fines, _ = asyncio.run(signalled())
            lates.append(late(goods) / p99)
            good_failed[name], blameless_failed[name] = failed(goods), failed(fines)
            print(f"  {name}: good {len(goods)} answered, p99 {lates[-1]:.2f} of usual; bad model {counted(fines)}, slowest {1e3 * max(took for _, took, _ in fines):.0f} ms", flush=True)
            check.that(settled(server), f"{name}: the bad model serves again")
        lates.sort()
        print(f"  p99 of the good model beside deaths: median {lates[len(lates) // 2]:.2f} of usual, worst {lates[-1]:.2f}")
        good_failed = {way: counts for way, counts in good_failed.items() if counts}
        check.that(not good_failed, f"no request of the good model fails: {good_failed}")
        check.that(lates[len(lates) // 2] <= LATENESS[1], f"its p99 stays (wanted: {LATENESS[0]} times)")
        for way in set(WAYS) - ENDLESS - HARMLESS:
            check.that(set(killers[way]) <= {"500 model_crashed"}, f"way {way}: who ends the process is told so: {killers[way]}")
        for way in ENDLESS:
            allowed = {"504 deadline_exceeded", "500 model_crashed", "507 out_of_memory", "500 inference_failed", "429"}
            check.that(set(killers[way]) <= allowed, f"way {way}: who does not end is told so: {killers[way]}")
        # Who waits behind a death, or a run that does not end, may be too late; nobody is taken for who ended it.
        for way, counts in blameless_failed.items():
            allowed = {"504 deadline_exceeded", "429"}
            check.that(set(counts) <= allowed, f"{way}: nobody else is blamed: {counts}")
        n_late = sum(sum(counts.values()) for way, counts in blameless_failed.items() if way not in ENDLESS)
        print(f"  {n_late} blameless requests of the bad model were too late beside deaths")

        server.ask("POST", "/predict/mortal", {"features": [1001, 0.5, 0.25, 0.125]})
        settled(server)
        deaths = 'sconce_model_deaths_total{model="mortal",version="1",cause="crashed"}'
        before = server.metric(deaths)
        known = [server.ask("POST", "/predict/mortal", {"features": [1001, 0.5, 0.25, 0.125]})[0] for _ in range(20)]
        check.that(set(known) == {500} and server.metric(deaths) == before, "a retry of a killer is refused and ends nothing")

        begun, first = time.monotonic(), left_of(pid)
        for n in range(n_deaths):
            status, body = server.ask("POST", "/predict/mortal", {"features": [1000 + MORTAL[n % len(MORTAL)], random.random(), 0.5, 0.5]})
            if status != 500 or b"model_crashed" not in body:
                check.that(False, f"death {n}: {status} {body[:200]}")
                break
        check.that(settled(server), "it serves after its deaths")
        last = left_of(pid)
        print(f"  {n_deaths} deaths in {time.monotonic() - begun:.0f} s; descriptors, threads, MiB, processes: {first} before, {last} after")
        check.that(last[0] <= first[0] + 8 and last[1] <= first[1] + 2 and last[3] <= first[3], "nothing is left of them")
        check.that(last[2] <= first[2] + 32, "no memory is")
        check.that(server.is_alive(), "the server lives")
        everybody = children(pid, ["engine-child"])
        server.signal(signal.SIGKILL)
        server.wait()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and any(pathlib.Path(f"/proc/{it}").exists() for it in everybody):
            time.sleep(0.05)
        left = [it for it in everybody if pathlib.Path(f"/proc/{it}").exists()]
        check.that(not left, "a server that is killed leaves no process behind")
    check.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
