"""What scikit-learn says of the held-out rows of the example models, and of a regression over `tabular`.

`figures.py --write` writes tests/fixtures/figures; `figures.py PROGRAM` compares them with what `PROGRAM evaluate` says
of the same rows, and both with scikit-learn.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from sklearn import metrics

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
CLASSES = {"breast_cancer": ["malignant", "benign"], "digits": [str(digit) for digit in range(10)]}
N_BINS = 15
TOLERANCE = 1e-6


def calibration_error(confidence: np.ndarray, is_right: np.ndarray) -> float:
    """Naeini et al. 2015, Guo et al. 2017: scikit-learn has no function for it."""
    bins = np.digitize(confidence, np.linspace(0, 1, N_BINS + 1)[1:-1], right=True)
    gaps = [abs(is_right[bins == it].sum() - confidence[bins == it].sum()) for it in range(N_BINS)]
    return float(sum(gaps) / len(confidence))


def classification(truth: np.ndarray, scores: np.ndarray) -> dict:
    """The figures of probabilities, a column a class."""
    labels = range(scores.shape[1])
    # One probability of two classes decides for the second from a half on.
    predicted = (scores[:, 1] >= 0.5).astype(int) if len(labels) == 2 else scores.argmax(axis=1)
    figures = {"accuracy": metrics.accuracy_score(truth, predicted)}
    for average in ("macro", "weighted"):
        found = metrics.precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)
        figures |= dict(zip((f"{average}_precision", f"{average}_recall", f"{average}_f1"), found))
    of_rank = scores[:, 1] if len(labels) == 2 else scores
    figures["roc_auc"] = metrics.roc_auc_score(truth, of_rank, multi_class="ovr", average="macro")
    figures["log_loss"] = metrics.log_loss(truth, scores, labels=labels)
    figures["calibration_error"] = calibration_error(scores.max(axis=1), predicted == truth)
    each = metrics.precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0)
    aucs = [metrics.roc_auc_score(truth == label, scores[:, label]) for label in labels]
    names = ("precision", "recall", "f1", "support", "roc_auc")
    per_class = [dict(zip(names, map(float, row))) for row in zip(*each, aucs)]
    matrix = metrics.confusion_matrix(truth, predicted, labels=labels).tolist()
    return {"figures": {name: float(it) for name, it in figures.items()}, "classes": per_class, "confusion": matrix}


def regression(truth: np.ndarray, predicted: np.ndarray) -> dict:
    figures = {
        "mae": metrics.mean_absolute_error(truth, predicted),
        "rmse": metrics.root_mean_squared_error(truth, predicted),
        "r2": metrics.r2_score(truth, predicted),
    }
    return {"figures": {name: float(it) for name, it in figures.items()}}


def rows(name: str) -> tuple[list, list, np.ndarray]:
    """Inputs, labels as a data set has them, and the model's outputs by PyTorch."""
    folder = "held_out" if name in CLASSES else "reference"
    data = json.loads((FIXTURES / folder / f"{name}.json").read_text())
    outputs = np.array(data["reference"], dtype=np.float64)
    if name in CLASSES:
        return data["instances"], data["labels"], outputs
    # A regression has no labels of its own: these are off by what a sine says.
    return data["instances"], [round(it + 0.1 * math.sin(7 * at), 6) for at, it in enumerate(outputs[:, 0])], outputs


def expected(name: str) -> dict:
    _, labels, outputs = rows(name)
    if name not in CLASSES:
        return {"labels": labels, **regression(np.array(labels), outputs[:, 0])}
    truth = np.array([CLASSES[name].index(label) for label in labels])
    if outputs.shape[1] == 1:
        return classification(truth, np.hstack([1 - outputs, outputs]))
    shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return classification(truth, shifted / shifted.sum(axis=1, keepdims=True))


def differences(name: str, expected, got, path: str = "") -> list[str]:
    """Where two documents are apart by more than the tolerance."""
    if isinstance(expected, dict):
        return [it for key in expected for it in differences(name, expected[key], got[key], f"{path}.{key}")]
    if isinstance(expected, list):
        if len(expected) != len(got):
            return [f"{name}{path}: {len(got)} entries, not {len(expected)}"]
        return [it for at, value in enumerate(expected) for it in differences(name, value, got[at], f"{path}[{at}]")]
    return [] if abs(expected - got) <= TOLERANCE else [f"{name}{path}: {got}, not {expected}"]


def evaluate(program: str, name: str, folder: pathlib.Path) -> dict:
    """What the program says of the same rows, in the words of the fixtures."""
    instances, labels, _ = rows(name)
    data = folder / f"{name}.jsonl"
    lines = (json.dumps({"features": row, "label": label}) for row, label in zip(instances, labels))
    data.write_text("".join(f"{line}\n" for line in lines))
    models = ROOT / ("models" if name in CLASSES else "tests/fixtures/models")
    plain = {key: value for key, value in os.environ.items() if not key.startswith("SCONCE_")}
    command = [program, "evaluate", name, "--data", data, "--json", "--models", models]
    ran = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**plain, "SCONCE_STATE_DIR": str(folder / "state")},
    )  # fmt: skip
    found = json.loads(ran.stdout)["result"]
    return {**found, "labels": labels, "figures": {key: it["value"] for key, it in found["figures"].items()}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--write", action="store_true", help="write the fixtures")
    parser.add_argument("program", nargs="?")
    arguments = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in (*CLASSES, "tabular"):
            figures, file = expected(name), FIXTURES / "figures" / f"{name}.json"
            if arguments.write:
                file.write_text(json.dumps(figures, indent=1) + "\n")
            failed += differences(name, figures, json.loads(file.read_text()))
            if arguments.program:
                found = evaluate(arguments.program, name, pathlib.Path(scratch))
                failed += differences(name, figures, found)
            print(name, {key: round(it, 6) for key, it in figures["figures"].items()})
    print("\n".join(failed) or f"all figures agree within {TOLERANCE}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
