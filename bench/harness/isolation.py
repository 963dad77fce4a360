"""What a process of its own costs: the same models in the server's process and in one of theirs, in turn."""

from __future__ import annotations

import contextlib
import pathlib
from typing import TYPE_CHECKING

from harness import contestants, measure
from harness.processes import Process, started

if TYPE_CHECKING:
    from harness.sections import Bench

# Almost nothing to compute over so many bytes, and two whose runs take milliseconds.
TRANSPORTED = ["bytes_4k", "bytes_600k", "bytes_10m"]
COMPUTING = ["minilm", "resnet50"]
CALLERS = (1, 2)


def section(bench: Bench) -> None:
    folder = bench.paths.data / "isolation"
    with contextlib.ExitStack() as servers:
        running = {}
        for mode in ("none", "process"):
            server = contestants.sconce(bench.paths, folder, bench.state, f"isolation.mode={mode}")
            running[mode] = servers.enter_context(started(server))
        bench.results.add("isolation_memory", **memory_of_children(running["process"]))
        for round_number in range(5 * bench.effort.rounds):
            turn = list(running.items())
            shift = round_number % len(turn)
            for model in TRANSPORTED + COMPUTING:
                kind = "json" if model == "minilm" else "raw"
                for callers in CALLERS if model in TRANSPORTED else (4,):
                    for mode, server in turn[shift:] + turn[:shift]:
                        line = measure.load(
                            bench.paths, server, model, kind=kind, connections=callers,
                            seconds=bench.effort.slow / 2, warmup=0.3,
                        )  # fmt: skip
                        bench.results.add("isolation", model=model, mode=mode, callers=callers, round=round_number, **line)


def memory_of_children(server: Process) -> dict:
    """Private memory of the server's children in MB, the first of which all others are forked from."""
    megabytes = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) != server.process.pid:
                continue
            words = (stat.parent / "smaps_rollup").read_text().split()
            kilobytes = sum(int(words[words.index(f"Private_{kind}:") + 1]) for kind in ("Clean", "Dirty"))
            megabytes.append(round(kilobytes / 1024, 1))
    return {"private_mb": sorted(megabytes)}
