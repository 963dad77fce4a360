"""Inputs that a module is tried with, its answers to them, and the comparison with those of its TorchScript."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Optional

import torch

from ._call import Call, Part, flatten
from ._dimensions import Dimensions, other_sizes, redraw, resize, scale
from ._error import ExportError

TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 2e-2}
"""How far answers may be apart, relative to the largest of the output; `DEFAULT_TOLERANCE` for other datatypes."""
DEFAULT_TOLERANCE = 1e-5
_ALONE = 4


@dataclasses.dataclass(frozen=True)
class Case:
    """Inputs, and what the module answers to them."""

    what: str
    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Eager:
    """The module as plain PyTorch."""

    module: torch.nn.Module
    call: Call

    def answer(self, inputs: Sequence[torch.Tensor]) -> Any:
        """What it answers. It gets copies, so that it may write to them."""
        return self.call(self.module, [tensor.clone() for tensor in inputs])

    def __call__(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return [tensor.detach().clone() for tensor in flatten(self.answer(inputs))[1]]


def first_case(eager: Eager, inputs: list[torch.Tensor]) -> tuple[Any, list[Part], Case]:
    """The module's answer to the example.

    Raises:
        ExportError: it raises, answers otherwise the second time, or with what is not a number.
    """
    try:
        answer = eager.answer(inputs)
        parts, outputs = flatten(answer)
        outputs = [tensor.detach().clone() for tensor in outputs]
        again = eager(inputs)
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"the module raises on example_inputs: {type(error).__name__}: {error}") from error
    words = missing(parts, outputs)
    if words is not None:
        raise ExportError(f"{words} for example_inputs")
    found = mismatch(parts, outputs, again)
    if found is not None:
        raise ExportError(
            f"the module gives another answer to the same inputs: {found}; it keeps state or draws random numbers, "
            "so that nothing can be compared with it"
        )
    return answer, parts, Case("example_inputs", inputs, outputs)


def missing(parts: Sequence[Part], outputs: Sequence[torch.Tensor]) -> Optional[str]:
    """The first output that has NaN, in words."""
    for part, output in zip(parts, outputs):
        if output.is_floating_point() and bool(output.isnan().any()):
            return f"output {part.name!r} has NaN in {int(output.isnan().sum())} of {output.numel()} places"
    return None


def more_cases(eager: Eager, first: Case, dimensions: Dimensions) -> list[Case]:
    """Other inputs: rows alone, other numbers of rows, other sizes, other values.

    Raises:
        ExportError: the module takes no other size of a dimension that varies.
    """
    cases = []
    for row in range(min(dimensions.n_rows or 0, _ALONE)) if dimensions.rows and dimensions.n_rows != 1 else ():
        alone = [tensor[row : row + 1] for tensor in first.inputs]
        cases += _case(eager, f"row {row} of example_inputs alone", alone)[0]
    for seed, name in enumerate(dimensions.sizes):
        cases += _resized(eager, first, dimensions, name, seed)
    for seed in range(2):
        cases += _case(eager, "values of example_inputs in other places", redraw(first.inputs, 100 + seed))[0]
    if any(tensor.is_floating_point() for tensor in first.inputs):
        for factor in (-1.0, 0.0, 30.0):
            cases += _case(eager, f"example_inputs times {factor:g}", scale(first.inputs, factor))[0]
    return cases


def _resized(eager: Eager, first: Case, dimensions: Dimensions, name: str, seed: int) -> list[Case]:
    cases, errors = [], []
    for size in other_sizes(dimensions, name):
        resized = resize(first.inputs, dimensions, {name: size})
        for inputs in (resized, redraw(resized, seed)):
            found, error = _case(eager, f"{name} = {size}", inputs)
            cases += found
            errors += [f"{name} = {size}: {error}"] if error else []
    if errors and not cases:
        fixed = "; fix it with dynamic={...: {0: None}}" if name == dimensions.rows else ""
        raise ExportError(
            f"dimension {name!r} was to vary, but the module takes only {dimensions.sizes[name]} there{fixed}: "
            f"{errors[0]}"
        )
    return cases


def _case(eager: Eager, what: str, inputs: list[torch.Tensor]) -> tuple[list[Case], Optional[str]]:
    """A case, or why there is none: values that were made up may be wrong for the module."""
    try:
        return [Case(what, inputs, eager(inputs))], None
    except Exception as error:
        text = str(error).strip().split("\n")[0]
        return [], f"{type(error).__name__}: {text}"


def own_cases(eager: Eager, what: str, rows: Sequence[list[torch.Tensor]]) -> list[Case]:
    """Cases of inputs that the caller gave.

    Raises:
        ExportError: the module raises on one.
    """
    cases = []
    for place, inputs in enumerate(rows):
        found, error = _case(eager, f"{what}, number {place}", inputs)
        if error:
            raise ExportError(f"the module raises on {what}, number {place}: {error}")
        cases += found
    return cases


def check_outputs(parts: Sequence[Part], cases: Sequence[Case]) -> None:
    """All answers must have as many tensors.

    Raises:
        ExportError: one has not.
    """
    for case in cases:
        if len(case.outputs) != len(parts):
            raise ExportError(
                f"the module returns {len(case.outputs)} tensors for {case.what}, and {len(parts)} for example_inputs; "
                "expected as many always. sconce serves such a module from a file that torch.jit.script made"
            )


def compare(
    parts: Sequence[Part], run: Callable[[Sequence[torch.Tensor]], Any], cases: Sequence[Case]
) -> tuple[Optional[str], float]:
    """Runs TorchScript on all cases. Returns the first that differs, in words, and the largest relative difference."""
    largest = 0.0
    for case in cases:
        try:
            _, outputs = flatten(run([tensor.clone() for tensor in case.inputs]))
        except Exception as error:
            text = str(error).strip().split("\n")[-1]
            return f"it raises for {case.what} of shape {shapes(case.inputs)}: {text}", math.inf
        if len(outputs) != len(case.outputs):
            return f"it returns {len(outputs)} tensors for {case.what}, expected {len(case.outputs)}", math.inf
        found = mismatch(parts, case.outputs, outputs)
        if found is not None:
            return f"for {case.what} of shape {shapes(case.inputs)} {found}", math.inf
        largest = max([largest, *(difference(a, b) for a, b in zip(case.outputs, outputs))])
    return None, largest


def mismatch(parts: Sequence[Part], expected: Sequence[torch.Tensor], got: Sequence[torch.Tensor]) -> Optional[str]:
    """The first output that is another one, in words."""
    if len(expected) != len(got):
        return f"there are {len(got)} tensors, expected {len(expected)}"
    for part, a, b in zip(parts, expected, got):
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"output {part.name!r} is {b.dtype} {list(b.shape)}, expected {a.dtype} {list(a.shape)}"
        apart = difference(a, b)
        if apart > TOLERANCE.get(a.dtype, DEFAULT_TOLERANCE):
            return f"output {part.name!r} is off by {apart:.1e} of its largest number"
    return None


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference of two tensors of one shape and datatype, relative to the first's largest finite number.

    Infinite where one of them is not finite in another place or way.
    """
    if not a.is_floating_point():
        return 0.0 if torch.equal(a, b) else math.inf
    a, b = a.double(), b.double()
    finite = a.isfinite()
    odd_a, odd_b = a[~finite], b[~finite]
    if not torch.equal(finite, b.isfinite()) or not torch.equal(odd_a.isnan(), odd_b.isnan()):
        return math.inf
    if not torch.equal(odd_a[~odd_a.isnan()], odd_b[~odd_b.isnan()]):
        return math.inf
    a, b = a[finite], b[finite]
    if not a.numel():
        return 0.0
    apart, largest = (a - b).abs().max().item(), a.abs().max().item()
    return 0.0 if apart == 0.0 else apart / largest if largest else math.inf


def shapes(tensors: Sequence[torch.Tensor]) -> str:
    """The shapes of tensors, as messages write them."""
    return " and ".join(str(list(tensor.shape)) for tensor in tensors)
