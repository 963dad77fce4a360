"""Modules of usual kinds, exported and then served by the program without another line written.

Answers over HTTP are held against eager PyTorch, asked by the tests themselves.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

import torch

import sconce_export

from . import architectures, serving

TOLERANCE = 1e-5


def eager(module: torch.nn.Module, call: Any, inputs: dict[str, torch.Tensor]) -> Any:
    """The module's own answer to named inputs, in evaluation mode."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            if isinstance(call, dict):
                takes_all = "batch" in module.forward.__code__.co_varnames
                return module(inputs) if takes_all else module(**inputs)
            return module(*inputs.values())
    finally:
        module.train(was_training)


def named_outputs(answer: Any) -> list[torch.Tensor]:
    if isinstance(answer, torch.Tensor):
        return [answer]
    values = answer.values() if isinstance(answer, dict) else answer
    return [value for value in values if value is not None]


def whole(body: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The tensors of a request by name, as nested lists with all rows."""
    if "inputs" in body:
        return body["inputs"]
    if "features" in body:
        return {names[0]: [body["features"]]}
    rows = body["instances"]
    if isinstance(rows[0], dict):
        return {name: [row[name] for row in rows] for name in names}
    return {names[0]: rows}


@serving.needs_program
class Served(unittest.TestCase):
    """All architectures in one models folder, behind one server."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.models = Path(folder.name) / "models"
        cls.given = architectures.all_of_them()
        cls.exported = {}
        for name, (module, example, options) in cls.given.items():
            cls.exported[name] = sconce_export.export(module, example, cls.models / name, quiet=True, **options)
        server = serving.serving(cls.models)
        cls.server = server.__enter__()
        cls.addClassCleanup(server.__exit__, None, None, None)

    def test_check_says_ready(self):
        done = serving.run("check", "--models", str(self.models))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for name in self.given:
            self.assertIn(f"{name}/1: ready", done.stdout)
        self.assertNotIn("failed", done.stdout)

    def test_golden_requests_are_answered_as_by_the_module(self):
        for name in self.given:
            lines = (self.models / name / "1" / "golden.jsonl").read_text().splitlines()
            self.assertGreater(len(lines), 2, name)
            for line in lines:
                golden = json.loads(line)
                with self.subTest(model=name, request=line[:80]):
                    answer = self.ask(name, golden["request"])
                    self.close(answer, golden["expected"])

    def test_the_sample_is_answered_as_by_the_module(self):
        for name in self.given:
            with self.subTest(model=name):
                self.ask(name, json.loads((self.models / name / "sample.json").read_text()))

    def test_forms_are_those_that_the_modules_need(self):
        forms = {name: exported.form for name, exported in self.exported.items()}
        # Two have loops over values; the others make tensors on the device of their inputs.
        scripted = {"halving", "by_name", "gru", "lstm", "transformer", "bag"}
        self.assertEqual({name for name, form in forms.items() if form == "scripted"}, scripted)

    def test_what_the_report_says_of_answers_is_what_the_server_says(self):
        for name, exported in self.exported.items():
            with self.subTest(model=name):
                version = self.server.get(f"/manage/models/{name}", management=True)["versions"][0]
                self.assertEqual(version["answers"], "rows" if exported.has_rows else "whole")
                for kind in ("inputs", "outputs"):
                    found = [(it["name"], it["datatype"], it["shape"]) for it in version[kind]]
                    self.assertEqual(found, [(it.name, it.datatype, it.shape) for it in getattr(exported, kind)])
                if version["batching"]["finding"] in ("proved", "probed"):
                    self.assertTrue(exported.is_apart, "sconce found rows apart, and the export did not")

    def test_padding_is_taken(self):
        version = self.server.get("/manage/models/transformer", management=True)["versions"][0]
        self.assertIsNotNone(version["padding"], version["notes"])

    def test_labels_are_those_of_the_largest_score(self):
        module, example, options = self.given["cnn"]
        wanted = eager(module, example, {"image": example}).argmax(1).tolist()
        answer = self.server.predict("cnn", json.dumps({"instances": example.tolist()}))
        self.assertEqual(answer["labels"], [options["labels"][place] for place in wanted])

    def test_a_running_server_takes_the_next_version(self):
        name = "squeezed"
        # Another folder, since the others are asked for their first versions.
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            models = Path(folder) / "models"
            module = torch.nn.Linear(3, 2)
            example = torch.randn(4, 3)
            sconce_export.export(module, example, models / name, quiet=True)
            server = stack.enter_context(serving.serving(models))
            with torch.no_grad():
                module.weight += 1.0
            sconce_export.export(module, example, models / name, quiet=True)
            body = json.dumps({"instances": example.tolist()})
            end = time.monotonic() + 60
            while (answer := server.predict(name, body))["version"] == "1" and time.monotonic() < end:
                time.sleep(0.2)
            self.assertEqual(answer["version"], "2")
            self.close(answer["predictions"], module(example).tolist())
            self.assertIsNone(server.get(f"/manage/models/{name}", management=True)["problem"])

    def ask(self, name: str, body: dict[str, Any]) -> Any:
        """What the server answers, which must be what the module answers."""
        module, call, _ = self.given[name]
        specs = self.exported[name]
        answered = self.server.predict(name, json.dumps(body))
        form = next(key for key in ("prediction", "predictions", "outputs") if key in answered)
        names = [spec.name for spec in specs.inputs]
        tensors = whole(body, names)
        examples = (
            list(call.values()) if isinstance(call, dict) else [call] if isinstance(call, torch.Tensor) else list(call)
        )
        inputs = [torch.tensor(tensors[it], dtype=like.dtype) for it, like in zip(names, examples)]
        own_names = list(call) if isinstance(call, dict) else names
        outputs = named_outputs(eager(module, call, dict(zip(own_names, inputs))))
        n_rows = inputs[0].shape[0]
        got = answered[form]
        for spec, output in zip(specs.outputs, outputs):
            if form == "outputs":
                value, expected = got[spec.name], output
            else:
                rows = [got] if form == "prediction" else got
                value = [row[spec.name] if len(outputs) > 1 else row for row in rows]
                expected = output.reshape([n_rows, *output.shape[output.dim() - len(spec.shape) + 1 :]])
            self.close(value, expected.tolist())
        return got

    def close(self, got: Any, expected: Any) -> None:
        """Numbers may be apart by `TOLERANCE` of the largest; all else is the same."""
        got_numbers, expected_numbers = list(flat(got)), list(flat(expected))
        self.assertEqual([path for path, _ in got_numbers], [path for path, _ in expected_numbers])
        largest = max([abs(value) for _, value in expected_numbers if isinstance(value, (int, float))], default=0.0)
        for (path, a), (_, b) in zip(got_numbers, expected_numbers):
            self.assertLessEqual(abs(a - b), TOLERANCE * largest, f"{path} is {a}, expected {b}")


def flat(value: Any, path: str = ""):
    """The numbers of a document, each with its path."""
    if isinstance(value, dict):
        for key in sorted(value):
            yield from flat(value[key], f"{path}.{key}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from flat(item, f"{path}[{place}]")
    else:
        yield path, value


if __name__ == "__main__":
    unittest.main()
