"""Modules exported as packages of AOTInductor, and served beside the same modules as TorchScript.

No test of the usual ones: compiling takes minutes. `scripts/try-packages` runs it.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import io
import json
import math
import os
import random
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Callable, Optional

import torch
from torch import nn

import sconce_export

sys.path.append(str(Path(__file__).resolve().parents[2] / "models" / "scripts"))
import published  # noqa: E402

from . import architectures, serving  # noqa: E402

TOLERANCE = 1e-4
CYCLES = int(os.environ.get("PACKAGE_CYCLES", "200"))
WRONG = int(os.environ.get("PACKAGE_WRONG", "1500"))
DATATYPES = ("FP32", "FP64", "FP16", "INT64", "INT32", "INT8", "UINT8", "BOOL", "BYTES")
MAX_ROWS = 48
MOST_NUMBERS = 4_000_000


class Encoder(nn.Module):
    """Two layers of a transformer over ids and their mask."""

    def __init__(self):
        super().__init__()
        self.embedding, self.places = nn.Embedding(60, 32), nn.Embedding(40, 32)
        self.query, self.key, self.value = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.inner, self.outer = nn.Linear(32, 64), nn.Linear(64, 32)
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 3)

    def forward(self, ids, mask):
        x = self.embedding(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        off = (1.0 - mask.unsqueeze(1)) * -1e9
        for _ in range(2):
            scores = self.query(x) @ self.key(x).transpose(1, 2) / 32**0.5 + off
            x = self.norm(x + torch.softmax(scores, -1) @ self.value(x))
            x = self.norm(x + self.outer(torch.relu(self.inner(x))))
        return {"logits": self.head(x[:, 0]), "states": x.mean(1)}


@dataclasses.dataclass
class Given:
    """A module, a call of it, and how it may be called."""

    module: nn.Module
    example: dict[str, torch.Tensor]
    dynamic: dict[str, Any]
    # Of so many rows, and so long where length varies.
    inputs: Callable[[int, int], dict[str, torch.Tensor]]
    # Whether the shapes of all inputs are right.
    fits: Callable[[dict[str, list[int]]], bool]
    max_rows: int = MAX_ROWS
    lengths: tuple[int, ...] = (0,)
    n_wrong: int = WRONG


def of_rows(name: str, row: list[int], max_rows: int = MAX_ROWS) -> dict[str, Any]:
    """For a module of one input, any number of whose rows are independent."""

    def fits(shapes: dict[str, list[int]]) -> bool:
        (shape,) = shapes.values()
        return len(shape) == len(row) + 1 and 1 <= shape[0] <= max_rows and shape[1:] == row

    return {
        "example": {name: torch.randn(4, *row)},
        "dynamic": {name: {0: torch.export.Dim("rows", min=1, max=max_rows)}},
        "inputs": lambda n_rows, _: {name: torch.randn(n_rows, *row)},
        "fits": fits,
        "max_rows": max_rows,
    }


def of_tokens(names: tuple[str, str], vocabulary: int, longest: int, mask: torch.dtype) -> dict[str, Any]:
    """For a module of ids and their mask."""
    rows, length = torch.export.Dim("rows", min=1, max=MAX_ROWS), torch.export.Dim("length", min=2, max=longest)

    def inputs(n_rows: int, n_tokens: int) -> dict[str, torch.Tensor]:
        kept = (torch.arange(n_tokens) < torch.randint(1, n_tokens + 1, (n_rows, 1))).to(mask)
        return dict(zip(names, (torch.randint(0, vocabulary, (n_rows, n_tokens)), kept)))

    def fits(shapes: dict[str, list[int]]) -> bool:
        first, second = shapes.values()
        return first == second and len(first) == 2 and 1 <= first[0] <= MAX_ROWS and 2 <= first[1] <= longest

    return {
        "example": inputs(3, 9),
        "dynamic": {name: {0: rows, 1: length} for name in names},
        "inputs": inputs,
        "fits": fits,
        "lengths": (2, 3, 16, 33, longest),
    }


def modules() -> dict[str, Given]:
    """By name: three small ones with random weights, and two that are in use."""
    torch.manual_seed(11)
    return {
        "mlp": Given(architectures.Mlp(), **of_rows("features", [6])),
        "cnn": Given(architectures.Cnn(), **of_rows("image", [3, 16, 16])),
        "encoder": Given(Encoder(), **of_tokens(("ids", "mask"), 60, 40, torch.float32)),
        "minilm": Given(published.minilm(), **of_tokens(("input_ids", "attention_mask"), 30522, 128, torch.int64)),
        # A row of it is 150,528 numbers: fewer requests say as much.
        "lite0": Given(published.lite0(), **of_rows("inputs", [3, 224, 224], 8), n_wrong=WRONG // 20),
    }


@serving.needs_program
class Packages(unittest.TestCase):
    """Each module as `NAME`, compiled, and as `NAME_ts`; both in processes of their own."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.models = Path(folder.name) / "models"
        cls.given = modules()
        trusted = []
        for name, given in cls.given.items():
            for model, form in ((name, "pt2"), (f"{name}_ts", "torchscript")):
                exported = sconce_export.export(
                    given.module,
                    given.example,
                    cls.models / model,
                    dynamic=given.dynamic,
                    formats=(form,),
                    quiet=True,
                )
                trusted += [exported.trust] if exported.trust else []
        cls.trusted = trusted
        # Eight images as JSON are 30 MB.
        bounds = ["http.max_body_bytes=128MiB", "limits.inflight_bytes=1GiB"]
        settings = [f"trusted_models={json.dumps(trusted)}", "isolation.mode=process", *bounds]
        server = serving.serving(cls.models, settings)
        cls.server = server.__enter__()
        cls.addClassCleanup(server.__exit__, None, None, None)
        print(f"\n{len(cls.given)} modules exported twice", flush=True)

    def test_they_serve_apart_and_share_runs(self):
        for name, given in self.given.items():
            with self.subTest(model=name):
                version = self.server.get(f"/manage/models/{name}", management=True)["versions"][0]
                self.assertEqual((version["state"], version["isolation"]), ("ready", "process"))
                self.assertEqual(version["batching"]["finding"], "probed", version["notes"])
                self.assertEqual(version["limits"]["max_rows"], given.max_rows)
                self.assertLessEqual(version["batching"]["max_batch_size"], given.max_rows)

    def test_without_trust_nothing_is_loaded(self):
        done = serving.run("check", "--models", str(self.models))
        self.assertNotEqual(done.returncode, 0)
        for line in self.trusted:
            self.assertIn(f'add "{line}" to trusted_models', done.stdout)

    def test_answers_are_those_of_torchscript_and_of_the_module(self):
        largest = 0.0
        for name, given in self.given.items():
            for n_rows in (1, 2, 7, given.max_rows):
                for length in given.lengths:
                    inputs = given.inputs(n_rows, length)
                    package, script = self.infer(name, inputs), self.infer(f"{name}_ts", inputs)
                    with torch.no_grad():
                        answer = given.module.eval()(**inputs)
                    values = list(answer.values()) if isinstance(answer, dict) else [answer]
                    self.assertEqual(len(package), len(values))
                    for a, b, c in zip(package, script, values):
                        scale = max(1.0, c.abs().max().item())
                        apart = max((a - b).abs().max().item(), (a - c.reshape(-1)).abs().max().item())
                        largest = max(largest, apart / scale)
        print(f"largest difference from TorchScript and from the module: {largest:.1e}", flush=True)
        self.assertLess(largest, TOLERANCE)

    def test_rows_that_share_runs_have_the_answers_that_they_have_alone(self):
        for name, given in self.given.items():
            rows = [given.inputs(1, 12) for _ in range(64 if given.n_wrong == WRONG else 8)]
            alone = [self.infer(name, row) for row in rows]
            before = self.figure("sconce_batch_rows_count", name)
            with concurrent.futures.ThreadPoolExecutor(32) as pool:
                together = list(pool.map(lambda row: self.infer(name, row), rows * 4))
            runs = self.figure("sconce_batch_rows_count", name) - before
            apart = max(
                ((a - b).abs().max() / max(1.0, a.abs().max())).item()
                for one, other in zip(alone * 4, together)
                for a, b in zip(one, other)
            )
            print(f"{name}: {len(together)} requests in {runs:.0f} runs, largest difference {apart:.1e}", flush=True)
            self.assertLess(apart, TOLERANCE)

    def test_wrong_inputs_are_refused_and_end_nothing(self):
        random.seed(3)
        children = self.children()
        for name, given in self.given.items():
            counts: dict[int, int] = {}
            for _ in range(given.n_wrong):
                tensors, is_right = self.tensors(name)
                status, body = self.ask(f"/v2/models/{name}/infer", {"inputs": tensors})
                counts[status] = counts.get(status, 0) + 1
                told = [(it["name"], it["datatype"], it["shape"]) for it in tensors]
                self.assertEqual(status, 200 if is_right else 400, f"{told}: {body[:300]}")
            print(f"{name}: answers by status {counts}", flush=True)
            self.assertEqual(self.figure("sconce_model_deaths_total", name), 0)
        self.assertEqual(self.children(), children, "every child must still be the same")

    def test_an_error_names_the_size_and_what_was_expected(self):
        status, body = self.ask(
            "/v2/models/encoder/infer",
            {"inputs": [self.tensor("ids", "INT64", [2, 41]), self.tensor("mask", "FP32", [2, 41])]},
        )
        self.assertEqual(status, 400)
        self.assertIn("has size 41 in dimension 1, expected 2 to 40", body)
        status, body = self.ask(
            "/v2/models/encoder/infer",
            {"inputs": [self.tensor("ids", "INT64", [2, 8]), self.tensor("mask", "FP32", [2, 9])]},
        )
        self.assertEqual(status, 400)
        self.assertIn("has size 9 in dimension 1", body)

    def test_ids_out_of_range_are_errors_and_end_nothing(self):
        children = self.children()
        for value in (60, -61, 2**62, -(2**63)):
            ids = self.tensor("ids", "INT64", [1, 4])
            ids["data"] = [1, 2, value, 3]
            status, body = self.ask(
                "/v2/models/encoder/infer", {"inputs": [ids, self.tensor("mask", "FP32", [1, 4])]}
            )
            self.assertIn(status, (400, 500), body)
        self.assertEqual(self.children(), children)

    def test_z_cycles_leave_nothing_behind(self):
        marks = []
        for cycle in range(CYCLES):
            self.order("/manage/models/mlp/unload")
            self.order("/manage/models/mlp/reload")
            if cycle in (CYCLES // 5, CYCLES // 2, CYCLES - 1):
                marks.append((cycle + 1, *self.footprint()))
        for cycle, n_processes, n_descriptors, kilobytes in marks:
            print(f"cycle {cycle}: {n_processes} processes, {n_descriptors} descriptors, {kilobytes} KiB", flush=True)
        first, last = marks[0], marks[-1]
        self.assertEqual(first[1:3], last[1:3], "processes and descriptors must be as many")
        self.assertLess(last[3], first[3] * 1.05 + 4096, "memory must not grow")

    def test_zz_speed(self):
        """Of the library's runs, on one thread: what the program measures, and ONNX Runtime's in this process."""
        for name, given in self.given.items():
            session = onnx_session(given)
            for n_rows in (1, 8):
                inputs, times = given.inputs(n_rows, 32), {}
                n_runs = 60 if n_rows * given.n_wrong >= WRONG else 15
                for _ in range(3):
                    for model in (name, f"{name}_ts"):
                        before = self.compute(model)
                        for _ in range(n_runs):
                            self.infer(model, inputs)
                        after = self.compute(model)
                        mean = (after[0] - before[0]) / (after[1] - before[1])
                        times[model] = min(times.get(model, mean), mean)
                    if session:
                        feed = {key: it.numpy() for key, it in inputs.items()}
                        session.run(None, feed)
                        since = time.perf_counter()
                        for _ in range(n_runs):
                            session.run(None, feed)
                        mean = (time.perf_counter() - since) / n_runs
                        times["onnx"] = min(times.get("onnx", mean), mean)
                package, script = times[name], times[f"{name}_ts"]
                text = f"{name}, {n_rows} rows: {package * 1e6:.0f} us, TorchScript {script * 1e6:.0f} us ({script / package:.2f})"
                if session:
                    text += f", ONNX Runtime {times['onnx'] * 1e6:.0f} us ({times['onnx'] / package:.2f})"
                print(text, flush=True)

    # What the tests above are written in.

    def infer(self, model: str, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        datatypes = {torch.float32: "FP32", torch.int64: "INT64"}
        tensors = [
            {
                "name": key,
                "datatype": datatypes[it.dtype],
                "shape": list(it.shape),
                "data": it.reshape(-1).tolist(),
            }
            for key, it in inputs.items()
        ]
        status, body = self.ask(f"/v2/models/{model}/infer", {"inputs": tensors})
        self.assertEqual(status, 200, body)
        return [torch.tensor(output["data"]) for output in json.loads(body)["outputs"]]

    def tensors(self, name: str) -> tuple[list[dict[str, Any]], bool]:
        """Inputs of a request with changes, and whether they are right all the same."""
        given = self.given[name]
        n_rows, length = random.choice((1, 2, 5, given.max_rows)), random.choice((2, 9, 40))
        inputs = [
            [key, {torch.float32: "FP32", torch.int64: "INT64"}[it.dtype], list(it.shape)]
            for key, it in given.inputs(n_rows, length).items()
        ]
        right = {key: datatype for key, datatype, _ in inputs}
        for _ in range(random.choice((0, 1, 1, 2))):
            it = random.choice(inputs)
            change = random.randrange(6)
            if change == 0:
                it[1] = random.choice(DATATYPES)
            elif change == 1 and it[2]:
                place, size = random.randrange(len(it[2])), random.choice((0, 1, 2, 3, 7, 17, 41, 49, 64))
                # What the server takes of a body bounds a request as well.
                if math.prod(it[2]) // max(it[2][place], 1) * size <= MOST_NUMBERS:
                    it[2][place] = size
            elif change == 2:
                it[2] = it[2] + [random.choice((1, 2))]
            elif change == 3:
                it[2] = it[2][1:]
            elif change == 4 and len(it[2]) > 1:
                random.shuffle(it[2])
            elif change == 5 and len(inputs) > 1:
                inputs.remove(it)
        shapes = {key: shape for key, _, shape in inputs}
        is_right = shapes.keys() == right.keys() and all(right[key] == datatype for key, datatype, _ in inputs)
        is_right = is_right and given.fits(shapes)
        return [self.tensor(*it) for it in inputs], is_right

    def tensor(self, name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
        value: Any = {"BOOL": True, "BYTES": "a"}.get(datatype, 1)
        return {"name": name, "datatype": datatype, "shape": shape, "data": [value] * math.prod(shape)}

    def ask(self, path: str, body: Any) -> tuple[int, str]:
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.port}{path}", data=data)
        try:
            with urllib.request.urlopen(request, timeout=serving.REQUEST_SECONDS) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def order(self, path: str) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.management}{path}", data=b"")
        with urllib.request.urlopen(request, timeout=serving.REQUEST_SECONDS) as response:
            self.assertIn(response.status, (200, 202))

    def figure(self, name: str, model: str) -> float:
        address = f"http://127.0.0.1:{self.server.management}/metrics"
        with urllib.request.urlopen(address, timeout=serving.REQUEST_SECONDS) as response:
            lines = response.read().decode().splitlines()
        begin = f'{name}{{model="{model}",'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(begin))

    def compute(self, model: str) -> tuple[float, float]:
        name = "sconce_compute_duration_seconds"
        return self.figure(f"{name}_sum", model), self.figure(f"{name}_count", model)

    def children(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            parent = parent_of(entry) if entry.name.isdigit() else None
            if parent == self.server.pid:
                found.append(int(entry.name))
        return sorted(found)

    def footprint(self) -> tuple[int, int, int]:
        """Processes of the server, its descriptors, and what all of them hold of memory for themselves, in KiB."""
        processes = [self.server.pid, *self.children()]
        kilobytes = sum(private(pid) for pid in processes)
        return len(processes), len(os.listdir(f"/proc/{self.server.pid}/fd")), kilobytes


def onnx_session(given: Given) -> Any:
    """The same module in ONNX Runtime, on one thread; nothing where that is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    axes = {name: {0: "rows", **({1: "length"} if given.lengths != (0,) else {})} for name in given.example}
    file = io.BytesIO()
    torch.onnx.export(
        given.module.eval(),
        tuple(given.example.values()),
        file,
        input_names=list(given.example),
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])


def parent_of(entry: Path) -> Optional[int]:
    try:
        fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] == "Z" else int(fields[1])


def private(pid: int) -> int:
    words = Path(f"/proc/{pid}/smaps_rollup").read_text().split()
    return sum(int(words[words.index(f"Private_{kind}:") + 1]) for kind in ("Clean", "Dirty"))


if __name__ == "__main__":
    unittest.main()
