"""Tensors as JSON that reads back as the same numbers, and the native form of requests and answers."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, Optional

import torch

from ._error import ExportError


def text(tensor: torch.Tensor, digits: Optional[int] = None) -> str:
    """A tensor as nested lists. Floats are as short as they can be and still be the same, or have so many digits."""
    number: Callable[[Any], str]
    if digits is not None and tensor.is_floating_point():
        tensor, number = tensor.double(), _Rounder(digits)
    elif tensor.dtype == torch.float64:
        number = _double
    elif tensor.is_floating_point():
        tensor, number = tensor.float(), _single
    else:
        number = json.dumps
    return _nested(tensor.tolist(), number)


def _nested(value: Any, number: Callable[[Any], str]) -> str:
    if isinstance(value, list):
        return "[" + ",".join([_nested(item, number) for item in value]) + "]"
    return number(value)


def single(value: float) -> str:
    """The shortest decimal that is nearest to this float32."""
    for digits in range(6, 9):
        found = f"{value:.{digits}g}"
        if _rounded(float(found)) == value:
            return found
    return f"{value:.9g}"


def _rounded(value: float) -> float:
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.inf


def _single(value: float) -> str:
    return _no_number(value) or _whole(value) or single(value)


def _double(value: float) -> str:
    return _no_number(value) or _whole(value) or repr(value)


class _Rounder:
    """Writes numbers with so many significant digits."""

    def __init__(self, digits: int):
        self.digits = digits

    def __call__(self, value: float) -> str:
        return _no_number(value) or _whole(value) or f"{value:.{self.digits}g}"


def _whole(value: float) -> Optional[str]:
    is_short = math.isfinite(value) and abs(value) < 1e7 and value == int(value)
    # A zero may have a sign.
    return ("-0.0" if math.copysign(1, value) < 0 and value == 0 else str(int(value))) if is_short else None


def _no_number(value: float) -> Optional[str]:
    # What an answer has in their place.
    return None if math.isfinite(value) else "null"


def request(names: Sequence[str], inputs: Sequence[torch.Tensor], has_rows: bool, digits: Optional[int] = None) -> str:
    """A body for `POST /predict/{model}`: `features` for one row of one input, `instances` for rows, else `inputs`.

    Args:
        names: of the inputs, in order.
        inputs: a tensor each; the first dimension counts rows.
        has_rows: whether all inputs have the same number of rows.
        digits: significant digits of floats; all that there are where it is not given.
    """
    if not has_rows:
        return '{"inputs":' + _object(names, [text(tensor, digits) for tensor in inputs]) + "}"
    if len(names) == 1:
        if inputs[0].shape[0] == 1:
            return '{"features":' + text(inputs[0][0], digits) + "}"
        return '{"instances":' + text(inputs[0], digits) + "}"
    rows = [_object(names, [text(tensor[row], digits) for tensor in inputs]) for row in range(inputs[0].shape[0])]
    return '{"instances":[' + ",".join(rows) + "]}"


def answer(names: Sequence[str], outputs: Sequence[torch.Tensor], is_one: bool, has_rows: bool) -> str:
    """What the answer has as `prediction`, `predictions` or `outputs`.

    Args:
        names: of the outputs, in order.
        outputs: a tensor each; the first dimension counts rows where `has_rows`.
        is_one: whether the request was `features`.
        has_rows: whether the model answers in rows.
    """
    if not has_rows:
        return _object(names, [text(tensor) for tensor in outputs])

    def row(place: int) -> str:
        values = [text(tensor[place]) for tensor in outputs]
        return values[0] if len(names) == 1 else _object(names, values)

    return row(0) if is_one else "[" + ",".join([row(place) for place in range(outputs[0].shape[0])]) + "]"


def _object(names: Sequence[str], values: Sequence[str]) -> str:
    return "{" + ",".join([f"{json.dumps(name)}:{value}" for name, value in zip(names, values)]) + "}"


def read_request(body: str, names: Sequence[str], like: Sequence[torch.Tensor], where: str) -> list[torch.Tensor]:
    """The tensors of a body, of the datatypes and ranks of the example.

    Raises:
        ExportError: it is no body for this model. `where` is how the message calls it.
    """
    try:
        document = json.loads(body)
        values = _values(document, names)
        tensors = [torch.tensor(value, dtype=tensor.dtype) for value, tensor in zip(values, like)]
    except (ValueError, TypeError, KeyError, IndexError, RuntimeError) as error:
        raise ExportError(f"{where} is no request for this model: {error}") from error
    for name, tensor, example in zip(names, tensors, like):
        if tensor.dim() != example.dim():
            raise ExportError(
                f"{where}: input {name!r} has shape {list(tensor.shape)}, expected {example.dim()} dimensions"
            )
    return tensors


def _values(document: Any, names: Sequence[str]) -> list[Any]:
    if not isinstance(document, dict) or len(document) != 1:
        raise ValueError('expected an object with "features", "instances" or "inputs"')
    ((form, content),) = document.items()
    if form == "inputs":
        if set(content) != set(names):
            raise ValueError(f"it has the inputs {', '.join(content)}, expected {', '.join(names)}")
        return [content[name] for name in names]
    if form == "features":
        if len(names) != 1:
            raise ValueError(f'it has "features", but there are the inputs {", ".join(names)}')
        return [[content]]
    if form != "instances":
        raise ValueError(f"it has the member {form!r}")
    if content and isinstance(content[0], dict):
        for row in content:
            if set(row) != set(names):
                raise ValueError(f"a row has the inputs {', '.join(row)}, expected {', '.join(names)}")
        return [[row[name] for row in content] for name in names]
    if len(names) != 1:
        raise ValueError(f"its rows have no names, but there are the inputs {', '.join(names)}")
    return [content]
