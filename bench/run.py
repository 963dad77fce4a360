#!/usr/bin/env python3
"""Measures the release server in its default configuration, with references beside it: make bench.

Needs what `make setup` needs. Prints one table, and writes results.jsonl, table.txt and a report into
a folder of its own in the cache. --quick takes minutes, the whole run about 25.
"""

import argparse
import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "scripts")]

from harness import machine, table  # noqa: E402
from harness.contestants import Paths  # noqa: E402
from harness.processes import Failure  # noqa: E402
from harness.sections import Bench, Effort, Results  # noqa: E402

import wheels  # noqa: E402

MODELS = ["tabular", "digits", "minilm", "minilm_mixed", "resnet50"]
EXTRAS = ["first_shapes", "variants", "protocols", "isolation", "watching", "start", "memory"]
QUICK = ["tabular", "minilm", "start", "memory"]


def main() -> int:
    arguments = parse()
    everything = QUICK if arguments.quick else [*MODELS, *EXTRAS]
    wanted = arguments.only.split(",") if arguments.only else everything
    unknown = [name for name in wanted if name not in MODELS + EXTRAS]
    if unknown:
        raise Failure(f"--only: {', '.join(unknown)}: expected some of {', '.join(MODELS + EXTRAS)}")
    with alone():
        return measure(arguments, wanted)


def measure(arguments: argparse.Namespace, wanted: list[str]) -> int:
    paths = prepare(arguments)
    began = time.monotonic()
    results = Results(paths.out / "results.jsonl")
    results.add("machine", **machine.describe(ROOT, paths.server), arguments=sys.argv[1:])
    bench = Bench(paths, Effort(arguments.quick, arguments.rounds), results, not arguments.no_references)
    models = [model for model in MODELS if model in wanted]
    try:
        if models:
            bench.models(models)
        for extra in EXTRAS:
            if extra in wanted:
                getattr(bench, extra)()
    finally:
        results.add("end", problems=bench.problems, minutes=round((time.monotonic() - began) / 60, 2))
        rows = table.Table(results).make()
        finish(paths, rows, bench.problems)
    loud = [problem for problem in bench.problems if "DISAGREE" in problem]
    return 1 if loud else 0


@contextlib.contextmanager
def alone():
    """Two runs at once would measure each other. The lock goes with its holder, however that one ends."""
    folder = wheels.cache_folder() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "run.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Failure("another run is under way on this machine: two would measure each other") from error
        yield


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help=f"one short round of {','.join(QUICK)}: minutes, and rough figures")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (3; 1 with --quick)")
    parser.add_argument("--only", help=f"some of {','.join(MODELS + EXTRAS)}")
    parser.add_argument("--server", type=pathlib.Path, help="the program to measure; it is built without this")
    parser.add_argument("--no-references", action="store_true", help="leave Flask and FastAPI out")
    return parser.parse_args()


def prepare(arguments: argparse.Namespace) -> Paths:
    """Programs, models, the references' Python and a folder for the results."""
    say("building")
    packages = ["-p", "sconce-bench"] if arguments.server else ["-p", "sconce-bench", "-p", "sconce"]
    subprocess.run(["cargo", "build", "--release", "--locked", "--bins", *packages], cwd=ROOT, check=True)
    tools = target_folder() / "release"
    say("models and the references' environment")
    torch_python = output(ROOT / "scripts" / "python-env")
    data = pathlib.Path(output(torch_python, ROOT / "bench" / "models.py"))
    python = output(sys.executable, ROOT / "bench" / "references" / "environment.py")
    out = data / "results" / time.strftime("%Y-%m-%d-%H%M%S")
    out.mkdir(parents=True)
    return Paths(arguments.server or tools / "sconce", tools, data, python, out)


def target_folder() -> pathlib.Path:
    """Where cargo builds: named in .cargo/config.toml by `make setup`."""
    config, folder = ROOT / ".cargo" / "config.toml", ROOT / "target"
    if config.exists():
        folder = pathlib.Path(tomllib.loads(config.read_text()).get("build", {}).get("target-dir", folder))
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", folder))


def output(*command) -> str:
    done = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def finish(paths: Paths, rows: list[table.Row], problems: list[str]) -> None:
    for leftover in ("state", "answers", "models"):
        shutil.rmtree(paths.out / leftover, ignore_errors=True)
    text = table.text(rows)
    (paths.out / "table.txt").write_text(text + "\n")
    (paths.out / "table.json").write_text(json.dumps([row.line() for row in rows], indent=1))
    print(f"\n{text}\n")
    for problem in problems:
        say(re.sub(r"\s+", " ", problem))
    report = subprocess.run([paths.python, ROOT / "bench" / "report.py", paths.out])
    say(f"results in {paths.out}" + ("" if report.returncode == 0 else "; the report could not be made"))


def say(text: str) -> None:
    print(f"bench: {text}", flush=True)


def interrupted(*_) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    # What was started is stopped also when we are asked to end.
    signal.signal(signal.SIGTERM, interrupted)
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"bench: {failure}")
    except subprocess.CalledProcessError as failure:
        sys.exit(f"bench: a step failed: {failure}")
    except KeyboardInterrupt:
        sys.exit("bench: interrupted")
