"""What is written, what stays as it was, and what is refused with which words. Needs no program."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import re
import subprocess
import tempfile
import unittest
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any, Dict
from unittest import mock

import torch
from torch import nn

import sconce_export
from sconce_export import ExportError, _folder, _numbers

from . import architectures


class Folder(unittest.TestCase):
    """A models folder for each test."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.mine = self.root / "models" / "mine"
        torch.manual_seed(5)
        self.module = nn.Linear(4, 3)
        self.example = torch.randn(3, 4)

    def export(
        self, module: Any = None, example: Any = None, folder: Any = None, **options: Any
    ) -> sconce_export.Exported:
        options.setdefault("quiet", True)
        module = self.module if module is None else module
        return sconce_export.export(
            module, self.example if example is None else example, folder or self.mine, **options
        )

    def refused(self, words: str, *arguments: Any, **options: Any) -> None:
        """The error has these words, and the models folder is as before."""
        before = self.files()
        with self.assertRaises(ExportError) as caught:
            self.export(*arguments, **options)
        self.assertIn(words, str(caught.exception))
        self.assertEqual(self.files(), before, "a refused export must leave nothing behind")

    def files(self) -> dict[str, bytes]:
        paths = sorted(self.root.rglob("*"))
        return {str(path.relative_to(self.root)): path.read_bytes() if path.is_file() else b"" for path in paths}


class WhatIsWritten(Folder):
    def test_a_folder_that_is_whole(self):
        exported = self.export(labels=["a", "b", "c"], description='Says "a", b or c')
        names = {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}
        expected = {"1/model.pt", "1/golden.jsonl", "model.toml", "sample.json"}
        self.assertEqual(names, {f"models/mine/{name}" for name in expected})
        self.assertEqual(
            (self.mine / "model.toml").read_text(),
            'description = "Says \\"a\\", b or c"\nlabels = ["a", "b", "c"]\nactivation = "softmax"\n\n'
            '[[inputs]]\nname = "input"\ndatatype = "FP32"\nshape = [-1, 4]\n\n'
            '[[outputs]]\nname = "output"\ndatatype = "FP32"\nshape = [-1, 3]\n',
        )
        sample = json.loads((self.mine / "sample.json").read_text())
        self.assertTrue(torch.equal(torch.tensor(sample["features"]), self.example[0]))
        self.assertEqual({str(path) for path in exported.files}, {str(self.mine / name) for name in expected})
        self.assertEqual(exported.largest_difference, 0.0)
        # Other users run servers.
        mask = os.umask(0)
        os.umask(mask)
        self.assertEqual((self.mine / "1").stat().st_mode & 0o777, 0o777 & ~mask)

    def test_golden_rows_have_the_module_s_own_answers(self):
        self.export()
        lines = [json.loads(line) for line in (self.mine / "1" / "golden.jsonl").read_text().splitlines()]
        self.assertEqual(len(lines), 8)
        with torch.no_grad():
            for line in lines:
                rows = line["request"].get("instances") or [line["request"]["features"]]
                answer = self.module(torch.tensor(rows)).tolist()
                self.assertEqual(torch.tensor(line["expected"]).reshape(-1, 3).tolist(), answer)
        self.assertEqual(
            lines[0]["request"]["features"], [float(_numbers.single(it)) for it in self.example[0].tolist()]
        )
        self.assertIn("instances", lines[-1]["request"])

    def test_golden_rows_may_be_given(self):
        rows = torch.randn(5, 4)
        self.export(golden=rows)
        lines = [json.loads(line) for line in (self.mine / "1" / "golden.jsonl").read_text().splitlines()]
        self.assertEqual(len(lines), 5)
        self.assertEqual(torch.tensor([line["request"]["features"] for line in lines[:4]]).tolist(), rows[:4].tolist())
        self.assertEqual(self.export(golden=0).n_golden, 0)
        self.assertFalse((self.mine / "2" / "golden.jsonl").exists())

    def test_the_next_version_is_the_next_number(self):
        self.assertEqual(self.export().version, 1)
        self.assertEqual(self.export(version=7).version, 7)
        exported = self.export()
        self.assertEqual(exported.version, 8)
        self.assertEqual(exported.folder, self.mine / "8")
        self.assertIn("model.toml was there already and is kept", exported.notes)

    def test_the_report_says_what_was_taken_and_why(self):
        text = str(self.export())
        for words in (
            "mine/1 in ",
            "form       traced: ",
            "inputs     input FP32 [-1, 4]",
            "localhost:8080/predict/mine",
        ):
            self.assertIn(words, text)
        with mock.patch("builtins.print") as printed:
            self.export(quiet=False)
        printed.assert_called_once()

    def test_large_examples_have_a_sample_of_fewer_digits(self):
        self.export(nn.Flatten(), torch.randn(1, 3, 224, 224))
        text = (self.mine / "sample.json").read_text()
        self.assertLessEqual(len(text), 1 << 20)
        self.assertEqual(torch.tensor(json.loads(text)["features"]).shape, (3, 224, 224))
        self.assertLessEqual((self.mine / "1" / "golden.jsonl").stat().st_size, 8 << 20)

    def test_numbers_read_back_as_they_were(self):
        for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
            values = torch.randn(500, dtype=torch.float64) * 10.0 ** torch.randint(-7, 7, (500,))
            values = torch.cat(
                [values, torch.tensor([0.0, -0.0, 1.0, -5.0, 1e-30, 3.4e38, 1e-45], dtype=torch.float64)]
            ).to(dtype)
            values = values[values.isfinite()]
            back = torch.tensor(json.loads(_numbers.text(values)), dtype=torch.float64).to(dtype)
            self.assertTrue(torch.equal(back, values) and torch.equal(back.signbit(), values.signbit()), dtype)
        integers = torch.tensor([2**63 - 1, -(2**63), 0])
        self.assertEqual(json.loads(_numbers.text(integers)), integers.tolist())
        self.assertEqual(_numbers.text(torch.tensor([True, False])), "[true,false]")


class WhatStaysAsItWas(Folder):
    def test_the_module_keeps_mode_parameters_buffers_and_the_generator(self):
        module, example, options = architectures.all_of_them()["cnn"]
        module.train()
        module.body[1].eval()
        before = copy.deepcopy(module.state_dict())
        state = torch.get_rng_state()
        self.export(module, example, **options)
        self.assertTrue(torch.equal(torch.get_rng_state(), state))
        self.assertTrue(module.training and module.dropout.training and not module.body[1].training)
        self.assertEqual(list(before), list(module.state_dict()))
        self.assertTrue(all(torch.equal(a, b) for a, b in zip(before.values(), module.state_dict().values())))
        self.assertTrue(all(it.requires_grad and it.grad is None for it in module.parameters()))

    def test_a_module_that_cannot_be_copied_is_put_back(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = nn.utils.weight_norm(nn.Linear(4, 3)).train()
        module(self.example)
        with self.assertRaises(RuntimeError):
            copy.deepcopy(module)
        before = copy.deepcopy(dict(module.named_parameters()))
        self.assertEqual(self.export(module).form, "traced")
        self.assertTrue(module.training)
        self.assertTrue(all(torch.equal(it, before[name]) for name, it in module.named_parameters()))

    def test_inputs_are_not_written_to(self):
        class Writes(nn.Module):
            def forward(self, x):
                x += 1
                return x

        before = self.example.clone()
        self.export(Writes())
        self.assertTrue(torch.equal(self.example, before))

    def test_an_existing_version_is_not_written_over(self):
        self.export()
        self.refused("1 is there already, and no version is written over; expected a free number, such as 2", version=1)

    def test_an_existing_model_toml_is_kept_and_held_against(self):
        self.export(labels=["a", "b", "c"])
        path = self.mine / "model.toml"
        text = '# mine\nversions = "all"\n' + path.read_text()
        path.write_text(text)
        self.export(labels=["a", "b", "c"])
        self.assertEqual(path.read_text(), text)
        self.refused('labels is ["a", "b", "c"], expected ["x", "b", "c"]', labels=["x", "b", "c"])
        self.refused("inputs[0].shape is [-1, 4], expected [-1, 5]", nn.Linear(5, 3), torch.randn(2, 5))
        self.refused('inputs[0].name is "input", expected "x"', input_names=["x"])
        self.refused("labels has 3, which takes a first output of shape [-1, 3]", nn.Linear(4, 2))
        self.refused('activation is "softmax", expected "sigmoid"', labels=["a", "b", "c"], activation="sigmoid")
        path.write_text("labels = [")
        self.refused("model.toml is no TOML")

    def test_names_of_an_existing_model_toml_are_taken_where_there_is_one(self):
        self.export(input_names=["pixels"], output_names=["logits"])
        exported = self.export()
        self.assertEqual((exported.inputs[0].name, exported.outputs[0].name), ("pixels", "logits"))

    def test_an_existing_sample_is_kept_and_tried(self):
        self.export()
        path = self.mine / "sample.json"
        path.write_text('{"instances": [[1, 2, 3, 4]]}')
        self.assertIn("sample.json was there already and is kept", self.export().notes)
        self.assertEqual(path.read_text(), '{"instances": [[1, 2, 3, 4]]}')
        path.write_text('{"features": [1, 2]}')
        self.refused("sample.json: the module raises on it")
        path.write_text('{"inputs": {"y": [[1]]}}')
        self.refused("sample.json is no request for this model: it has the inputs y, expected input")

    def test_what_fails_in_the_middle_leaves_nothing(self):
        self.export()
        for name in ("_sync",):
            with mock.patch.object(_folder, name, side_effect=OSError("no room")):
                self.refused("cannot be written: no room")
                self.refused("cannot be written: no room", folder=self.root / "elsewhere" / "deep" / "new")
        for error in (KeyboardInterrupt, MemoryError):
            before = self.files()
            with mock.patch("sconce_export._samples.golden", side_effect=error), self.assertRaises(error):
                self.export()
            self.assertEqual(self.files(), before)

    def test_a_version_that_comes_meanwhile_is_not_written_over(self):
        self.export()
        commit = _folder.Staged.commit

        def late(stage: Any, new: Any) -> None:
            other = self.mine / "2"
            other.mkdir()
            (other / "model.pt").write_text("somebody's")
            commit(stage, new)

        with (
            mock.patch.object(_folder.Staged, "commit", late),
            self.assertRaisesRegex(ExportError, "2 cannot be written"),
        ):
            self.export()
        self.assertEqual((self.mine / "2" / "model.pt").read_text(), "somebody's")
        self.assertEqual([path.name for path in self.mine.iterdir() if path.name.startswith(".")], [])


class Calls(Folder):
    def test_arguments_by_position_by_name_and_in_one_dictionary(self):
        class Named(nn.Module):
            def forward(self, a, b=None, *, c=None):
                return a if c is None else a + c

        class Whole(nn.Module):
            def forward(self, batch: Dict[str, torch.Tensor]):
                return batch["left"] - batch["right"]

        class Any_(nn.Module):
            def forward(self, *tensors):
                return tensors[0] + tensors[1]

        x, y = torch.randn(2, 3), torch.randn(2, 3)
        self.assertEqual([it.name for it in self.export(Named(), x).inputs], ["a"])
        self.assertEqual(
            [it.name for it in self.export(Named(), {"c": x, "a": y}, self.mine.parent / "two").inputs], ["c", "a"]
        )
        whole = self.export(Whole(), {"left": x, "right": y}, self.mine.parent / "three", method="script")
        self.assertEqual(([it.name for it in whole.inputs], whole.form), (["left", "right"], "scripted"))
        self.assertEqual(
            [it.name for it in self.export(Any_(), (x, y), self.mine.parent / "four").inputs], ["input_0", "input_1"]
        )
        names = self.export(Any_(), [x, y], self.mine.parent / "five", input_names=["first-one", "2nd"]).inputs
        self.assertEqual([it.name for it in names], ["first-one", "2nd"])
        self.refused("forward has no argument 'z', it has a, b, c", Named(), {"a": x, "z": y})
        self.refused("example_inputs has 3 tensors, but forward takes 1: batch", Whole(), (x, y, x))

    def test_outputs_are_named_as_sconce_names_them(self):
        class Nested(nn.Module):
            def forward(self, x):
                return x, (x + 1, x + 2), None, {"a": x + 3}

        class Mapped(nn.Module):
            def forward(self, x):
                return OrderedDict(first=x, second=[x, x])

        @dataclasses.dataclass
        class Plain:
            logits: torch.Tensor
            state: Any

        class Classed(nn.Module):
            def forward(self, x):
                return Plain(x, (x, x))

        def names(module: nn.Module, **options: Any) -> list[str]:
            return [
                it.name
                for it in self.export(module, folder=self.mine.parent / type(module).__name__, **options).outputs
            ]

        self.assertEqual(names(Nested()), ["output_0", "output_1_0", "output_1_1", "output_3_a"])
        self.assertEqual(names(Mapped()), ["first", "second_0", "second_1"])
        self.assertEqual(names(Classed()), ["logits", "state_0", "state_1"])
        self.refused("output_names has 1 (a), but the module has 4 outputs", Nested(), output_names=["a"])

    def test_dimensions_are_written_as_for_torch_export(self):
        module = architectures.Transformer()
        example = {
            "input_ids": torch.ones(2, 5, dtype=torch.int64),
            "attention_mask": torch.ones(2, 5, dtype=torch.int64),
        }
        length = torch.export.Dim("length", min=2, max=30)
        for place, dynamic in enumerate(
            [
                {"input_ids": {0: "batch", 1: length}, "attention_mask": {0: "batch", 1: length}},
                {"input_ids": (torch.export.Dim("batch"), length), "attention_mask": {1: length}},
                [{1: "length"}, {-1: "length"}],
            ]
        ):
            exported = self.export(module, example, self.mine.parent / f"m{place}", dynamic=dynamic)
            self.assertEqual([it.shape for it in exported.inputs], [[-1, -1], [-1, -1]])
            self.assertEqual([it.shape for it in exported.outputs], [[-1, 5]])
        self.refused("dynamic names the input 'ids'", module, example, dynamic={"ids": {1: "length"}})
        self.refused("names dimension 2, but the input has 2", module, example, dynamic={"input_ids": {2: "length"}})
        other = {**example, "attention_mask": torch.ones(2, 4, dtype=torch.int64)}
        self.refused(
            "dimension 'length' has size 4",
            module,
            other,
            dynamic={"input_ids": {1: "length"}, "attention_mask": {1: "length"}},
        )
        self.refused("expected a name, a torch.export.Dim or None", module, example, dynamic={"input_ids": {1: 2.5}})

    def test_what_is_around_a_module_is_taken_off(self):
        self.assertEqual(self.export(nn.DataParallel(self.module)).form, "traced")
        self.assertEqual(self.export(torch.compile(self.module)).version, 2)

    def test_torchscript_is_taken_as_it_is(self):
        scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)))
        exported = self.export(scripted)
        self.assertEqual((exported.form, exported.inputs[0].name), ("given", "input"))
        self.assertTrue(scripted.training)
        named = self.export(
            torch.jit.script(architectures.HalvingByName()), folder=self.mine.parent / "n", output_names=["a", "b"]
        )
        self.assertEqual((named.form, [it.name for it in named.outputs]), ("given", ["a", "b"]))
        frozen = torch.jit.freeze(torch.jit.script(nn.Linear(4, 3).eval()))
        self.assertEqual(self.export(frozen).form, "given")
        traced = torch.jit.trace(architectures.FixedRows().eval(), torch.randn(4, 6))
        self.refused(
            "dimension 'rows' was to vary, but the module takes only 4 there",
            traced,
            torch.randn(4, 6),
            self.mine.parent / "f",
        )


class ScriptOrTrace(Folder):
    def test_code_that_asks_for_values_is_scripted(self):
        module, example, options = architectures.all_of_them()["halving"]
        exported = self.export(module, example, **options)
        self.assertEqual(exported.form, "scripted")
        self.assertIn("a trace of it is another model", exported.reason)

    def test_a_branch_that_no_input_takes_is_scripted_all_the_same(self):
        class Rare(nn.Module):
            def forward(self, x):
                if bool(x.abs().max() > 1e30):
                    return x * 0
                return x

        exported = self.export(Rare())
        self.assertEqual(exported.form, "scripted")
        self.assertRegex(
            exported.reason,
            r"a trace would freeze what its code asks for: test_export.py:\d+: Converting a tensor",
        )

    def test_a_device_is_left_open(self):
        class Places(nn.Module):
            def forward(self, x):
                return x + torch.arange(x.shape[1], device=x.device)

        class Unscriptable(Places):
            def forward(self, x, **others):
                return super().forward(x)

        exported = self.export(Places())
        self.assertEqual(exported.form, "scripted")
        self.assertIn("the device 'cpu', so that it may fail on a GPU", exported.reason)
        exported = self.export(Unscriptable())
        self.assertEqual(exported.form, "traced")
        self.assertTrue(any("it freezes the device 'cpu'" in note for note in exported.notes), exported.notes)

    def test_what_can_be_neither_is_refused_with_both_reasons(self):
        class Neither(nn.Module):
            def forward(self, x):
                return x * len([row for row in x.tolist() if sum(row) > 0])

        self.refused("traced: ", Neither())
        self.refused("scripted: ", Neither())
        self.refused("off by", Neither())

    def test_a_trace_that_may_be_wrong_says_so(self):
        class Loud(nn.Module):
            def forward(self, x, **others):
                if bool(x.abs().max() > 1e30):
                    return x * 0
                return x

        exported = self.export(Loud())
        self.assertEqual(exported.form, "traced")
        self.assertTrue(any("but it freezes test_export.py" in note for note in exported.notes), exported.notes)

    def test_what_failed_to_compile_before_spoils_nothing(self):
        class Bad(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(1, 2)

            def forward(self, x) -> Dict[str, torch.Tensor]:
                return {"a": self.head(x), "b": unknown(x)}  # noqa: F821

        for _ in range(2):
            with self.assertRaises(Exception):
                torch.jit.script(Bad())
            self.refused("raises on example_inputs", Bad(), torch.randn(2, 1))
        module, example, options = architectures.all_of_them()["by_name"]
        self.assertEqual(self.export(module, example, **options).form, "scripted")
        self.assertEqual(self.export(module, example, **options).form, "scripted")

    def test_the_way_may_be_asked_for(self):
        self.assertEqual(self.export(method="script").form, "scripted")
        self.assertEqual(self.export(method="trace").form, "traced")
        self.refused("method is 'onnx'", method="onnx")
        module, example, options = architectures.all_of_them()["halving"]
        self.refused(
            "traced: for row 0 of example_inputs alone",
            module,
            example,
            self.mine.parent / "h",
            method="trace",
            **options,
        )

    def test_a_size_that_a_trace_froze_is_found(self):
        class Frozen(nn.Module):
            def forward(self, x, **others):
                return x.reshape(int(x.shape[0]), 4).sum(1) / x.size(0).__index__()

        self.refused("traced: ", Frozen())


class WhatIsRefused(Folder):
    def test_names(self):
        self.refused("model name '-mine'", folder=self.root / "-mine")
        self.refused("model name 'a b'", folder=self.root / "a b")
        self.refused("looks like that of a version", folder=self.mine / "3")
        self.refused("input name 'a b': expected 1 to 128 visible ASCII characters", input_names=["a b"])
        self.refused("output name 'ü'", output_names=["ü"])
        module, example, _ = architectures.all_of_them()["two_heads"]
        self.refused("input name 'x' is given twice", module, example, input_names=["x", "x", "y"])

    def test_versions(self):
        for version in (-1, 1.5, "1", True, 2**64):
            self.refused("expected a whole number from 0", version=version)

    def test_formats(self):
        words = "format 'onnx' cannot be served, expected \"torchscript\" or \"pt2\""
        self.refused(words, formats=("torchscript", "onnx"))
        self.refused("formats is empty", formats=())

    def test_inputs(self):
        self.refused("example_inputs is list, expected a torch.Tensor", nn.Linear(4, 3), ([1.0, 2.0],))
        self.refused("example_inputs is int, expected a torch.Tensor", nn.Linear(4, 3), 5)
        self.refused(
            "example_inputs['edges'] is float, expected a torch.Tensor",
            architectures.Graph(),
            {"nodes": self.example, "edges": 0.5},
        )
        self.refused("is empty", nn.Linear(4, 3), ())
        self.refused("has shape [], expected a first dimension", nn.Identity(), torch.tensor(1.0))
        self.refused("has shape [0, 4], expected at least one", nn.Linear(4, 3), torch.ones(0, 4))
        self.refused("expected one of BOOL, INT8", nn.Identity(), torch.ones(2, dtype=torch.complex64))
        self.refused("sparse", nn.Identity(), torch.eye(3).to_sparse())
        self.refused("the module raises on example_inputs: RuntimeError", nn.Linear(5, 3))

    def test_modules(self):
        self.refused("module is function, expected a torch.nn.Module", lambda x: x)

        class Empty(nn.Module):
            def forward(self, x):
                return None

        class Text(nn.Module):
            def forward(self, x):
                return {"a": x, "b": "text"}

        class Varying(nn.Module):
            def forward(self, x):
                return list(x.unbind(0))

        class Noise(nn.Module):
            def forward(self, x):
                return x + torch.rand_like(x)

        class Counting(nn.Module):
            n = 0

            def forward(self, x):
                self.n += 1
                return x * self.n

        self.refused("the module returns no tensor", Empty())
        self.refused("output 'b' of the module is str, expected tensors", Text())
        self.refused("expected as many always", Varying())
        self.refused("gives another answer to the same inputs", Noise())
        counting = Counting()
        self.refused("gives another answer to the same inputs", counting)
        self.assertEqual(counting.n, 0)

    def test_answers_that_are_no_numbers(self):
        class Log(nn.Module):
            def forward(self, x):
                return torch.log(x)

        self.refused("output 'output' has NaN in 1 of 3 places", Log(), torch.tensor([[1.0, 2.0, -1.0]]))

        self.refused(
            "output 'output' has NaN in 1 of 3 places for golden, number 0",
            Log(),
            torch.ones(2, 3),
            golden=torch.tensor([[1.0, -1.0, 2.0]]),
        )

    def test_labels(self):
        self.refused(
            "labels has 2, which takes a first output of shape [-1, 2] or [-1, 1], but output 'output' has [-1, 3]",
            labels=["a", "b"],
        )
        self.refused("labels has 1, expected two or more", labels=["a"])
        self.refused("labels has 'a' twice", labels=["a", "b", "a"])
        self.refused("expected a list of texts", labels=["a", 1, "b"])
        self.refused("expected a list of texts", labels="abc")
        self.refused("activation is 'softmax', expected", activation="softmax")
        self.refused("activation is 'relu', expected", activation="relu", labels=["a", "b", "c"])

        class Places(nn.Module):
            def forward(self, x):
                return (x > 0).long()[:, :3]

        self.refused(
            "labels take scores in floating point, but output 'output' is INT64", Places(), labels=["a", "b", "c"]
        )

    def test_padding(self):
        self.refused("pad names the input 'ids'", pad={"ids": 0})
        self.refused("expected just one variable dimension", pad={"input": 0})

    def test_golden(self):
        self.refused("golden is -1", golden=-1)
        self.refused("the module raises on golden, number 0", golden=torch.ones(2, 5))

    def test_a_program_that_does_not_serve_it(self):
        program = self.root / "program"
        program.write_text("#!/bin/sh\necho 'mine/1: failed: no reason'\nexit 1\n")
        program.chmod(0o755)
        self.refused("sconce does not serve the model:\nmine/1: failed: no reason", program=program)
        self.refused("cannot check the model", program=self.root / "none")
        program.write_text("#!/bin/sh\necho configuration: ok\necho 'mine/1: ready on cpu'\n")
        self.assertEqual(self.export(program=program).checked, "mine/1: ready on cpu")

    def test_a_program_that_hangs(self):
        with mock.patch.object(subprocess, "run", side_effect=subprocess.TimeoutExpired("sconce", 600)):
            self.refused("cannot check the model", program="sconce")


class Manifests(Folder):
    def test_it_is_toml(self):
        try:
            import tomllib
        except ImportError:
            self.skipTest("this Python cannot read TOML")
        labels = ['quo"te', "back\\slash", "tab\t", "line\nbreak", "ümlaut", "del\x7f", "nul\x01"]
        self.export(nn.Linear(4, 7), labels=labels, description="a\nb")
        found = tomllib.loads((self.mine / "model.toml").read_text())
        self.assertEqual(found["labels"], labels)
        self.assertEqual(found["inputs"], [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}])

    def test_what_answers_are_decides_on_the_activation(self):
        def activation(module: nn.Module, n_labels: int) -> str:
            folder = self.mine.parent / f"m{len(list(self.root.rglob('model.pt')))}"
            self.export(module, folder=folder, labels=[str(place) for place in range(n_labels)])
            return re.search(r'activation = "(\w+)"', (folder / "model.toml").read_text())[1]

        self.assertEqual(activation(nn.Linear(4, 3), 3), "softmax")
        self.assertEqual(activation(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), 3), "none")
        self.assertEqual(activation(nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()), 3), "none")
        self.assertEqual(activation(nn.Linear(4, 1), 2), "sigmoid")
        self.assertEqual(activation(nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()), 2), "none")


if __name__ == "__main__":
    unittest.main()
