"""Which TorchScript is taken of a module, and whether its rows are apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import torch

from . import _compare, _dimensions, _torchscript
from ._call import Call, Part
from ._compare import Case, Eager
from ._dimensions import Dimensions
from ._error import ExportError
from ._torchscript import Form


def choose(
    own: torch.nn.Module,
    call: Call,
    names: Sequence[str],
    answer: Any,
    parts: Sequence[Part],
    inputs: Sequence[torch.Tensor],
    cases: Sequence[Case],
    method: str,
) -> tuple[Form, str, list[str]]:
    """The first form that answers all cases as the module does, why, and what is doubtful about it."""
    failed: dict[str, str] = {}

    def attempt(kind: str, make: Any) -> Optional[Form]:
        try:
            form = make()
        except _torchscript.Failed as error:
            failed[kind] = str(error)
            return None
        problem, _ = _compare.compare(parts, form, cases)
        if problem is not None:
            failed[kind] = problem
            return None
        return form

    if isinstance(own, torch.jit.ScriptModule):
        form = attempt("given", lambda: _torchscript.given(own, call, names, answer))
        if form is None:
            raise ExportError(f"module is TorchScript already, and cannot be served as it is: {failed['given']}")
        return form, "the module was TorchScript already", []

    traced: Optional[Form] = None
    if method != "script":
        try:
            made = _torchscript.trace(own, call, names, inputs)
        except _torchscript.Failed as error:
            failed["traced"] = str(error)
        else:
            traced = attempt("traced", lambda: made)
            if traced is not None and not traced.doubts:
                return (
                    traced,
                    "its own code asks nothing of values, sizes or devices, and the trace agrees on all other inputs",
                    [],
                )
    if method != "trace":
        scripted = attempt("scripted", lambda: _torchscript.script(own, call, names, answer))
        if scripted is not None:
            why = "it was asked for"
            if traced is not None:
                why = f"a trace would freeze what its code asks for: {traced.doubts[0]}"
            elif "traced" in failed:
                why = f"a trace of it is another model: {failed['traced']}"
            return scripted, why, []
    if traced is not None:
        doubts = [f"the trace agreed on all inputs that were tried, but it freezes {doubt}" for doubt in traced.doubts]
        why = (
            "it was asked for"
            if method == "trace"
            else f"its code cannot be scripted: {failed['scripted'].splitlines()[0]}"
        )
        return traced, why, doubts
    words = [f"{kind}: {problem}" for kind, problem in failed.items()]
    raise ExportError("the module cannot be made TorchScript with the same answers.\n" + "\n".join(words))


def is_apart(eager: Eager, parts: Sequence[Part], first: Case, dimensions: Dimensions) -> bool:
    """Whether rows have the same answers alone and among others."""
    if dimensions.rows is None:
        return False
    inputs = first.inputs
    if dimensions.n_rows == 1:
        inputs = _dimensions.redraw(_dimensions.resize(inputs, dimensions, {dimensions.rows: 3}), 7)
    try:
        together = eager(inputs)
        for row in range(min(inputs[0].shape[0], 4)):
            alone = eager([tensor[row : row + 1] for tensor in inputs])
            for part, a, b in zip(parts, together, alone):
                if a.dim() == 0 or a.shape[0] != inputs[0].shape[0]:
                    return False
                b = b[None] if b.dim() == a.dim() - 1 else b
                if _compare.mismatch([part], [a[row : row + 1]], [b]) is not None:
                    return False
    except Exception:
        # Values that were made up may be wrong for the module.
        return False
    return True
