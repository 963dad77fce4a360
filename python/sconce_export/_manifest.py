"""model.toml: what it says of a module, and what one that is there already says otherwise."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import torch

from ._call import Part
from ._compare import Case
from ._dimensions import Dimensions
from ._error import ExportError
from ._names import DATATYPES

if sys.version_info >= (3, 11):
    from tomllib import loads as _loads
else:
    from ._toml import loads as _loads

MAX_BYTES = 1 << 20
ACTIVATIONS = ("none", "softmax", "sigmoid")


@dataclasses.dataclass(frozen=True)
class Spec:
    """A tensor as model.toml declares it."""

    name: str
    datatype: str
    shape: list[int]
    """-1 where it varies; the first counts rows."""
    pad: Optional[float] = None

    def table(self) -> dict[str, Any]:
        """Its keys in model.toml."""
        table = {"name": self.name, "datatype": self.datatype, "shape": self.shape}
        return table if self.pad is None else {**table, "pad": self.pad}

    def __str__(self) -> str:
        return f"{self.name} {self.datatype} {self.shape}"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What model.toml says."""

    inputs: list[Spec]
    outputs: list[Spec]
    """None where their shapes cannot be declared."""
    has_rows: bool
    """Whether every output has a row for each row of the inputs."""
    labels: Optional[list[str]] = None
    activation: Optional[str] = None
    description: Optional[str] = None

    def to_toml(self) -> str:
        """The file."""
        lines = []
        if self.description is not None:
            lines.append(f"description = {_quote(self.description)}")
        if self.labels is not None:
            lines.append(f"labels = [{', '.join(map(_quote, self.labels))}]")
            lines.append(f"activation = {_quote(self.activation or 'none')}")
        for kind, specs in (("inputs", self.inputs), ("outputs", self.outputs)):
            for spec in specs:
                lines += ["", f"[[{kind}]]"] if lines else [f"[[{kind}]]"]
                lines += [f"{key} = {_value(value)}" for key, value in spec.table().items()]
        return "\n".join(lines) + "\n"

    def compare(self, found: Mapping[str, Any], where: str, is_activation_given: bool) -> None:
        """Holds what is there already against what it should say.

        Raises:
            ExportError: they differ; the message names the key, and both values.
        """
        for kind, specs in (("inputs", self.inputs), ("outputs", self.outputs)):
            tables = found.get(kind)
            if tables is None or not specs:
                continue
            if len(tables) != len(specs):
                names = ", ".join(str(table.get("name")) for table in tables)
                ours = ", ".join(spec.name for spec in specs)
                raise _differs(where, kind, f"{len(tables)} tables ({names})", f"{len(specs)} ({ours})")
            for place, (table, spec) in enumerate(zip(tables, specs)):
                for key, expected in spec.table().items():
                    if table.get(key) != expected:
                        raise _differs(where, f"{kind}[{place}].{key}", _shown(table.get(key)), _shown(expected))
        if self.labels is not None:
            if "labels_file" in found:
                raise _differs(where, "labels_file", _shown(found["labels_file"]), f"labels = {_shown(self.labels)}")
            if found.get("labels") != self.labels:
                raise _differs(where, "labels", _shown(found.get("labels")), _shown(self.labels))
            activation = found.get("activation", "none")
            if is_activation_given and activation != self.activation:
                raise _differs(where, "activation", _shown(activation), _shown(self.activation))


def _differs(where: str, key: str, got: str, expected: str) -> ExportError:
    return ExportError(
        f"{where}: {key} is {got}, expected {expected}; it holds for all versions of the model, so it is not written "
        "over: change it, or export to the folder of another model"
    )


def _shown(value: Any) -> str:
    return "not there" if value is None else json.dumps(value, ensure_ascii=False)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _value(value: Any) -> str:
    return _quote(value) if isinstance(value, str) else json.dumps(value)


def read(path: Path) -> Optional[tuple[str, dict[str, Any]]]:
    """The text and the keys of a file that is there already; `None` where there is none.

    Raises:
        ExportError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{path} cannot be read: {error}") from error
    try:
        return text, _loads(text)
    except ValueError as error:
        raise ExportError(f"{path} is no TOML: {error}") from error


def only_name(found: Mapping[str, Any], kind: str, n_tensors: int) -> Optional[list[str]]:
    """What a model.toml that is there calls the one input or output: with one there is nothing to mix up."""
    tables = found.get(kind)
    is_one = n_tensors == 1 and isinstance(tables, list) and len(tables) == 1
    return [tables[0]["name"]] if is_one and isinstance(tables[0].get("name"), str) else None


def input_specs(
    names: Sequence[str], tensors: Sequence[torch.Tensor], dimensions: Dimensions, pad: Mapping[str, float]
) -> list[Spec]:
    """The inputs as the example has them."""
    specs = []
    for place, (name, tensor) in enumerate(zip(names, tensors)):
        shape = dimensions.shape(place, tensor.shape)
        if name in pad and shape[1:].count(-1) != 1:
            raise ExportError(
                f"pad names input {name!r} of shape {shape}, expected just one variable dimension beside the rows"
            )
        specs.append(Spec(name, DATATYPES[tensor.dtype], shape, pad.get(name)))
    for name in pad:
        if name not in names:
            raise ExportError(f"pad names the input {name!r}, but the inputs are {', '.join(names)}")
    return specs


def output_specs(
    names: Sequence[str], parts: Sequence[Part], cases: Sequence[Case], dimensions: Dimensions
) -> tuple[list[Spec], bool, list[str]]:
    """The outputs as all cases show them, whether all have the rows of the inputs, and what is odd about them."""
    specs, notes, has_rows = [], [], dimensions.n_rows is not None
    for place, name in enumerate(names):
        shapes = [(_n_rows(case, dimensions), list(case.outputs[place].shape)) for case in cases]
        rank = max(len(shape) for _, shape in shapes)
        # sconce puts back the dimension of the rows that `squeeze()` takes away where there is one.
        shapes = [(n, [1, *shape] if n == 1 and len(shape) == rank - 1 else shape) for n, shape in shapes]
        if any(len(shape) != rank for _, shape in shapes):
            return (
                [],
                False,
                [f"output {name!r} has other numbers of dimensions for other inputs, so that no output is declared"],
            )
        counts_rows = rank > 0 and all(shape[0] == n for n, shape in shapes)
        has_rows = has_rows and counts_rows
        sizes = [{shape[axis] for _, shape in shapes} for axis in range(rank)]
        shape = [size.copy().pop() if len(size) == 1 and 0 not in size else -1 for size in sizes]
        if rank and counts_rows and dimensions.rows is not None:
            shape[0] = -1
        if not counts_rows and dimensions.n_rows is not None:
            notes.append(
                f'output {name!r} has not one row for each row of the inputs: answers come whole, as "outputs"'
            )
        specs.append(Spec(name, DATATYPES[cases[0].outputs[place].dtype], shape))
    return specs, has_rows, notes


def _n_rows(case: Case, dimensions: Dimensions) -> int:
    return case.inputs[0].shape[0] if dimensions.n_rows is not None else -1


def check_labels(labels: Sequence[str]) -> list[str]:
    """Labels as model.toml takes them.

    Raises:
        ExportError: there are fewer than two, one is no text, or one is there twice.
    """
    if isinstance(labels, str) or not all(isinstance(label, str) and label for label in labels):
        raise ExportError(f"labels is {labels!r}, expected a list of texts, one for each class")
    labels = list(labels)
    if len(labels) < 2:
        raise ExportError(f"labels has {len(labels)}, expected two or more")
    for place, label in enumerate(labels):
        if label in labels[:place]:
            raise ExportError(f"labels has {label!r} twice")
    return labels


def activation_of(labels: Sequence[str], spec: Spec, cases: Sequence[Case]) -> tuple[str, str]:
    """What makes scores of the first output, and why: none where it has the range of scores in all cases.

    Raises:
        ExportError: the output does not suit so many labels.
    """
    n_labels = len(labels)
    widths = [[-1], [-1, 1]] if n_labels == 2 else []
    if spec.shape not in [[-1, n_labels], *widths] and spec.shape[1:] not in [
        [n_labels],
        *[width[1:] for width in widths],
    ]:
        also = " or [-1, 1]" if n_labels == 2 else ""
        raise ExportError(
            f"labels has {n_labels}, which takes a first output of shape [-1, {n_labels}]{also}, "
            f"but output {spec.name!r} has {spec.shape}"
        )
    if spec.datatype not in ("FP16", "BF16", "FP32", "FP64"):
        raise ExportError(f"labels take scores in floating point, but output {spec.name!r} is {spec.datatype}")
    is_single = len(spec.shape) == 1 or spec.shape[1] == 1
    scores = [case.outputs[0].double().reshape(-1, 1 if is_single else n_labels) for case in cases]
    rows = torch.cat(scores)
    rows = rows[rows.isfinite().all(1)]
    if bool(((rows >= 0) & (rows <= 1)).all()):
        return "none", "the module answers with numbers from 0 to 1"
    return (
        "sigmoid" if is_single else "softmax"
    ), "the module's answers go beyond 0 to 1, so they are taken for logits"
