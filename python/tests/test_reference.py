"""reference.json is what `sconce reference` writes for the same rows."""

from __future__ import annotations

import csv
import json
import math
import tempfile
import unittest
from pathlib import Path
from typing import Any

import torch
from torch import nn

import sconce_export

from . import serving


class Gaps(nn.Module):
    """Takes missing numbers for zeros."""

    def __init__(self, width: int, n_classes: int):
        super().__init__()
        self.layer = nn.Linear(width, n_classes)

    def forward(self, x):
        return self.layer(torch.nan_to_num(x, nan=0.0))


class Sequences(nn.Module):
    """A number and a text of any length."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(30, 2)

    def forward(self, age, ids):
        return self.embedding(ids).mean(1) + age.unsqueeze(1)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


class References(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.models = self.root / "models"
        torch.manual_seed(3)

    def asked(self, data: Path) -> dict[str, Any]:
        """What the program writes."""
        done = serving.run("reference", "mine/1", "--data", str(data), "--models", str(self.models))
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def same(self, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
        self.assertEqual(sorted(ours), sorted(key for key in theirs if key != "evaluation" or key in ours))
        for key in ("model_sha256", "rows"):
            self.assertEqual(ours[key], theirs[key])
        self.assertEqual(ours.get("labels"), theirs.get("labels"))
        self.assertEqual(len(ours["features"]), len(theirs["features"]))
        for a, b in zip(ours["features"], theirs["features"]):
            self.assertEqual(a, b)
        for name, value in ours.get("evaluation", {}).items():
            # The program may serve a form whose last digits differ: that parts rows of equal scores, each half a pair.
            delta = 1e-3 if name == "roc_auc" else 1e-5
            self.assertAlmostEqual(value, theirs["evaluation"][name], delta=delta, msg=name)

    def test_a_table_of_named_features(self):
        module = Gaps(5, 3)
        rows = torch.randn(700, 5)
        # Ties, a constant, whole numbers, and gaps.
        rows[:, 1] = rows[:, 1].round()
        rows[:, 2] = 4.25
        rows[:, 3] = torch.randint(0, 3, (700,)).float()
        rows[::7, 4] = math.nan
        names = ["one", "two words", "three", "four", 'fi"ve']
        labels = ["a", "b", "never"]
        truth = torch.randint(0, 2, (700,)).tolist()
        with torch.no_grad():
            module.layer.bias[2] = -1000.0
        exported = sconce_export.export(
            module,
            rows[:4].nan_to_num(0.0),
            self.models / "mine",
            labels=labels,
            data=rows,
            feature_names=names,
            quiet=True,
            targets=[labels[place] for place in truth],
        )
        self.assertEqual(exported.n_reference, 700)
        found = read(self.models / "mine" / "1" / "reference.json")
        self.assertEqual([it["name"] for it in found["features"]], names)
        self.assertEqual(found["features"][4]["missing"], 100)
        self.assertEqual(found["features"][2]["edges"], [])
        self.assertEqual(found["labels"]["never"], 0)
        self.assertEqual(sum(found["labels"].values()), 700)
        if serving.PROGRAM:
            path = self.root / "rows.csv"
            with open(path, "w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow([*names, "label"])
                writer.writerows(
                    [*["" if math.isnan(value) else repr(value) for value in row], labels[place]]
                    for row, place in zip(rows.tolist(), truth)
                )
            self.same(found, self.asked(path))

    @serving.needs_program
    def test_one_probability_and_its_truth(self):
        module = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
        rows = torch.randn(300, 3).round()
        truth = torch.randint(0, 2, (300,))
        sconce_export.export(
            module, rows[:2], self.models / "mine", labels=["no", "yes"], data=rows, targets=truth, quiet=True
        )
        path = self.root / "rows.jsonl"
        write_lines(
            path, [{"features": row, "label": ["no", "yes"][it]} for row, it in zip(rows.tolist(), truth.tolist())]
        )
        found = read(self.models / "mine" / "1" / "reference.json")
        self.assertEqual(len(found["evaluation"]), 10)
        self.same(found, self.asked(path))

    @serving.needs_program
    def test_numbers_and_their_truth(self):
        rows, truth = torch.randn(300, 3), torch.randn(300)
        sconce_export.export(nn.Linear(3, 1), rows[:2], self.models / "mine", data=rows, targets=truth, quiet=True)
        path = self.root / "rows.jsonl"
        write_lines(path, [{"features": row, "label": it} for row, it in zip(rows.tolist(), truth.tolist())])
        found = read(self.models / "mine" / "1" / "reference.json")
        self.assertEqual(sorted(found["evaluation"]), ["mae", "r2", "rmse"])
        self.same(found, self.asked(path))

    @serving.needs_program
    def test_more_numbers_than_are_watched_each_are_described(self):
        module = nn.Sequential(nn.Flatten(), nn.Linear(800, 2))
        rows = torch.randn(250, 2, 400)
        rows[::3, 0] = 0.0
        sconce_export.export(
            module, rows[:2], self.models / "mine", labels=["a", "b"], data=[rows[:100], rows[100:]], quiet=True
        )
        path = self.root / "rows.jsonl"
        write_lines(path, [{"features": row, "label": "a"} for row in rows.tolist()])
        found = read(self.models / "mine" / "1" / "reference.json")
        self.assertEqual([it["of"] for it in found["features"]], ["mean", "deviation", "min", "max", "zeros"])
        self.same(found, self.asked(path))

    @serving.needs_program
    def test_several_inputs_and_sizes_that_vary(self):
        data = [
            (torch.randint(18, 90, (50,)).float(), torch.randint(0, 30, (50, length))) for length in (3, 4, 9, 5, 12)
        ]
        sconce_export.export(
            Sequences(),
            data[0],
            self.models / "mine",
            labels=["a", "b"],
            dynamic={"ids": {1: "length"}},
            data=iter(data),
            quiet=True,
        )
        path = self.root / "rows.jsonl"
        rows = [(age, ids) for ages, many in data for age, ids in zip(ages.tolist(), many.tolist())]
        write_lines(path, [{"instances": [{"age": age, "ids": ids}], "label": "b"} for age, ids in rows])
        found = read(self.models / "mine" / "1" / "reference.json")
        self.assertEqual([it["name"] for it in found["features"]][:2], ["age", "ids.mean"])
        self.same(found, self.asked(path))

    @serving.needs_program
    def test_the_server_takes_it(self):
        rows = torch.randn(400, 5)
        sconce_export.export(Gaps(5, 2), rows[:2], self.models / "mine", labels=["a", "b"], data=rows, quiet=True)
        with serving.serving(self.models) as server:
            server.predict("mine", json.dumps({"instances": rows[:100].tolist()}))
            drift = server.get("/models/mine/drift")["versions"][0]
            self.assertEqual(drift["windows"][0]["rows"], 64)
            self.assertEqual(
                {it["feature"] for it in drift["windows"][0]["features"]}, {f"x[{place}]" for place in range(5)}
            )

    def test_too_few_rows_are_refused(self):
        rows = torch.randn(199, 5)
        with self.assertRaisesRegex(sconce_export.ExportError, "data has 199 rows, expected at least 200"):
            sconce_export.export(Gaps(5, 2), rows[:2], self.models / "mine", data=rows, quiet=True)
        self.assertFalse(self.models.exists())

    def test_no_rows_are_refused(self):
        with self.assertRaisesRegex(sconce_export.ExportError, "data has no rows, expected at least 200"):
            sconce_export.export(Gaps(5, 2), torch.randn(2, 5), self.models / "mine", data=[], quiet=True)

    def test_rows_of_another_shape_are_refused(self):
        with self.assertRaisesRegex(
            sconce_export.ExportError, r"data: input 'x' is torch.float32 \[300, 4\], expected torch.float32 \[2, 5\]"
        ):
            sconce_export.export(
                Gaps(5, 2), torch.randn(2, 5), self.models / "mine", data=torch.randn(300, 4), quiet=True
            )

    def test_a_truth_for_every_row(self):
        rows = torch.randn(200, 5)
        for targets, words in (
            ([0] * 199, "targets has 199, expected one for each of the 200 rows"),
            ([2] * 200, r"targets\[0\] is 2, expected one of the labels, or its place from 0 to 1"),
            (["a"] * 199 + ["c"], r"targets\[199\] is 'c', expected one of the labels"),
        ):
            with self.assertRaisesRegex(sconce_export.ExportError, words):
                sconce_export.export(
                    Gaps(5, 2),
                    rows[:2],
                    self.models / "mine",
                    labels=["a", "b"],
                    data=rows,
                    targets=targets,
                    quiet=True,
                )

    def test_names_must_be_as_many_as_numbers(self):
        rows = torch.randn(200, 5)
        with self.assertRaisesRegex(
            sconce_export.ExportError, "feature_names has 2, expected one for each of the 5 numbers"
        ):
            sconce_export.export(
                Gaps(5, 2), rows[:2], self.models / "mine", data=rows, feature_names=["a", "b"], quiet=True
            )
        with self.assertRaisesRegex(
            sconce_export.ExportError, "feature_names is given without data, which it belongs to"
        ):
            sconce_export.export(Gaps(5, 2), rows[:2], self.models / "mine", feature_names=["a"] * 5, quiet=True)


if __name__ == "__main__":
    unittest.main()
