"""Ways to turn a module into TorchScript, in the order in which they are worth trying.

A trace is one run, written down: a plain sequence of operators, which is what sconce can prove the most about. It keeps
neither `if` nor `for`, nor the device of an input, so it is the first choice only where the module's own code asks for
none of them; torch says when it does. A script is the code itself.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import keyword
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Optional

import torch

from ._call import Call, Part, flatten
from ._error import ExportError

_TORCH = os.path.dirname(torch.__file__) + os.sep
_MAX_ERROR = 1500


@dataclasses.dataclass(frozen=True)
class Form:
    """A module as TorchScript."""

    kind: str
    """`"traced"`, `"scripted"` or `"given"`."""
    module: torch.jit.ScriptModule
    keywords: Optional[tuple[str, ...]]
    """Names to call it with; `None` calls it by position."""
    doubts: tuple[str, ...] = ()
    """What the trace could not write down."""

    def __call__(self, tensors: Sequence[torch.Tensor]) -> Any:
        if self.keywords is None:
            return self.module(*tensors)
        return self.module(**dict(zip(self.keywords, tensors)))


class Failed(Exception):
    """A way that does not lead there, and why."""


def unwrap(module: Any) -> torch.nn.Module:
    """The module itself, out of what torch.compile and data parallelism put around it.

    Raises:
        ExportError: it is no module.
    """
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and isinstance(module, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
            inner = module.module
        if inner is None:
            break
        module = inner
    if not isinstance(module, torch.nn.Module):
        raise ExportError(f"module is {type(module).__name__}, expected a torch.nn.Module")
    return module


@contextlib.contextmanager
def in_evaluation(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """The module in evaluation mode on the CPU, without gradients; the caller's own stays as it is.

    It is a copy. Where it cannot be copied, as with weights that are computed, it is the module itself, whose modes,
    parameters and buffers are put back.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            own = copy.deepcopy(module).cpu()
        except Exception:
            own = None
        if own is not None:
            _evaluate(own)
            yield own
            return
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        if any(tensor.device.type != "cpu" for tensor in tensors.values()):
            raise ExportError("module cannot be copied, and is not on the CPU; move it there first: module.cpu()")
        kept = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        modes = {inner: inner.training for inner in module.modules()}
        try:
            _evaluate(module)
            yield module
        finally:
            for inner, is_training in modes.items():
                inner.training = is_training
            for name, tensor in tensors.items():
                tensor.data.copy_(kept[name])


def _evaluate(module: torch.nn.Module) -> None:
    # A frozen script has no mode any more.
    if hasattr(module, "training"):
        module.eval()


@contextlib.contextmanager
def _fresh_types() -> Iterator[None]:
    """Has torch compile anew, without warnings, and forget it afterwards.

    torch keeps what it compiled, and what failed half-way spoils later modules like it ("Can't redefine method"):
    neither may we meet the caller's, nor the caller ours.
    """
    recursive: Any = getattr(torch.jit, "_recursive", None)
    store = getattr(recursive, "concrete_type_store", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if store is None:
            yield
            return
        recursive.concrete_type_store = type(store)()
        try:
            yield
        finally:
            recursive.concrete_type_store = store


def save(module: torch.jit.ScriptModule, path: str) -> None:
    """Writes a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(module, path)


def load(path: str) -> torch.jit.ScriptModule:
    """Reads a file, for the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.load(path, map_location="cpu")


def given(module: torch.jit.ScriptModule, call: Call, names: Sequence[str], answer: Any) -> Form:
    """A module that is TorchScript already.

    Raises:
        Failed: its answer cannot be taken apart.
    """
    if _is_direct(call, names, answer):
        return Form("given", module, call.keys)
    return _taken_apart("given", module, call, names, answer)


def trace(module: torch.nn.Module, call: Call, names: Sequence[str], tensors: Sequence[torch.Tensor]) -> Form:
    """One run of the module, written down.

    Raises:
        Failed: torch cannot.
    """
    wrapper = wrapped(module, call, names)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            traced = torch.jit.trace(wrapper, tuple(tensor.clone() for tensor in tensors), check_trace=False)
        except ExportError:
            raise
        except Exception as error:
            raise Failed(_short(error)) from error
    doubts = []
    for warning in caught:
        # torch's own layers check sizes; other sizes are tried anyway.
        if issubclass(warning.category, torch.jit.TracerWarning) and not warning.filename.startswith(_TORCH):
            place = f"{os.path.basename(warning.filename)}:{warning.lineno}: {_sentence(str(warning.message))}"
            if place not in doubts:
                doubts.append(place)
    return Form("traced", traced, None, (*doubts, *_devices(traced)))


def _devices(traced: torch.jit.ScriptModule) -> list[str]:
    """The devices in a trace, where the code may have followed its inputs, as `torch.arange(9, device=x.device)` does.

    A GPU would refuse the CPU's.
    """
    # Nodes live as long as their graph, and this is a copy.
    graph = traced.inlined_graph
    outputs = [node.output() for node in graph.findAllNodes("prim::Constant")]
    devices = {str(it.toIValue()) for it in outputs if it.type().kind() == "DeviceObjType" and it.uses()}
    return [f"the device {device!r}, so that it may fail on a GPU" for device in sorted(devices)]


def script(module: torch.nn.Module, call: Call, names: Sequence[str], answer: Any) -> Form:
    """The module's code, compiled.

    Raises:
        Failed: it has what TorchScript does not know.
    """
    if not _is_direct(call, names, answer):
        return _taken_apart("scripted", module, call, names, answer)
    try:
        with _fresh_types():
            return Form("scripted", torch.jit.script(module), call.keys)
    except Exception as error:
        raise Failed(_short(error)) from error


def _is_direct(call: Call, names: Sequence[str], answer: Any) -> bool:
    """Whether sconce would call the module, and take its answer apart, as this package does."""
    return call.how != "mapping" and tuple(names) == call.keys and _is_plain(answer)


def _taken_apart(kind: str, module: torch.nn.Module, call: Call, names: Sequence[str], answer: Any) -> Form:
    try:
        with _fresh_types():
            return Form(kind, _around(module, call, names, flatten(answer)[0]), None)
    except Exception as error:
        raise Failed(_short(error)) from error


def _around(module: torch.nn.Module, call: Call, names: Sequence[str], parts: Sequence[Part]) -> torch.jit.ScriptModule:
    """A script that calls the module and takes its answer apart."""
    around = torch.jit.script(_Around(module))
    names = _identifiers(names)
    if call.how == "positions":
        arguments = ", ".join(names)
    else:
        pairs = zip(call.keys, names)
        is_mapping = call.how == "mapping"
        arguments = ", ".join(f"{key!r}: {name}" if is_mapping else f"{key}={name}" for key, name in pairs)
        arguments = f"{{{arguments}}}" if is_mapping else arguments
    answers = ", ".join(f"answer{part.path}" for part in parts)
    answers = f"({answers})" if len(parts) > 1 else answers
    around.define(
        f"def forward(self, {', '.join(names)}):\n    answer = self.module({arguments})\n    return {answers}\n"
    )
    return around


class _Around(torch.nn.Module):
    def __init__(self, module: torch.nn.Module):
        super().__init__()
        self.module = module


def wrapped(module: torch.nn.Module, call: Call, names: Sequence[str]) -> torch.nn.Module:
    """The module with tensors of these names as its arguments, and its answer taken apart."""
    # NOTE: An answer of several tensors becomes a plain tuple. Their names stand in model.toml.
    return _wrapper(module, names, lambda inputs: _plain(flatten(call(module, inputs))[1]))


def _wrapper(
    module: torch.nn.Module, names: Sequence[str], answer: Callable[[tuple[torch.Tensor, ...]], Any]
) -> _Around:
    """A module whose `forward` has arguments of these names, which a trace keeps."""
    arguments = "".join(f"{name}, " for name in _identifiers(names))
    scope: dict[str, Any] = {"answer": answer}
    exec(f"def forward(self, {arguments}):\n    return answer(({arguments}))\n", scope)  # names are identifiers
    return type("Traced", (_Around,), {"forward": scope["forward"]})(module)


def _identifiers(names: Sequence[str]) -> list[str]:
    """The names where all of them can be arguments of a function, and others in their places."""
    taken = {"self", "answer"}
    if all(name.isidentifier() and not keyword.iskeyword(name) and name not in taken for name in names):
        return list(names)
    return [f"argument_{place}" for place in range(len(names))]


def _plain(tensors: list[torch.Tensor]) -> Any:
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def _is_plain(answer: Any) -> bool:
    """Whether sconce takes the answer apart as this package does."""
    if isinstance(answer, torch.Tensor):
        return True
    return isinstance(answer, tuple) and len(answer) > 1 and all(isinstance(it, torch.Tensor) for it in answer)


def _short(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text if len(text) <= _MAX_ERROR else text[:_MAX_ERROR] + " …"


def _sentence(text: str) -> str:
    return text.split(". ")[0].split("\n")[0]
