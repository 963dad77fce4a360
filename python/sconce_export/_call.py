"""How named tensors become a call of a module, and its answer a list of named tensors."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Union

import torch

from ._error import ExportError
from ._names import check_tensor

Inputs = Union[torch.Tensor, Sequence[torch.Tensor], Mapping[str, torch.Tensor]]


@dataclasses.dataclass(frozen=True)
class Call:
    """How the tensors of an example reach `forward`."""

    how: str
    """`"positions"`, `"keywords"`, or `"mapping"`: all in one dictionary."""
    keys: tuple[str, ...]
    """What the caller calls each: arguments of `forward`, or keys of the dictionary."""
    arguments: tuple[str, ...]
    """All arguments of `forward`, in order."""

    def __call__(self, module: Any, tensors: Sequence[torch.Tensor]) -> Any:
        if self.how == "positions":
            return module(*tensors)
        named = dict(zip(self.keys, tensors))
        return module(**named) if self.how == "keywords" else module(named)

    def read(self, inputs: Inputs, where: str = "example_inputs") -> list[torch.Tensor]:
        """The tensors of other inputs that are given as the example was.

        Raises:
            ExportError: they are given otherwise, or hold something else.
        """
        if isinstance(inputs, Mapping):
            if self.how == "positions" or set(inputs) != set(self.keys):
                expected = ", ".join(self.keys)
                raise ExportError(f"{where} has {', '.join(map(str, inputs))}, expected {expected} as the example")
            return [check_tensor(f"{where}[{key!r}]", inputs[key]) for key in self.keys]
        if self.how != "positions" and not (isinstance(inputs, torch.Tensor) and len(self.keys) == 1):
            raise ExportError(f"{where} is {type(inputs).__name__}, expected a dictionary as the example")
        values = [inputs] if isinstance(inputs, torch.Tensor) or not isinstance(inputs, (tuple, list)) else list(inputs)
        if len(values) != len(self.keys):
            raise ExportError(f"{where} has {len(values)} tensors, expected {len(self.keys)} as the example")
        if len(values) == 1:
            return [check_tensor(where, values[0])]
        return [check_tensor(f"{where}[{place}]", value) for place, value in enumerate(values)]


def bind(module: torch.nn.Module, example: Inputs) -> tuple[Call, list[torch.Tensor]]:
    """Finds out how an example becomes a call of `module`.

    Raises:
        ExportError: the example holds something that is no tensor, or names that `forward` does not have.
    """
    if isinstance(example, (tuple, list)) and not example or isinstance(example, Mapping) and not example:
        raise ExportError("example_inputs is empty, expected a tensor, a tuple or a dictionary of tensors")
    named, takes_more, takes_any = _arguments(module)
    if not isinstance(example, Mapping):
        n_values = len(example) if isinstance(example, (tuple, list)) else 1
        if n_values > len(named) and not takes_more:
            raise ExportError(
                f"example_inputs has {n_values} tensors, but forward takes {len(named)}: {', '.join(named)}"
            )
        keys = named[:n_values] + [f"input_{place}" for place in range(len(named), n_values)]
        call = Call("positions", tuple(keys), tuple(named))
        return call, call.read(example)
    keys = list(example)
    for key in keys:
        if not isinstance(key, str):
            raise ExportError(f"example_inputs has the key {key!r}, expected names as texts")
    unknown = [key for key in keys if key not in named]
    if not unknown or takes_any:
        how = "keywords"
    elif len(unknown) == len(keys) and named:
        how = "mapping"
    else:
        raise ExportError(f"forward has no argument {unknown[0]!r}, it has {', '.join(named) or 'none'}")
    call = Call(how, tuple(keys), tuple(named))
    return call, call.read(example)


def _arguments(module: torch.nn.Module) -> tuple[list[str], bool, bool]:
    """Arguments of `forward` by name, and whether it takes more by position or by name."""
    if isinstance(module, torch.jit.ScriptModule):
        if not hasattr(module, "forward"):
            raise ExportError("module has no method forward")
        forward: Any = module.forward
        return [argument.name for argument in forward.schema.arguments][1:], False, False
    parameters = inspect.signature(module.forward).parameters.values()
    kinds = [parameter.kind for parameter in parameters]
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [parameter.name for parameter in parameters if parameter.kind not in variable]
    return named, variable[0] in kinds, variable[1] in kinds


@dataclasses.dataclass(frozen=True)
class Part:
    """One tensor of an answer."""

    name: str
    """As sconce would call it: a key, a field, or `output_` and its place."""
    path: str
    """How to get at it, behind the name of the answer: `[0]['logits']`."""


def flatten(answer: Any) -> tuple[list[Part], list[torch.Tensor]]:
    """The tensors of an answer: a tensor, or tuples, lists, dictionaries and data classes of them. `None` is left out.

    Raises:
        ExportError: it holds something else, or nothing.
    """
    parts: list[Part] = []
    tensors: list[torch.Tensor] = []
    _flatten(answer, "", "", parts, tensors)
    if not tensors:
        raise ExportError("the module returns no tensor, expected at least one")
    if len({part.name for part in parts}) < len(parts):
        parts = [Part(f"output_{place}", part.path) for place, part in enumerate(parts)]
    return parts, tensors


def _flatten(value: Any, name: str, path: str, parts: list[Part], tensors: list[torch.Tensor]) -> None:
    if isinstance(value, torch.Tensor):
        name = name or "output"
        check_tensor(f"output {name!r} of the module", value)
        parts.append(Part(name, path))
        tensors.append(value)
        return
    if value is None:
        return
    for key, inner, step in _members(value, name):
        _flatten(inner, f"{name}_{key}" if name else key, path + step, parts, tensors)


def _members(value: Any, name: str) -> list[tuple[str, Any, str]]:
    if isinstance(value, Mapping):
        return [(str(key), inner, f"[{key!r}]") for key, inner in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(field, getattr(value, field), f".{field}") for field in value._fields]
    if isinstance(value, (tuple, list)):
        # `output_` stands in front of the first place only, as sconce has it.
        front = "" if name else "output_"
        return [(f"{front}{place}", inner, f"[{place}]") for place, inner in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value)]
        return [(field, getattr(value, field), f".{field}") for field in fields]
    where = f"output {name!r} of the module" if name else "the module's answer"
    raise ExportError(
        f"{where} is {type(value).__name__}, expected tensors, in tuples, lists, dictionaries or data classes"
    )
