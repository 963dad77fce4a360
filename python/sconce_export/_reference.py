"""reference.json: what rows of data look like, as `sconce reference` writes it.

The rules are those of `src/quality` in sconce: deciles by linear interpolation in double precision, rounded to float32;
a value that is an edge lies in the bin below it; up to 500 numbers a row are features each, more are described.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Optional, Union

import torch

from . import _evaluation, _numbers
from ._error import ExportError
from ._manifest import Manifest, Spec

MIN_ROWS = 200
FEW_ROWS = 1000
MAX_ROWS = 1_000_000
MAX_FEATURES = 500
MAX_LABELS = 100
MAX_NAME = 128
MAX_BYTES = 4 << 20
BINS = 10
MAX_DESCRIBED = 4096
Targets = Union[torch.Tensor, Sequence[str], Sequence[int], Sequence[float]]
DESCRIPTORS = ("mean", "deviation", "min", "max", "zeros")


class Reference:
    """Collects the features of rows, batch by batch."""

    def __init__(self, manifest: Manifest, feature_names: Optional[Sequence[str]], targets: Optional[Targets]):
        """
        Args:
            manifest: its inputs and labels.
            feature_names: what the numbers of the one input are called, in order.
            targets: the truth of each row.
        """
        self._inputs = manifest.inputs
        self._labels = manifest.labels
        self._activation = manifest.activation or "none"
        self._names = None if feature_names is None else list(feature_names)
        self._features: list[tuple[str, str, str]] = []
        self._each: list[bool] = []
        self._columns: list[list[torch.Tensor]] = []
        self._counts = torch.zeros(len(self._labels or []) + 1, dtype=torch.int64)
        self._targets = None if targets is None else _truth(targets, self._labels)
        self._answers: list[torch.Tensor] = []
        self._told: list[torch.Tensor] = []
        self.n_rows = 0

    @property
    def needs_answers(self) -> bool:
        """Whether the module has to answer the rows."""
        return self._labels is not None or self._targets is not None

    def add(self, inputs: Sequence[torch.Tensor], output: Optional[torch.Tensor]) -> None:
        """Adds rows.

        Args:
            inputs: a tensor each, of as many rows.
            output: the module's first output for them, where `needs_answers`: `[rows, labels]`, or one number a row.
        """
        if not self.n_rows:
            self._begin(inputs)
        self.n_rows += inputs[0].shape[0]
        if self.n_rows > MAX_ROWS:
            raise ExportError(f"data has more than {MAX_ROWS} rows, expected at most as many")
        values = []
        for tensor, each in zip(inputs, self._each):
            flat = tensor.reshape(tensor.shape[0], -1).float()
            values.append(flat if each else _described(flat))
        for column, found in zip(self._columns, torch.cat(values, dim=1)[:, :MAX_FEATURES].unbind(1)):
            column.append(found)
        if self._labels is not None and output is not None:
            is_single = output.dim() == 1 or output.shape[1] == 1
            scores = _evaluation.scores(output, len(self._labels), self._activation)
            told = _evaluation.classes(scores, is_single)
            self._counts += torch.bincount(told, minlength=len(self._counts))
            if self._targets is not None:
                self._answers.append(scores)
                self._told.append(told)
        elif output is not None:
            if output.dim() == 0 or output.numel() != inputs[0].shape[0]:
                raise ExportError(
                    "targets are given, but the module has no labels, and its first output "
                    f"{list(output.shape)} is not one number a row"
                )
            self._answers.append(output.double().reshape(-1))

    def _begin(self, inputs: Sequence[torch.Tensor]) -> None:
        widths = [tensor[0].numel() for tensor in inputs]
        total = sum(widths)
        names = self._names
        if names is not None:
            is_right = len(inputs) == 1 and len(names) == total == len(set(names))
            if not is_right or not all(1 <= len(name.encode()) <= MAX_NAME for name in names):
                raise ExportError(
                    f"feature_names has {len(names)}, expected one for each of the {total} numbers of a row of the one "
                    "input, all different and of at most 128 bytes"
                )
        for spec, width in zip(self._inputs, widths):
            each = total <= MAX_FEATURES and -1 not in spec.shape[1:]
            self._each.append(each)
            self._features += (
                _features(spec, width, names)
                if each
                else [(f"{spec.name}.{word}", spec.name, json.dumps(word)) for word in DESCRIPTORS]
            )
        self._features = self._features[:MAX_FEATURES]
        self._columns = [[] for _ in self._features]

    def to_json(self, sha256: str) -> str:
        """The file, for a model file of this digest.

        Raises:
            ExportError: too few rows, or a feature without any finite value.
        """
        if self.n_rows < MIN_ROWS:
            raise ExportError(
                f"data has {self.n_rows} rows, expected at least {MIN_ROWS} for a reference: fewer say too little"
            )
        features = [
            _feature(name, source, of, torch.cat(column))
            for (name, source, of), column in zip(self._features, self._columns)
        ]
        labels = dict(sorted(zip(self._labels or [], self._counts.tolist())))
        evaluation = self._evaluate()
        text = f'{{"model_sha256":"{sha256}","rows":{self.n_rows},"features":[\n' + ",\n".join(features) + "\n]"
        if labels and len(labels) <= MAX_LABELS:
            text += f',"labels":{json.dumps(labels, ensure_ascii=False, separators=(",", ":"))}'
        if evaluation:
            text += f',"evaluation":{json.dumps(dict(sorted(evaluation.items())), separators=(",", ":"))}'
        text += "}\n"
        if len(text.encode()) > MAX_BYTES:
            raise ExportError(f"reference.json has {len(text.encode())} bytes, expected at most {MAX_BYTES}")
        return text

    def _evaluate(self) -> dict[str, float]:
        if self._targets is None:
            return {}
        if len(self._targets) != self.n_rows:
            raise ExportError(
                f"targets has {len(self._targets)}, expected one for each of the {self.n_rows} rows of data"
            )
        answers = torch.cat(self._answers)
        if self._labels is None:
            return _evaluation.regression(answers, self._targets)
        return _evaluation.classification(answers, torch.cat(self._told), self._targets)


def _truth(targets: Targets, labels: Optional[Sequence[str]]) -> torch.Tensor:
    """Classes by their place, or numbers.

    Raises:
        ExportError: something that is neither.
    """
    values = targets.tolist() if isinstance(targets, torch.Tensor) else list(targets)
    if labels is None:
        try:
            return torch.tensor(values, dtype=torch.float64).reshape(-1)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ExportError(f"targets of a module without labels: expected numbers: {error}") from error
    places = {label: place for place, label in enumerate(labels)}
    truth = []
    for row, value in enumerate(values):
        place = places.get(value) if isinstance(value, str) else value
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(labels):
            raise ExportError(
                f"targets[{row}] is {value!r}, expected one of the labels, or its place from 0 to {len(labels) - 1}"
            )
        truth.append(place)
    return torch.tensor(truth, dtype=torch.int64)


def _features(spec: Spec, width: int, names: Optional[Sequence[str]]) -> list[tuple[str, str, str]]:
    if names is None:
        names = [spec.name] if width == 1 else [f"{spec.name}[{place}]" for place in range(width)]
    return [(name, spec.name, str(place)) for place, name in enumerate(names)]


def _described(rows: torch.Tensor) -> torch.Tensor:
    """Mean, deviation, smallest, largest and share of zeros of each row, in that order: `[rows, 5]`."""
    width = rows.shape[1]
    rows = rows[:, :: max(1, -(-width // MAX_DESCRIBED))]
    exact = rows.double()
    # One after the other, as sconce adds them.
    mean = exact.cumsum(1)[:, -1] / rows.shape[1]
    deviation = ((exact * exact).cumsum(1)[:, -1] / rows.shape[1] - mean * mean).nan_to_num(0.0).clamp(min=0.0).sqrt()
    zeros = (rows == 0).double().mean(1)
    least, most = rows.double().amin(1), rows.double().amax(1)
    found = torch.stack([mean, deviation, least, most, zeros], dim=1).float()
    return torch.where(rows.isnan().any(1, keepdim=True), math.nan, found)


def _feature(name: str, source: str, of: str, values: torch.Tensor) -> str:
    found = values[values.isfinite()].double().sort().values
    if not len(found):
        raise ExportError(f"feature {name!r} of data has no finite value")
    edges = _edges(found)
    bins = (
        torch.searchsorted(torch.tensor(edges, dtype=torch.float64), found, right=False)
        if edges
        else torch.zeros(len(found), dtype=torch.int64)
    )
    counts = torch.bincount(bins, minlength=len(edges) + 1).tolist()
    parts = {
        "name": json.dumps(name, ensure_ascii=False),
        "input": json.dumps(source),
        "of": of,
        "edges": "[" + ",".join(_float(edge) for edge in edges) + "]",
        "counts": json.dumps(counts, separators=(",", ":")),
        "missing": str(int(values.isnan().sum())),
        "min": _float(found[0].item()),
        "max": _float(found[-1].item()),
    }
    return "{" + ",".join(f'"{key}":{value}' for key, value in parts.items()) + "}"


def _edges(found: torch.Tensor) -> list[float]:
    """The deciles of sorted values that rise and are below the largest, as float32."""
    last, largest = len(found) - 1, found[-1].item()
    edges: list[float] = []
    for number in range(1, BINS):
        place = last * (number / BINS)
        low = math.floor(place)
        part = place - low
        a, b = found[low].item(), found[min(low + 1, last)].item()
        value = a + (b - a) * part if part < 0.5 else b - (b - a) * (1.0 - part)
        edge = torch.tensor(value, dtype=torch.float64).float().item()
        if edge < largest and (not edges or edges[-1] != edge):
            edges.append(edge)
    return edges


def _float(value: float) -> str:
    text = _numbers.single(value)
    return text if any(mark in text for mark in ".en") else text + ".0"
