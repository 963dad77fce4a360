"""One measurement each: the load generator against a server, the library's loop, a comparison of answers."""

import json
import math
import os
import pathlib
import subprocess

from harness.contestants import Paths, path_of
from harness.processes import Failure, Process

# Beside the time that was asked for: connections, warm-up, answers that are waited for.
GRACE_SECONDS = 120


def run(command: list, seconds: float) -> list[dict]:
    """A tool's lines of JSON. It is ended when it takes too long."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + GRACE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{os.path.basename(command[0])}: not done in time: {' '.join(command)}") from error
    if done.returncode != 0:
        raise Failure(f"{done.stderr.strip()} ({' '.join(command)})")
    return [json.loads(line) for line in done.stdout.splitlines()]


def load(paths: Paths, server: Process, model: str, *, seconds: float, kind: str = "json", **options) -> dict:
    """The load generator's line, with the server's processor time for each request beside it."""
    command = [paths.tool("load"), "--target", server.address, "--seconds", seconds]
    command += ["--path", options.pop("path", path_of(server, model))]
    command += ["--bodies", options.pop("bodies", paths.bodies(model, kind))]
    if kind == "raw" and "content_type" not in options:
        command += ["--content-type", "application/octet-stream"]
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        command += [flag] if value is True else [flag, value]
    before = server.cpu_seconds()
    line = run(command, seconds)[-1]
    line["server_cpu_us"] = round((server.cpu_seconds() - before) * 1e6 / max(line["all_answered"], 1), 2)
    line["memory_mb"] = server.memory()
    return line


def library(paths: Paths, what: str, model: str, *, seconds: float, **options) -> list[dict]:
    command = [paths.tool("library"), what, "--model", paths.model_file(model), "--rows", paths.rows(model)]
    command += ["--seconds", seconds]
    for name, value in options.items():
        command += ["--" + name.replace("_", "-"), value]
    return run(command, seconds + 300)


class Agreement:
    """How far answers lie from plain PyTorch's, as a part of the largest value of the reference."""

    def __init__(self, answers: pathlib.Path, references: pathlib.Path):
        expected = json.loads(references.read_text())
        self.largest = max(abs(v) for row in expected for v in row)
        self.difference, self.compared, self.same_top = 0.0, 0, 0
        for file in sorted(answers.glob("*.json")):
            wanted, got = expected[int(file.stem)], numbers(json.loads(file.read_text()))
            if len(got) != len(wanted) or not all(map(math.isfinite, got)):
                raise Failure(f"{file}: {len(got)} numbers, expected {len(wanted)} finite ones")
            worst = max(abs(a - b) for a, b in zip(got, wanted))
            self.difference = max(self.difference, worst / self.largest)
            self.same_top += wanted.index(max(wanted)) == got.index(max(got))
            self.compared += 1
        if not self.compared:
            raise Failure(f"{answers}: no answers to compare")

    def line(self) -> dict:
        return {"compared": self.compared, "difference": self.difference, "same_top": self.same_top}


def numbers(answer: dict) -> list[float]:
    """The output's row, in whichever of the three forms it comes."""
    if "outputs" in answer:
        value = next(iter(answer["outputs"].values()))
    else:
        value = answer.get("prediction", answer.get("predictions"))
    while isinstance(value, list) and value and isinstance(value[0], list):
        value = value[0]
    return [math.nan if v is None else float(v) for v in value]


def merged(histograms: list[list]) -> dict:
    """Percentiles of several histograms together, in microseconds."""
    counts: dict[float, int] = {}
    for histogram in histograms:
        for value, count in histogram:
            counts[value] = counts.get(value, 0) + count
    total, wanted, seen, result = sum(counts.values()), [0.5, 0.9, 0.99], 0, {}
    for value in sorted(counts):
        seen += counts[value]
        while wanted and seen >= wanted[0] * total:
            result[f"p{wanted.pop(0) * 100:g}"] = value
    return {**result, "count": total}
