"""What is measured, in which order. Rounds are interleaved: A B C, then B C A, so that a drift of the
machine hits all alike; ratios are taken within a round.
"""

import contextlib
import json
import pathlib
import shutil
import statistics
import tempfile
import time
import tomllib

from harness import contestants, isolation, machine, measure, protocols
from harness.contestants import Paths
from harness.processes import Failure, Process, started

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONNECTIONS = [1, 8, 64]
OPEN_LOOP_CONNECTIONS = 128


class Effort:
    """How long everything takes."""

    def __init__(self, quick: bool, rounds: int | None):
        self.quick = quick
        self.rounds = rounds or (1 if quick else 3)
        self.fast, self.slow = (1.0, 3.0) if quick else (2.0, 4.0)
        self.connections = [1, 64] if quick else CONNECTIONS
        self.shares = [0.4, 0.8] if quick else [0.2, 0.4, 0.6, 0.8, 0.9]
        self.slices = 3 if quick else 10
        self.screen_budget = 10 if quick else 45
        self.finalists = 1 if quick else 3
        self.starts = 2 if quick else 5

        # What the library does on this machine, rows a second by model.
        self.expected: dict[str, float] = {}

    def seconds(self, model: str, connections: int = 1) -> float:
        """A slow model answers all connections in one or two bursts: some of them must fit in."""
        if model in ("tabular", "digits"):
            return self.fast
        return min(max(self.slow, 6 * self.burst(model, connections)), 90)

    def warmup(self, model: str, connections: int = 1) -> float:
        if model in ("tabular", "digits"):
            return 0.5
        return min(max(1.0, 1.5 * self.burst(model, connections)), 30)

    def burst(self, model: str, connections: int) -> float:
        """Seconds in which every connection is answered once."""
        return connections / self.expected[model] if self.expected.get(model) else 0.0


class Results:
    """Every line that was measured, written as it comes."""

    def __init__(self, file: pathlib.Path):
        self.lines: list[dict] = []
        self.file = open(file, "w", buffering=1)

    def add(self, section: str, **fields) -> dict:
        line = {"section": section, "at": round(time.time(), 3), **fields}
        self.lines.append(line)
        self.file.write(json.dumps(line) + "\n")
        return line

    def find(self, section: str, **fields) -> list[dict]:
        return [
            line
            for line in self.lines
            if line["section"] == section and all(line.get(name) == value for name, value in fields.items())
        ]


class Bench:
    def __init__(self, paths: Paths, effort: Effort, results: Results, references: bool):
        self.paths, self.effort, self.results, self.references = paths, effort, results, references
        self.state = paths.out / "state"
        self.problems: list[str] = []

    def say(self, text: str) -> None:
        print(f"bench: {text}", flush=True)

    def models(self, wanted: list[str]) -> None:
        """One server with all models, as people run it; the references serve one model each."""
        folder = self.paths.out / "models"
        folder.mkdir()
        for model in wanted:
            contestants.put_model(self.paths, model, folder)
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(started(contestants.sconce(self.paths, folder, self.state)))
            echoes = [stack.enter_context(started(contestants.echo(self.paths, threads))) for threads in (1, 2)]
            for model in wanted:
                if problem := contestants.problem(server, model):
                    self.problems.append(f"{model} is not served, so that it is not measured: {problem}")
                elif model == "minilm_mixed":
                    self.mixed(server)
                else:
                    self.model(model, server, echoes)

    def model(self, model: str, server: Process, echoes: list[Process]) -> None:
        self.say(f"{model}: the library's own best")
        finalists = self.screen(model)
        kinds = ["json", "raw"] if self.takes_raw(server, model) else ["json"]
        for kind in kinds:
            self.agreement(model, server, kind)
        with contextlib.ExitStack() as stack:
            rivals = []
            if self.references and model != "resnet50":
                rivals = [stack.enter_context(started(contestants.flask(self.paths, model)))]
                for workers in (2,) if self.effort.quick else (1, 2):
                    rivals.append(stack.enter_context(started(contestants.fastapi(self.paths, model, workers))))
            for rival in rivals:
                self.agreement(model, rival)
            self.throughput(model, [server, *(echoes if model in ("tabular", "digits") else []), *rivals], finalists, kinds)
            self.added_latency(model, server, echoes)
            self.open_loop(model, [server, *(rival for rival in rivals if rival.name != contestants.ONE_WORKER)])

    def takes_raw(self, server: Process, model: str) -> bool:
        files = sorted(self.paths.bodies(model, "raw").iterdir())
        if model != "resnet50" or not files:
            return False
        status, _ = server.ask(f"/predict/{model}", files[0].read_bytes(), "application/octet-stream")
        if status != 200:
            self.problems.append(f"{model}: raw bytes are answered with {status}, so that JSON alone is measured")
        return status == 200

    def screen(self, model: str) -> list[dict]:
        """The library's best combinations; they run again in every round beside the servers."""
        seconds = 0.1 if self.effort.quick else 0.3
        lines = measure.library(self.paths, "screen", model, seconds=seconds, budget=self.effort.screen_budget)
        best = lines[-1]["best"]
        self.results.add("screen", model=model, best=best, left_out=lines[-1]["left_out"])
        self.effort.expected[model] = best[0]["rows_per_second"]
        return best[: self.effort.finalists]

    def agreement(self, model: str, server: Process, kind: str = "json", source: str | None = None) -> None:
        """Answers under load, so that they come from batches, against plain PyTorch's of single rows."""
        source = source or model
        folder, bodies = self.paths.out / "answers" / f"{model}-{kind}", self.paths.bodies(source, kind)
        count = len(list(bodies.iterdir()))
        measure.load(
            self.paths, server, model, kind=kind, bodies=bodies, seconds=120,
            requests=count, connections=64, save=folder, timeout=60,
        )  # fmt: skip
        found = measure.Agreement(folder, self.paths.data / "data" / source / "references.json").line()
        shutil.rmtree(folder)
        form = form_of(contestants.metadata(server, model)) if server.name == "sconce" else "frozen"
        folders = [self.paths.data / group / model for group in ("models", "variants")]
        tolerance = tolerance_of(form, next(it for it in folders if it.exists()) / "model.toml")
        agrees = found["difference"] <= tolerance and found["compared"] == count
        self.results.add(
            "agreement", contestant=server.name, model=model, kind=kind, form=form,
            tolerance=tolerance, agrees=agrees, **found,
        )  # fmt: skip
        answers = f"{server.name}, {model} ({kind}): {found['compared']} of {count} answers"
        self.say(f"{answers} differ by {found['difference']:.1e}, {tolerance:.0e} is allowed")
        if not agrees:
            self.problems.append(f"{answers} DISAGREE with plain PyTorch: {found}, {tolerance} is allowed")

    def throughput(self, model: str, servers: list[Process], finalists: list[dict], kinds: list[str]) -> None:
        turns = [(server, kind) for server in servers for kind in (kinds if server is servers[0] else ["json"])]
        for round_number in range(self.effort.rounds):
            order = turns[round_number % len(turns) :] + turns[: round_number % len(turns)]
            for connections in self.effort.connections:
                self.say(f"{model}: round {round_number + 1}, {connections} connections")
                for server, kind in order:
                    # What no goal is about is measured once.
                    if round_number and (connections == 8 or server.name == contestants.ONE_WORKER):
                        continue
                    self.closed(model, server, kind, connections, round_number)
                    if server is servers[0] and kind == kinds[0] and connections == 64:
                        # Right beside the server's turn: what the machine does meanwhile hits both.
                        self.library(model, finalists, round_number)

    def library(self, model: str, finalists: list[dict], round_number: int) -> None:
        for best in finalists:
            combination = {name: best[name] for name in ("form", "batch", "threads", "intra_op")}
            seconds = self.effort.seconds(model)
            [line] = measure.library(self.paths, "rate", model, seconds=seconds, **combination)
            self.results.add("library", model=model, round=round_number, **line)

    def closed(self, model: str, server: Process, kind: str, connections: int, round_number: int) -> None:
        seconds = self.effort.seconds(model, connections)
        before = machine.processor_time()
        line = measure.load(
            self.paths, server, model, kind=kind, seconds=seconds, connections=connections,
            warmup=self.effort.warmup(model, connections), timeout=90,
        )  # fmt: skip
        line["busy_cores"] = round(machine.busy_cores(before, machine.processor_time()), 3)
        self.results.add(
            "throughput", model=model, contestant=server.name, kind=kind, round=round_number, **line
        )
        self.must_be_clean(line, f"{server.name}, {model}, {connections} connections")

    def must_be_clean(self, line: dict, what: str) -> None:
        if line["n_errors"]:
            self.problems.append(f"{what}: {line['errors']}")

    def added_latency(self, model: str, server: Process, echoes: list[Process]) -> None:
        """One connection: the server, the echo, and a bare call, in short slices one after the other."""
        seconds = max(self.effort.seconds(model) / 3, 0.5)
        form = measure.library(self.paths, "forward", model, seconds=seconds)[0]["form"]
        # Beside a forward of milliseconds it makes no difference which of the two is faster.
        echoes = echoes if model in ("tabular", "digits") else echoes[:1]
        names = ["sconce", *(echo.name for echo in echoes), "forward"]
        slices: dict[str, list] = {name: [] for name in names}
        for _ in range(self.effort.slices):
            for contestant in (server, *echoes):
                line = measure.load(
                    self.paths, contestant, model, seconds=seconds, connections=1, warmup=0.1,
                    histogram=True, **phases_of(contestant),
                )  # fmt: skip
                slices[contestant.name].append(line)
            [line] = measure.library(self.paths, "forward", model, seconds=seconds, form=form)
            slices["forward"].append(line)
        merged = {name: measure.merged([line["histogram_us"] for line in lines]) for name, lines in slices.items()}
        phases = {}
        for line in slices["sconce"]:
            for phase, timing in line.get("server_timing_us", {}).items():
                phases.setdefault(phase, []).append(timing["p50"])
        own = {phase: round(statistics.median(values), 1) for phase, values in phases.items()}
        body_bytes = slices["sconce"][0]["mean_body_bytes"]
        self.results.add("one_connection", model=model, form=form, phases_us=own, body_bytes=body_bytes, **merged)

    def open_loop(self, model: str, servers: list[Process]) -> None:
        """Rates are shares of each server's own best in the closed loop."""
        for share in self.effort.shares:
            self.say(f"{model}: open loop at {share:.0%} of each server's own best")
            for server in servers:
                lines = self.results.find("throughput", model=model, contestant=server.name, kind="json")
                most = statistics.median(line["rate"] for line in lines if line["connections"] == 64)
                if most < 0.1:
                    continue
                line = measure.load(
                    self.paths, server, model, seconds=self.effort.seconds(model), warmup=0.3, timeout=5,
                    connections=OPEN_LOOP_CONNECTIONS, rate=round(most * share, 2),
                )  # fmt: skip
                self.results.add("open_loop", model=model, contestant=server.name, share=share, **line)

    def mixed(self, server: Process) -> None:
        """Lengths from 8 to 128: the server against a loop that knows the whole stream beforehand."""
        model = "minilm_mixed"
        self.agreement(model, server)
        batches = [64] if self.effort.quick else [4, 64]
        forms = ["optimized"] if self.effort.quick else ["frozen", "optimized"]
        # With fewer rows a length has too few for a batch to help.
        limit, tried = 256 if self.effort.quick else 512, []
        for form in forms:
            for batch in batches:
                [line] = measure.library(
                    self.paths, "lengths", model, seconds=0.1, form=form, batch=batch, threads=2, rows_limit=limit
                )
                tried.append(line)
        best = max(tried, key=lambda line: line["rows_per_second"])
        self.effort.expected[model] = best["rows_per_second"]
        self.results.add("screen", model=model, best=sorted(tried, key=lambda line: -line["rows_per_second"]))
        for round_number in range(self.effort.rounds):
            self.say(f"{model}: round {round_number + 1}")
            self.closed(model, server, "json", 64, round_number)
            [line] = measure.library(
                self.paths, "lengths", model, seconds=0.1, form=best["form"], batch=best["batch"],
                threads=2, rows_limit=limit if self.effort.quick else 1024,
            )  # fmt: skip
            self.results.add("library", model=model, round=round_number, **line)

    def first_shapes(self) -> None:
        """Right after ready: the first request of each length against the later ones of that length. From several
        starts, since a stall of the machine hits one length in one of them.
        """
        lengths = json.loads(self.paths.rows("minilm_mixed").read_text())["lengths"]
        count = 250 if self.effort.quick else 500
        spikes: dict[int, list[float]] = {}
        for start in range(self.effort.rounds):
            self.say(f"the first requests after ready, lengths 8 to 128, start {start + 1}")
            times = self.first_requests(count)
            if not times:
                return
            by_length: dict[int, list[float]] = {}
            for body, microseconds in times:
                by_length.setdefault(lengths[body], []).append(microseconds)
            # Neighbors in length cost about the same; with few requests a length has too few of its own.
            for length, values in by_length.items():
                later = [v for n, vs in by_length.items() if abs(n - length) <= 4 for v in vs[1:]]
                if later:
                    spikes.setdefault(length, []).append(values[0] / statistics.median(later))
        medians = {length: statistics.median(values) for length, values in spikes.items()}
        worst = max(medians, key=medians.get)
        self.results.add(
            "first_shapes", requests=count, starts=self.effort.rounds, lengths=len(medians), worst_length=worst,
            spike=round(medians[worst], 2), single=round(max(max(values) for values in spikes.values()), 2),
        )  # fmt: skip

    def first_requests(self, count: int) -> list[tuple[int, float]]:
        """Bodies and microseconds of the first requests to a fresh server, one after the other."""
        with tempfile.TemporaryDirectory(dir=self.paths.out) as scratch:
            folder = pathlib.Path(scratch) / "models"
            folder.mkdir()
            contestants.put_model(self.paths, "minilm_mixed", folder)
            trace = pathlib.Path(scratch) / "trace"
            with started(contestants.sconce(self.paths, folder, self.state)) as server:
                if contestants.problem(server, "minilm_mixed"):
                    return []
                measure.load(
                    self.paths, server, "minilm_mixed", seconds=120, connections=1, requests=count, trace=trace
                )
            lines = [line.split() for line in trace.read_text().splitlines()]
            return [(int(body), float(microseconds)) for body, microseconds in lines]

    def variants(self) -> None:
        """The same models with other settings: as they are in the file, and in bfloat16."""
        folder = self.paths.data / "variants"
        with started(contestants.sconce(self.paths, folder, self.state)) as server:
            known = []
            for model in sorted(path.name for path in folder.iterdir()):
                if problem := contestants.problem(server, model):
                    self.problems.append(f"{model} is not served, so that it is not measured: {problem}")
                else:
                    known.append(model)
            for model in known:
                self.agreement(model, server, source=model.rsplit("_", 1)[0])
            # Short turns and many: the ratios are of turns that follow each other.
            seconds = self.effort.slow / 2
            for round_number in range(3 * self.effort.rounds):
                for model in known:
                    source = model.rsplit("_", 1)[0]
                    line = measure.load(
                        self.paths, server, model, bodies=self.paths.bodies(source), seconds=seconds,
                        connections=1, warmup=0.2,
                    )  # fmt: skip
                    self.results.add("variant", model=model, round=round_number, **line)
                    if model.endswith("_plain"):
                        [line] = measure.library(self.paths, "forward", source, seconds=seconds, form="plain")
                        self.results.add("plain_loop", model=source, round=round_number, **line)

    def watching(self) -> None:
        """The same models without and with a reference beside them, and with requests captured and traced as well, as by default.
        The receiver of spans takes its part of the machine too."""
        folder = self.paths.data / "watching"
        captured = self.paths.out / "captured"
        with contestants.receiver() as address:
            kinds = {
                "plain": ("plain", ()),
                "watched": ("watched", ()),
                "captured": ("watched", (f"capture.folder={captured}", f"tracing.endpoint={address}")),
            }
            # Short turns and many: the ratios are of turns that follow each other. Two starts of one program differ by more
            # than the kinds do, each by as much in all its turns, so every round starts them anew.
            for round_number in range(3 * self.effort.rounds):
                with contextlib.ExitStack() as servers:
                    running = {
                        kind: servers.enter_context(
                            started(contestants.sconce(self.paths, folder / models, self.state, *settings))
                        )
                        for kind, (models, settings) in kinds.items()
                    }
                    # Each begins in turn, so that none is always behind another.
                    turn = list(running.items())
                    shift = round_number % len(turn)
                    for model, connections in (("tabular", 64), ("tabular", 1), ("digits", 64), ("resnet50", 4)):
                        for kind, server in turn[shift:] + turn[:shift]:
                            line = measure.load(
                                self.paths, server, model, seconds=self.effort.slow / 2, connections=connections, warmup=0.2
                            )  # fmt: skip
                            self.results.add("watching", model=model, kind=kind, at=connections, round=round_number, **line)

    def protocols(self) -> None:
        protocols.section(self)

    def isolation(self) -> None:
        isolation.section(self)

    def start(self) -> None:
        """From the start of the program to its first answer, example models, files in the cache."""
        models = ROOT / "models"
        body = (models / "digits" / "sample.json").read_bytes()
        for attempt in range(self.effort.starts):
            with tempfile.TemporaryDirectory(dir=self.paths.out) as scratch:
                for verdicts in ("unknown", "known"):
                    with started(contestants.sconce(self.paths, models, pathlib.Path(scratch), ready=False)) as server:
                        server.wait_ready("/predict/digits", contestants.START_SECONDS, body, pause=0.002)
                        seconds = time.monotonic() - server.began
                        self.results.add("start", verdicts=verdicts, attempt=attempt, seconds=round(seconds, 4))

    def memory(self) -> None:
        """Against an empty program that loaded libtorch and the same models; after many requests; after failing ones."""
        models, many = ROOT / "models", 20_000 if self.effort.quick else 1_000_000
        files = sorted(models.glob("*/*/model.pt"))
        state = self.paths.out / "memory-state"
        with started(contestants.sconce(self.paths, models, state)) as server:
            # The first start tries the models, in a child process that is counted too.
            self.results.add("memory", when="first start", sconce=server.memory())
        hold = Process("empty program", [self.paths.tool("library"), "hold", *files], self.paths.log("hold"))
        with started(hold), started(contestants.sconce(self.paths, models, state)) as server:
            hold.wait_for_log('"hold"', contestants.START_SECONDS)
            empty = hold.memory()
            self.results.add("memory", when="ready", sconce=server.memory(), empty=empty)

            def send(count: int, **options) -> dict:
                line = measure.load(self.paths, server, "digits", seconds=300, connections=64, requests=count, **options)
                self.must_be_clean(line, "sconce, memory")
                return line["memory_mb"]

            self.say(f"memory: after {many // 10} and {many} requests, and 10000 failing ones")
            self.results.add("memory", when="first tenth", sconce=send(many // 10), empty=empty)
            self.results.add("memory", when="all", requests=many, sconce=send(many - many // 10), empty=empty)
            wrong = self.paths.out / "wrong.json"
            wrong.write_text('{"features":[' + ",".join(["1.5"] * 783) + ',"x"]}')
            self.results.add("memory", when="failing", sconce=send(10_000, bodies=wrong, expect=400), empty=empty)
            wrong.unlink()
        shutil.rmtree(state)


def phases_of(contestant: Process) -> dict:
    """Only ours says how long each phase took."""
    return {"server_timing": True} if contestant.name == "sconce" else {}


def form_of(metadata: dict) -> str:
    """The form in which a model runs, such as `frozen` or `bf16-autocast-frozen`."""
    return metadata["versions"][-1].get("form", {}).get("chosen", "plain")


def tolerance_of(form: str, settings: pathlib.Path) -> float:
    """What answers may differ by, as a part of the largest value of the reference."""
    if form.startswith(("bf16", "fp16")):
        return tomllib.loads(settings.read_text()).get("max_difference", 1e-2)
    return 1e-3 if "optimized" in form else 1e-5


__all__ = ["Bench", "Effort", "Failure", "Results"]
