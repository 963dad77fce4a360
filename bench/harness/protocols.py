"""The same rows over every HTTP protocol that the server speaks: the answers are the same, and what each costs."""

from __future__ import annotations

import json
import math
import pathlib
import struct
import tempfile
from typing import TYPE_CHECKING, Callable, NamedTuple

from harness import contestants, measure
from harness.contestants import Paths
from harness.processes import Failure, Process, started

if TYPE_CHECKING:
    from harness.sections import Bench

MODELS = {"digits": [784], "resnet50": [3, 224, 224]}
CONNECTIONS = {"digits": 64, "resnet50": 4}
TOLERANCE = 1e-3
BOUNDARY = "sconce-bench-boundary"


class Way(NamedTuple):
    """One way to send a row and to find it in the answer."""

    name: str
    path: str
    # From the row's values and the same as bytes.
    body: Callable[[list[float], bytes], bytes]
    answer: Callable[[bytes], list[float]]
    content_type: str = "application/json"
    # Of the body's JSON, where bytes follow it.
    json_length: Callable[[bytes], int] | None = None
    # What is to be found, from the model's output.
    wanted: Callable[[list[float]], list[float]] = list


def ways(model: str, given: str, made: str, shape: list[int]) -> list[Way]:
    """For a model with one input and one output."""
    dims = [1, *shape]
    wanted = {"outputs": [{"name": made, "parameters": {"binary_data": True}}]}
    plain = {"name": given, "datatype": "FP32", "shape": dims}

    def text(document) -> bytes:
        return json.dumps(document, separators=(",", ":")).encode()

    def nested(values: list[float]) -> list:
        rest = values
        for size in reversed(shape[1:]):
            rest = [rest[k : k + size] for k in range(0, len(rest), size)]
        return rest

    def header(raw: bytes) -> bytes:
        return text({"inputs": [{**plain, "parameters": {"binary_data_size": len(raw)}}], **wanted})

    def part(name: str, raw: bytes) -> bytes:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        return head.encode() + raw + f"\r\n--{BOUNDARY}--\r\n".encode()

    def found(*keys) -> Callable[[bytes], list[float]]:
        def pick(answer: bytes) -> list[float]:
            value = json.loads(answer)
            for key in keys:
                value = value[key]
            return value

        return pick

    def from_bytes(answer: bytes) -> list[float]:
        # The JSON has no braces in texts, so its end is where they are even again.
        depth = 0
        for position, byte in enumerate(answer):
            depth += {ord("{"): 1, ord("}"): -1}.get(byte, 0)
            if depth == 0:
                rest = answer[position + 1 :]
                return list(struct.unpack(f"<{len(rest) // 4}f", rest))
        raise Failure("an answer without JSON")

    def scores(answer: bytes) -> list[float]:
        return sorted(json.loads(answer).values(), reverse=True)

    octets, v2 = "application/octet-stream", f"/v2/models/{model}/infer"
    return [
        Way("predict, features", f"/predict/{model}", lambda v, _: text({"features": nested(v)}), found("prediction")),
        Way("predict, plain bytes", f"/predict/{model}", lambda _, raw: raw, found("predictions", 0), octets),
        Way("V2, JSON", v2, lambda v, _: text({"inputs": [{**plain, "data": v}]}), found("outputs", 0, "data")),
        Way("V2, binary both ways", v2, lambda _, raw: header(raw) + raw, from_bytes, octets, lambda raw: len(header(raw))),
        Way("V2, raw request", v2, lambda _, raw: raw, from_bytes, octets, lambda _: 0),
        Way("V1, instances", f"/v1/models/{model}:predict", lambda v, _: text({"instances": [nested(v)]}), found("predictions", 0)),
        Way("V1, inputs", f"/v1/models/{model}:predict", lambda v, _: text({"inputs": [nested(v)]}), found("outputs", 0)),
        # Where a model has labels, these protocols' answer is the best of them.
        Way("TorchServe, plain bytes", f"/predictions/{model}", lambda _, raw: raw, scores, octets, wanted=best_of),
        Way("TorchServe, multipart", f"/predictions/{model}", lambda _, raw: part("data", raw), scores,
            f"multipart/form-data; boundary={BOUNDARY}", wanted=best_of),
    ]  # fmt: skip


def best_of(row: list[float]) -> list[float]:
    """The five best of a softmax."""
    powers = [math.exp(value - max(row)) for value in row]
    return sorted((power / sum(powers) for power in powers), reverse=True)[:5]


def same_answers(paths: Paths, server: Process, model: str, way: Way, folder: pathlib.Path) -> dict:
    """Sends every row once and keeps the answers; says how far they lie from plain PyTorch's."""
    bodies = folder / "bodies"
    bodies.mkdir(parents=True)
    raws = sorted(paths.bodies(model, "raw").iterdir())
    for raw in raws:
        data = raw.read_bytes()
        values = list(struct.unpack(f"<{len(data) // 4}f", data))
        (bodies / f"{raw.stem}.bin").write_bytes(way.body(values, data))
    answers = folder / "answers"
    measure.load(
        paths, server, model, seconds=120, requests=len(raws), connections=64, save=answers, timeout=60,
        **request_of(way, bodies, raws[0]),
    )  # fmt: skip
    expected = json.loads((paths.data / "data" / model / "references.json").read_text())
    expected = [way.wanted(row) for row in expected]
    largest, difference = max(abs(v) for row in expected for v in row), 0.0
    found = sorted(answers.iterdir())
    if len(found) != len(raws):
        raise Failure(f"{way.name}: {len(found)} of {len(raws)} requests were answered")
    for file in found:
        got, wanted = way.answer(file.read_bytes()), expected[int(file.stem)]
        if len(got) != len(wanted):
            raise Failure(f"{way.name}: {len(got)} numbers in an answer, expected {len(wanted)}")
        difference = max(difference, *(abs(a - b) / largest for a, b in zip(got, wanted)))
    return {"compared": len(found), "difference": difference}


def request_of(way: Way, bodies: pathlib.Path, raw: pathlib.Path) -> dict:
    """What the load generator is told of a request. All rows are of one size, so one length holds for all."""
    options = {"path": way.path, "bodies": bodies, "content_type": way.content_type}
    if way.json_length:
        options["header"] = f"Inference-Header-Content-Length: {way.json_length(raw.read_bytes())}"
    return options


def section(bench: Bench) -> None:
    """Compares the answers of every way first, then takes turns."""
    paths, results = bench.paths, bench.results
    with tempfile.TemporaryDirectory(dir=paths.out) as scratch:
        folder = pathlib.Path(scratch)
        (folder / "models").mkdir()
        for model in MODELS:
            contestants.put_model(paths, model, folder / "models")
        with started(contestants.sconce(paths, folder / "models", bench.state)) as server:
            prepared = []
            for model, shape in MODELS.items():
                for way in ways(model, "pixels", "logits", shape):
                    # With an image of megabytes the extremes tell all.
                    if model == "digits" or way.name.startswith(("predict", "V2")):
                        prepared.append((model, way, folder / model / way.name))
            for model, way, place in prepared:
                found = same_answers(paths, server, model, way, place)
                agrees = found["difference"] <= TOLERANCE
                results.add("protocol_agreement", model=model, way=way.name, agrees=agrees, **found)
                bench.say(f"{model}, {way.name}: {found['compared']} answers differ by {found['difference']:.1e}")
                if not agrees:
                    bench.problems.append(f"{model}, {way.name}: answers DISAGREE with plain PyTorch: {found}")
            for round_number in range(bench.effort.rounds):
                for model, way, place in prepared:
                    raw = next(paths.bodies(model, "raw").iterdir())
                    connections = CONNECTIONS[model]
                    line = measure.load(
                        paths, server, model, seconds=bench.effort.seconds(model, connections), warmup=0.5, timeout=90,
                        connections=connections, server_timing=True, **request_of(way, place / "bodies", raw),
                    )  # fmt: skip
                    results.add("protocol", model=model, way=way.name, round=round_number, **line)
                    bench.must_be_clean(line, f"{model}, {way.name}")
