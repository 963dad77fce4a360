"""The table at the end: each number that has a goal, and those that are reported beside them."""

import statistics

from harness.sections import Results

FASTAPI = "FastAPI + uvicorn, 2 workers"
FLASK = "Flask + gunicorn"


class Row:
    def __init__(self, what: str, value, goal: str = "", met: bool | None = None, note: str = ""):
        self.what, self.value, self.goal, self.met, self.note = what, value, goal, met, note

    def cells(self) -> list[str]:
        met = {True: "met", False: "NOT MET", None: ""}[self.met]
        return [self.what, self.value, self.goal, met, self.note]

    def line(self) -> dict:
        return {"what": self.what, "value": self.value, "goal": self.goal, "met": self.met, "note": self.note}


def at_least(what: str, value: float, goal: float, note: str = "") -> Row:
    return Row(what, f"{value:.2f}", f">= {goal:g}", value >= goal, note)


def at_most(what: str, value: float, goal: float, unit: str = "", note: str = "") -> Row:
    return Row(what, f"{value:.4g}{unit}", f"<= {goal:g}{unit}", value <= goal, note)


def report(what: str, value: str, note: str = "") -> Row:
    return Row(what, value, "report", None, note)


class Table:
    def __init__(self, results: Results):
        self.results = results
        self.rows: list[Row] = []

    def make(self) -> list[Row]:
        for section in (
            self.library, self.echo, self.references, self.added_latency, self.mixed,
            self.variants, self.agreement, self.protocols, self.isolation, self.watching, self.start, self.memory, self.decode, self.cpu,
        ):  # fmt: skip
            section()
        return self.rows

    def rates(self, model: str, contestant: str, connections: int = 64, kind: str = "json") -> dict[int, dict]:
        """The lines of each round."""
        lines = self.results.find("throughput", model=model, contestant=contestant, connections=connections, kind=kind)
        return {line["round"]: line for line in lines}

    def library_best(self, model: str) -> dict[int, float]:
        """The rounds of the combination whose median is the best. (The best of each round would be a reward for
        whatever the machine favored in it.)
        """
        combinations: dict[tuple, dict[int, float]] = {}
        for line in self.results.find("library", model=model):
            combination = tuple(line.get(name) for name in ("form", "batch", "threads", "intra_op"))
            combinations.setdefault(combination, {})[line["round"]] = line["rows_per_second"]
        return max(combinations.values(), key=lambda rounds: statistics.median(rounds.values()), default={})

    def ratio(self, ours: dict[int, float], theirs: dict[int, float]) -> tuple[float, str] | None:
        """The median of the rounds' ratios, and all of them."""
        ratios = [ours[k] / theirs[k] for k in sorted(ours.keys() & theirs.keys()) if theirs[k]]
        if not ratios:
            return None
        spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
        return statistics.median(ratios), spread

    def of_library(self, what: str, model: str, kind: str, goal: float | None) -> None:
        ours = {k: line["rate"] for k, line in self.rates(model, "sconce", kind=kind).items()}
        best = self.library_best(model)
        found = self.ratio(ours, best)
        if not found:
            return
        value, spread = found
        note = f"{statistics.median(ours.values()):.0f} of {statistics.median(best.values()):.0f} rows/s{spread}"
        self.rows.append(at_least(what, value, goal, note) if goal else report(what, f"{value:.3g}", note))

    def library(self) -> None:
        what = "64 connections over the library's best loop"
        self.of_library(f"minilm, 32 tokens: {what}", "minilm", "json", 0.95)
        self.of_library(f"resnet50, raw bytes: {what}", "resnet50", "raw", 0.95)
        self.of_library(f"resnet50, JSON: {what}", "resnet50", "json", None)
        self.of_library(f"tabular: {what}", "tabular", "json", None)
        self.of_library(f"digits: {what}", "digits", "json", None)

    def echo(self) -> None:
        for model in ("tabular", "digits"):
            for connections in (1, 8, 64):
                ours = {k: line["rate"] for k, line in self.rates(model, "sconce", connections).items()}
                echoes = [self.rates(model, f"echo, {n}", connections) for n in ("1 thread", "2 threads")]
                best = {k: max(e[k]["rate"] for e in echoes if k in e) for k in ours if any(k in e for e in echoes)}
                if found := self.ratio(ours, best):
                    value, spread = found
                    note = f"{statistics.median(ours.values()):.0f} of {statistics.median(best.values()):.0f} requests/s{spread}"
                    what = f"{model}: {connections} connections over the bare echo"
                    row = at_least(what, value, 0.6, note) if connections == 64 else report(what, f"{value:.2f}", note)
                    self.rows.append(row)

    def references(self) -> None:
        for model in ("tabular", "digits", "minilm"):
            for rival, goal in ((FLASK, 10), (FASTAPI, 7)):
                ours, theirs = self.rates(model, "sconce"), self.rates(model, rival)
                found = self.ratio({k: v["rate"] for k, v in ours.items()}, {k: v["rate"] for k, v in theirs.items()})
                if not found:
                    continue
                note = f"{statistics.median(v['rate'] for v in theirs.values()):.0f} requests/s{found[1]}"
                what = f"{model}: 64 connections over {rival}"
                judged = model == "tabular"
                self.rows.append(at_least(what, found[0], goal, note) if judged else report(what, f"{found[0]:.2f}", note))
                p99 = lambda lines: {k: line["latency_us"]["p99"] for k, line in lines.items()}  # noqa: E731
                value, spread = self.ratio(p99(ours), p99(theirs))
                what = f"{model}: p99 at 64 connections over that of {rival}"
                self.rows.append(at_most(what, value, 0.1, note=spread.strip()) if judged else report(what, f"{value:.3f}"))

    def added_latency(self) -> None:
        for line in self.results.find("one_connection"):
            model, ours = line["model"], line["sconce"]
            echo = min((line[n] for n in line if n.startswith("echo")), key=lambda e: e["p50"])
            for quantile, goal in (("p50", 100), ("p99", 300)):
                value = ours[quantile] - echo[quantile] - line["forward"][quantile]
                what = f"{model}: added latency at one connection, {quantile}"
                note = f"{ours[quantile]:.0f} - {echo[quantile]:.0f} (echo) - {line['forward'][quantile]:.0f} (forward) us"
                judged = model in ("tabular", "digits")
                self.rows.append(at_most(what, value, goal, " us", note) if judged else report(what, f"{value:.0f} us", note))
            phases = line["phases_us"]
            if "total" in phases:
                compute = phases.get("compute", 0)
                parts = ", ".join(f"{name} {value:g}" for name, value in phases.items() if name != "total")
                self.rows.append(
                    report(f"{model}: the server's own phases without compute", f"{phases['total'] - compute:.0f} us", parts)
                )

    def mixed(self) -> None:
        self.of_library("minilm, 8 to 128 tokens: 64 connections over the oracle", "minilm_mixed", "json", 0.85)
        for line in self.results.find("first_shapes"):
            note = f"at {line['worst_length']} tokens, median of {line['starts']} starts; largest of a single one {line['single']}"
            self.rows.append(at_most("first request of a length over later ones", line["spike"], 3, note=note))

    def variants(self) -> None:
        for source in ("minilm", "resnet50"):
            p50 = {
                form: {line["round"]: line["latency_us"]["p50"] for line in self.results.find(section, model=model)}
                for form, section, model in (
                    ("loop", "plain_loop", source),
                    ("plain", "variant", f"{source}_plain"),
                    ("best", "variant", f"{source}_best"),
                    ("bf16", "variant", f"{source}_bf16"),
                )
            }
            for form, what, goal in (("best", "best fp32 form", None), ("bf16", "bf16", 1.5)):
                for base, against in (("loop", "the library's plain loop"), ("plain", 'optimize = "off"')):
                    if not (found := self.ratio(p50[base], p50[form])):
                        continue
                    milliseconds = [statistics.median(p50[it].values()) / 1e3 for it in (base, form)]
                    note = f"{milliseconds[0]:.2f} and {milliseconds[1]:.2f} ms{found[1]}"
                    what_of = f"{source}: {what} against {against}, one connection"
                    judged = goal and base == "loop"
                    self.rows.append(at_least(what_of, found[0], goal, note) if judged else report(what_of, f"{found[0]:.2f}", note))

    def agreement(self) -> None:
        for line in self.results.find("agreement", contestant="sconce"):
            what = f"{line['model']} ({line['kind']}): difference from plain PyTorch"
            note = f"{line['compared']} answers, {line['form']}, top-1 the same in {line['same_top']}"
            goal = f"<= {line['tolerance']:.0e}"
            self.rows.append(Row(what, f"{line['difference']:.1e}", goal, line["agrees"], note))

    def watching(self) -> None:
        """What it costs to count requests beside a reference, and to capture and trace them as by default."""
        for model, connections in dict.fromkeys((it["model"], it["at"]) for it in self.results.find("watching")):
            lines = self.results.find("watching", model=model, at=connections)
            by = {kind: {it["round"]: it for it in lines if it["kind"] == kind} for kind in ("plain", "watched", "captured")}
            part = lambda kind, get: {k: get(it) for k, it in by[kind].items()}  # noqa: E731
            for kind, words in (("watched", "with a reference"), ("captured", "with a reference, capture and traces")):
                rate, p99, cpu = (
                    self.ratio(part(kind, get), part("plain", get))
                    for get in (lambda it: it["rate"], lambda it: it["latency_us"]["p99"], lambda it: it["server_cpu_us"])
                )
                own, plain = (statistics.median(part(it, lambda it: it["server_cpu_us"]).values()) for it in (kind, "plain"))
                note = f"p99 {p99[0]:.2f} times, processor {cpu[0]:.3f} times ({plain:.1f} and {own:.1f} us a request){rate[1]}"
                self.rows.append(at_least(f"{model}, {connections} connections: {words} over without", rate[0], 0.97, note))

    def protocols(self) -> None:
        for model in ("digits", "resnet50"):
            lines = self.results.find("protocol", model=model)
            ways = list(dict.fromkeys(line["way"] for line in lines))
            rates = {way: {it["round"]: it["rate"] for it in lines if it["way"] == way} for way in ways}
            for way in ways:
                if not (found := self.ratio(rates[way], rates[ways[0]])):
                    continue
                decode = [it["server_timing_us"]["decode"]["p50"] for it in lines if it["way"] == way]
                [agreement] = self.results.find("protocol_agreement", model=model, way=way)
                note = f"{statistics.median(rates[way].values()):.0f} requests/s, decoded in {statistics.median(decode):.0f} us"
                note += f", {agreement['compared']} answers differ by {agreement['difference']:.1e}{found[1]}"
                self.rows.append(report(f"{model}: {way} over {ways[0]}", f"{found[0]:.2f}", note))

    def isolation(self) -> None:
        """What a process of its own adds to a request, and takes from the rate of models that compute."""
        goals = {"bytes_4k": 30, "bytes_600k": 60}
        for model, callers in dict.fromkeys((it["model"], it["callers"]) for it in self.results.find("isolation")):
            lines = self.results.find("isolation", model=model, callers=callers)
            by = {mode: {it["round"]: it for it in lines if it["mode"] == mode} for mode in ("none", "process")}
            if not model.startswith("bytes"):
                rates = ({k: it["rate"] for k, it in by[mode].items()} for mode in ("process", "none"))
                value, spread = self.ratio(*rates)
                self.rows.append(at_least(f"{model}: rows/s in a process of its own over in the server's", value, 0.95, spread.strip()))
                continue
            p50 = {mode: [it["latency_us"]["p50"] for it in by[mode].values()] for mode in by}
            none, process = (statistics.median(p50[mode]) for mode in ("none", "process"))
            more = statistics.median(b - a for a, b in zip(p50["none"], p50["process"]))
            what, note = f"{model}, {callers} callers: p50 added by a process of its own", f"{none:.0f} and {process:.0f} us"
            goal = goals.get(model)
            self.rows.append(at_most(what, more, goal, " us", note) if goal else report(what, f"{more:.0f} us", note))
        for line in self.results.find("isolation_memory"):
            values = ", ".join(f"{it:g}" for it in line["private_mb"])
            self.rows.append(report("private memory of the processes of five models, and of what they are forked from", f"{values} MB"))

    def start(self) -> None:
        for verdicts in ("known", "unknown"):
            seconds = [line["seconds"] for line in self.results.find("start", verdicts=verdicts)]
            if seconds:
                what, value = f"start to first answer, verdicts {verdicts}", statistics.median(seconds)
                note = f"{min(seconds):.2f} to {max(seconds):.2f} s"
                known = verdicts == "known"
                self.rows.append(at_most(what, value, 1.5, " s", note) if known else report(what, f"{value:.2f} s", note))

    def memory(self) -> None:
        lines = {line["when"]: line for line in self.results.find("memory")}
        over = {w: line["sconce"]["resident"] - line["empty"]["resident"] for w, line in lines.items() if "empty" in line}
        if "failing" not in over:
            return
        tenth, everything, failing = over["first tenth"], over["all"], over["failing"]
        note = f"{lines['all']['sconce']['resident']:.0f} and {lines['all']['empty']['resident']:.0f} MB"
        self.rows.append(at_most("memory over the empty program, 64 connections", everything, 60, " MB", note))
        requests = f"{lines['all']['requests']} requests"
        self.rows.append(report("growth over the last nine tenths of requests", f"{everything - tenth:.1f} MB", requests))
        self.rows.append(report("growth over 10000 failing requests", f"{failing - everything:.1f} MB"))
        first = lines["first start"]["sconce"]["resident"]
        self.rows.append(report("memory of the first start, with the child that tries models", f"{first:.0f} MB"))

    def decode(self) -> None:
        for line in self.results.find("one_connection", model="resnet50"):
            if "decode" in line["phases_us"]:
                value = line["body_bytes"] / line["phases_us"]["decode"]
                self.rows.append(at_least("JSON of a 3 x 224 x 224 image decoded, MB/s", value, 300))

    def cpu(self) -> None:
        for model in ("tabular", "digits"):
            for contestant in ("sconce", "echo, 1 thread", "echo, 2 threads", FLASK, FASTAPI):
                lines = self.rates(model, contestant).values()
                if lines:
                    value = statistics.median(line["server_cpu_us"] for line in lines)
                    self.rows.append(report(f"{model}: processor time a request, {contestant}", f"{value:.1f} us"))


def text(rows: list[Row]) -> str:
    head = ["what", "value", "goal", "", "from"]
    cells = [head, *(row.cells() for row in rows)]
    widths = [max(len(str(row[k])) for row in cells) for k in range(4)]
    lines = []
    for row in cells:
        lines.append("  ".join([*(str(row[k]).ljust(widths[k]) for k in range(4)), str(row[4])]).rstrip())
    return "\n".join(lines)
