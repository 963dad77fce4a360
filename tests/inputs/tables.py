"""Rows of a table as the model gets them, beside what scikit-learn makes of the same rows."""

import csv
import importlib.machinery
import importlib.util
import io
import json
import pathlib
import random
import subprocess
import sys

import torch
from torch import nn

from harness import ROOT, Checks, Site, model, temporary

CITIES, SIZES = ["Paris", "São Paulo", "New \"York\"", "東京", "Oslo, NO"], ["s", "m", "l"]
# FP32 holds seven digits.
CLOSE = 1e-6


class Echo(nn.Module):
    def forward(self, x):
        return x * 1.0


def rows(count, chance, unknown):
    """Rows with what data frames have: gaps, whole numbers, words of every script, and where asked for words never seen."""
    for _ in range(count):
        row = {
            "age": chance.choice([chance.randrange(100), chance.uniform(0, 100)]),
            "hours per week": chance.uniform(-1e6, 1e6),
            "city": chance.choice(CITIES + ["Nowhere"] * unknown),
            "size": chance.choice(SIZES + ["xl"] * unknown),
        }
        for name in ("age", "hours per week", "city"):
            if chance.random() < 0.1:
                row[name] = None
        yield row


def reference(fit, transform):
    """The same by scikit-learn, which lies in an environment of its own."""
    loader = importlib.machinery.SourceFileLoader("evaluation", str(ROOT / "tests/evaluation/run"))
    evaluation = importlib.util.module_from_spec(importlib.util.spec_from_loader("evaluation", loader))
    loader.exec_module(evaluation)
    script = pathlib.Path(__file__).with_name("columns.py")
    given = json.dumps({"fit": fit, "transform": transform})
    done = subprocess.run([evaluation.environment(), script], input=given, capture_output=True, check=True, text=True)
    return json.loads(done.stdout)


def manifest(learned):
    columns = [
        {"name": name, "missing": learned["missing"][at], "mean": learned["mean"][at], "std": learned["std"][at]}
        for at, name in enumerate(["age", "hours per week"])
    ]
    columns.append({"name": "city", "categories": learned["city"], "others": "none", "missing": learned["common"]})
    columns.append({"name": "size", "categories": learned["size"], "encode": "index", "others": "none"})
    # JSON's numbers, texts and lists of texts are TOML's.
    tables = ["\n".join(["[[preprocess.columns]]"] + [f"{key} = {json.dumps(value)}" for key, value in it.items()]) for it in columns]
    width = 3 + len(learned["city"])
    tables.append(f'[[inputs]]\nname = "x"\ndatatype = "FP32"\nshape = [-1, {width}]\n')
    return "\n".join(tables)


def as_csv(table):
    out = io.StringIO()
    names = ["size", "age", "city", "hours per week"]
    writer = csv.DictWriter(out, names)
    writer.writeheader()
    writer.writerows(table)
    return out.getvalue().encode()


def by_column(table):
    names = ["age", "hours per week", "city", "size"]
    return {name: [row[name] for row in table] for name in names}


def tensors(table):
    kinds = {"age": "FP64", "hours per week": "FP64", "city": "BYTES", "size": "BYTES"}
    return [
        {"name": name, "datatype": kinds[name], "shape": [len(table), 1], "data": values}
        for name, values in by_column(table).items()
    ]


def without_gaps(table):
    return [{name: value for name, value in row.items() if value is not None} for row in table]


def main():
    checks, chance = Checks(), random.Random(7)
    fit, asked = list(rows(500, chance, 0)), list(rows(400, chance, 1))
    learned = reference(fit, asked)
    expected = torch.tensor(learned["rows"], dtype=torch.float64)
    with temporary() as folder:
        model(pathlib.Path(folder) / "people", Echo(), manifest(learned))
        site = Site(sys.argv[1], folder)
        ways = {
            "rows": lambda: site.predict("people", {"rows": asked})["predictions"],
            "rows without what is missing": lambda: site.predict("people", {"rows": without_gaps(asked)})["predictions"],
            "one row each": lambda: [site.predict("people", {"row": row})["prediction"] for row in asked],
            "columns": lambda: site.predict("people", {"inputs": by_column(asked)})["outputs"].popitem()[1],
            "CSV": lambda: site.predict("people", as_csv(asked), "text/csv")["predictions"],
            "TF Serving's instances": lambda: site.ask("/v1/models/people:predict", {"instances": asked})[1]["predictions"],
            "TorchServe's rows": lambda: site.ask("/predictions/people", asked)[1],
            "TorchServe's CSV": lambda: site.ask("/predictions/people", as_csv(asked), "text/csv")[1],
        }
        for way, ask in ways.items():
            got = torch.tensor(ask(), dtype=torch.float64)
            apart = ((got - expected).abs() / expected.abs().clamp(min=1)).max().item()
            checks.hold(f"{len(asked)} rows as {way}: at most {apart:.1e} from scikit-learn ({CLOSE} allowed)", apart <= CLOSE)
        status, answer = site.ask("/v2/models/people/infer", {"inputs": tensors(asked)})
        got = torch.tensor(answer["outputs"][0]["data"], dtype=torch.float64).reshape(expected.shape)
        apart = ((got - expected).abs() / expected.abs().clamp(min=1)).max().item()
        checks.hold(f"Open Inference, an input for each column: {status}, at most {apart:.1e}", apart <= CLOSE)
        good = {"age": 1, "hours per week": 2, "city": "Oslo, NO", "size": "s"}
        for what, body, kind, part in [
            ("a missing word that may not be missing", {"row": {"age": 1}}, "application/json", '"size" of row 0 is missing'),
            ("a column that there is not", {"row": {**good, "weight": 1}}, "application/json", '"weight"'),
            ("a word for a number", {"row": {**good, "age": "old"}}, "application/json", "expected a number"),
            ("a list for a number", {"row": {**good, "age": [1]}}, "application/json", "age"),
            ("a number beyond FP32", {"row": {**good, "age": 1e300}}, "application/json", "not finite"),
            ("a million columns", b"age" + b",age" * 1_000_000 + b"\n", "text/csv", "given twice"),
            ("a million columns without names", b"," * 1_000_000, "text/csv", "no column"),
            ("a line too short", b"age,size\n1,s\n2\n", "text/csv", "row 1"),
            ("names alone", b"age,size\n", "text/csv", "no rows"),
            ("a quote without an end", b'age,size\n1,"s\n2,s\n' + b"3,s\n" * 100_000, "text/csv", "65536"),
            ("bytes of no text for a number", b"age,size\n\xff\xfe,s\n", "text/csv", "expected a number"),
        ]:
            status, answer = site.ask("/predict/people", body, kind)
            message = answer["error"]
            checks.hold(f"{what}: {status} {message[:120]}", status == 400 and part in message)
        status, _ = site.ask("/predict/people", {"row": good})
        checks.hold(f"it serves on: {status}", status == 200)
    checks.end()


if __name__ == "__main__":
    main()
