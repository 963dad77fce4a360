"""A module as a package of AOTInductor: code for the processor, compiled here and loaded there without a compiler.

What is compiled checks nothing that it is given. So the exported program travels along, as `extra/model.json`: sconce
reads in it which datatypes and sizes the code takes, and lets nothing else reach it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Callable

import torch
from torch import nn

from . import _dimensions, _torchscript
from ._call import Call
from ._dimensions import Dimensions
from ._error import ExportError

_NAME = "model"
"""What the compiled model is called inside the package, and its program."""
_OPTIONS = {
    "aot_inductor.package": True,
    # From a file of their own, weights are copied to where they are used, and it is let go; in the library they stay.
    "aot_inductor.package_constants_in_so": False,
    "aot_inductor.package_constants_on_disk_format": "binary_blob",
}
_MARCH = "x86-64-v3"
"""For every x86-64 processor with AVX2, and not for the one of this machine alone."""


@dataclasses.dataclass(frozen=True)
class Package:
    """A package that was written, loaded again."""

    path: Path
    sha256: str
    run: Callable[..., Any]

    def __call__(self, tensors: Sequence[torch.Tensor]) -> Any:
        # It reads memory as if rows lay one after the other, whether they do or not.
        answer = self.run(*[tensor.contiguous() for tensor in tensors])
        return tuple(answer) if isinstance(answer, list) else answer


def write(
    path: Path,
    module: torch.nn.Module,
    call: Call,
    names: Sequence[str],
    inputs: Sequence[torch.Tensor],
    dimensions: Dimensions,
) -> Package:
    """Compiles a module and writes the package.

    Raises:
        ExportError: torch cannot export or compile it, or is too old.
    """
    export, compile_it, package, serialize = _tools()
    wrapper = _torchscript.wrapped(module, call, names)
    example = tuple(tensor.contiguous() for tensor in _exemplary(inputs, dimensions))
    try:
        with _quiet(), _one_thread():
            program = export(wrapper, example, dynamic_shapes=_dynamic_shapes(dimensions))
            text = serialize(program).exported_program.decode()
            files = compile_it(program.module(), example, options={**_options(module), **_target()})
            package(str(path), aoti_files={_NAME: files}, extra_files={f"{_NAME}.json": json.dumps(json.loads(text))})
            run = torch._inductor.aoti_load_package(str(path))
    except Exception as error:
        text = str(error).strip().split("\n")[0] or type(error).__name__
        raise ExportError(f'the module cannot be compiled for formats="pt2": {text}') from error
    return Package(path, hashlib.sha256(path.read_bytes()).hexdigest(), run)


def _tools() -> tuple[Any, Any, Any, Any]:
    try:
        from torch._export.serde.serialize import serialize
        from torch._inductor import aot_compile
        from torch.export import export
        from torch.export.pt2_archive._package import package_pt2
    except ImportError as error:
        raise ExportError(f'formats="pt2" needs a newer torch than {torch.__version__}: {error}') from error
    return export, aot_compile, package_pt2, serialize


def _options(module: nn.Module) -> dict[str, Any]:
    # torch puts a single number into the code, and cannot load a file of weights without any.
    has_weights = any(it.numel() > 1 for it in (*module.parameters(), *module.buffers()))
    return _OPTIONS if has_weights else {"aot_inductor.package": True}


def _target() -> dict[str, Any]:
    import platform

    return {"cpp.march": _MARCH} if platform.machine() in ("x86_64", "AMD64") else {}


def _exemplary(inputs: Sequence[torch.Tensor], dimensions: Dimensions) -> list[torch.Tensor]:
    """The example with two at least of what varies: torch takes a size of one for one that is always one."""
    sizes = {}
    for name, size in dimensions.sizes.items():
        least, most = dimensions.bounds.get(name, (1, size + 2))
        sizes[name] = min(max(2, size, least), most)
    return _dimensions.resize(inputs, dimensions, sizes)


def _dynamic_shapes(dimensions: Dimensions) -> Any:
    made = {}
    for name in dimensions.sizes:
        least, most = dimensions.bounds.get(name, (1, _dimensions.UNBOUNDED))
        # torch wants identifiers.
        word = "".join(letter if letter.isalnum() else "_" for letter in f"d_{name}")
        bound = {} if most >= _dimensions.UNBOUNDED else {"max": most}
        made[name] = torch.export.Dim(word, min=least, **bound)
    return tuple(
        {axis: made[name] for axis, name in enumerate(axes) if name is not None} for axes in dimensions.names
    )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """No threads in what is compiled: instances run beside each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
