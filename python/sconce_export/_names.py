"""Names, versions and datatypes as sconce takes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import torch

from ._error import ExportError

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
VERSION = re.compile(r"0|[1-9][0-9]*")
MAX_VERSION = 2**64 - 1

# torch.uint16 and wider are not in every torch.
_UNSIGNED = [(f"uint{bits}", f"UINT{bits}") for bits in (8, 16, 32, 64)]
DATATYPES: dict[torch.dtype, str] = {
    torch.bool: "BOOL",
    torch.int8: "INT8",
    torch.int16: "INT16",
    torch.int32: "INT32",
    torch.int64: "INT64",
    torch.float16: "FP16",
    torch.bfloat16: "BF16",
    torch.float32: "FP32",
    torch.float64: "FP64",
    **{getattr(torch, name): word for name, word in _UNSIGNED if hasattr(torch, name)},
}


def model_name(folder: Path) -> str:
    """The model's name: that of its folder.

    Raises:
        ExportError: sconce would not serve a folder of this name, or it looks like a version's.
    """
    name = folder.name
    if VERSION.fullmatch(name):
        raise ExportError(
            f"folder {str(folder)!r} looks like that of a version, expected the model's own, such as "
            '"models/mine"; the number is given as version'
        )
    if not MODEL_NAME.fullmatch(name):
        raise ExportError(
            f"model name {name!r}: expected a letter or digit, then at most 127 of letters, digits, '.', '_', '-'"
        )
    return name


def tensor_names(what: str, given: Optional[Sequence[str]], found: Sequence[str]) -> list[str]:
    """Names of inputs or outputs: those given, or those found in the module.

    Args:
        what: `"input"` or `"output"`, for messages.
        given: names in order; `None` takes those found.
        found: names that the module has for them, in order.

    Raises:
        ExportError: too few, too many, one twice, or one that sconce does not take.
    """
    if isinstance(given, str):
        given = [given]
    names = list(found if given is None else given)
    if len(names) != len(found):
        raise ExportError(
            f"{what}_names has {len(names)} ({', '.join(map(str, names))}), but the module has {len(found)} {what}s "
            f"({', '.join(found)})"
        )
    for place, name in enumerate(names):
        is_name = isinstance(name, str) and 1 <= len(name) <= 128 and all("!" <= c <= "~" for c in name)
        if not is_name:
            raise ExportError(f"{what} name {name!r}: expected 1 to 128 visible ASCII characters")
        if name in names[:place]:
            raise ExportError(f"{what} name {name!r} is given twice")
    return names


def check_tensor(where: str, value: object) -> torch.Tensor:
    """A tensor that a request can carry, on the CPU.

    Raises:
        ExportError: it is none.
    """
    if not isinstance(value, torch.Tensor):
        raise ExportError(
            f"{where} is {type(value).__name__}, expected a torch.Tensor; wrap the module so that it takes tensors only"
        )
    if value.layout != torch.strided or value.is_quantized or value.is_nested:
        raise ExportError(f"{where} is a sparse, nested or quantized tensor, expected a dense one")
    if value.dtype not in DATATYPES:
        raise ExportError(f"{where} is of {value.dtype}, expected one of {', '.join(DATATYPES.values())}")
    return value.detach().cpu()
