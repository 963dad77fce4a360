"""Which dimensions vary, and inputs of other sizes and values to try a module with."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import torch

from ._error import ExportError

ROWS = "rows"
"""The dimension that counts rows, where nobody gives it another name."""
UNBOUNDED = 1 << 62


@dataclasses.dataclass(frozen=True)
class Dimensions:
    """The dimensions of all inputs: each has a name where it varies, and `None` where it is fixed."""

    names: tuple[tuple[Optional[str], ...], ...]
    sizes: dict[str, int]
    """What the example has of each that varies."""
    bounds: dict[str, tuple[int, int]]
    """The least and the largest that the caller allows."""
    rows: Optional[str]
    """The name of the first dimension of all inputs, where they share it and it varies."""
    n_rows: Optional[int]
    """Rows of the example, where the inputs share them."""

    def shape(self, place: int, sizes: Sequence[int]) -> list[int]:
        """The shape of an input as model.toml has it: -1 where it varies."""
        return [-1 if name else size for name, size in zip(self.names[place], sizes)]


def read(dynamic: Any, keys: Sequence[str], names: Sequence[str], tensors: Sequence[torch.Tensor]) -> Dimensions:
    """Reads `dynamic`, written as `dynamic_shapes` of torch.export: the dimensions that vary, each with a name.

    The first dimension counts rows and varies unless `dynamic` says `None` of it.

    Raises:
        ExportError: an input or a dimension that is not there, one name for two sizes, an input without dimensions.
    """
    asked = _by_input(dynamic, keys, names)
    all_names: list[list[Optional[str]]] = []
    bounds: dict[str, tuple[int, int]] = {}
    untold: list[int] = []
    for place, (name, tensor) in enumerate(zip(names, tensors)):
        if tensor.dim() == 0:
            raise ExportError(f"input {name!r} has shape [], expected a first dimension that counts rows")
        if 0 in tensor.shape:
            raise ExportError(f"input {name!r} has shape {list(tensor.shape)}, expected at least one of everything")
        axes: list[Optional[str]] = [None] * tensor.dim()
        told = _axes(asked[place], name, tensor.dim())
        for axis, spec in told.items():
            axes[axis] = _name(spec, f"{name}_{axis}", f"dynamic[{name!r}][{axis}]", bounds)
        if 0 not in told:
            untold.append(place)
        all_names.append(axes)
    share = len({tensor.shape[0] for tensor in tensors}) == 1
    firsts = {all_names[place][0] for place in range(len(names)) if place not in untold}
    for place in untold:
        # What is said of one input's rows holds for the rows of the others.
        all_names[place][0] = next(iter(firsts)) if share and len(firsts) == 1 else ROWS if share else None
    sizes: dict[str, int] = {}
    for name, axes, tensor in zip(names, all_names, tensors):
        for axis, dimension in enumerate(axes):
            size = tensor.shape[axis]
            if dimension is not None and sizes.setdefault(dimension, size) != size:
                raise ExportError(
                    f"dimension {dimension!r} has size {size} in input {name!r}, and {sizes[dimension]} in another one"
                )
    share = share and len({axes[0] for axes in all_names}) == 1
    return Dimensions(
        names=tuple(tuple(axes) for axes in all_names),
        sizes=sizes,
        bounds=bounds,
        rows=all_names[0][0] if share else None,
        n_rows=tensors[0].shape[0] if share else None,
    )


def _by_input(dynamic: Any, keys: Sequence[str], names: Sequence[str]) -> list[Any]:
    if dynamic is None:
        return [None] * len(names)
    if isinstance(dynamic, Mapping):
        if len(names) == 1 and dynamic and all(isinstance(key, int) for key in dynamic):
            return [dynamic]
        for key in dynamic:
            if key not in names and key not in keys:
                raise ExportError(f"dynamic names the input {key!r}, but the inputs are {', '.join(names)}")
        return [dynamic.get(name, dynamic.get(key)) for name, key in zip(names, keys)]
    if isinstance(dynamic, (tuple, list)):
        if len(dynamic) != len(names):
            raise ExportError(f"dynamic has {len(dynamic)} entries, expected one for each input: {', '.join(names)}")
        return list(dynamic)
    raise ExportError(
        f'dynamic is {type(dynamic).__name__}, expected a dictionary such as {{"{names[0]}": {{1: "length"}}}}'
    )


def _axes(asked: Any, name: str, rank: int) -> dict[int, Any]:
    if asked is None:
        return {}
    if isinstance(asked, (tuple, list)):
        asked = dict(enumerate(asked))
    if not isinstance(asked, Mapping):
        raise ExportError(f'dynamic[{name!r}] is {type(asked).__name__}, expected a dictionary such as {{1: "length"}}')
    told = {}
    for axis, spec in asked.items():
        if isinstance(axis, bool) or not isinstance(axis, int) or not -rank <= axis < rank:
            raise ExportError(f"dynamic[{name!r}] names dimension {axis!r}, but the input has {rank}, from 0")
        told[axis % rank] = spec
    return told


def _name(spec: Any, default: str, where: str, bounds: dict[str, tuple[int, int]]) -> Optional[str]:
    """The name of a dimension: a text, a `torch.export.Dim`, or `Dim.AUTO`. `None`, `Dim.STATIC` or a size fix it."""
    if spec is None or (isinstance(spec, int) and not isinstance(spec, bool)):
        return None
    if isinstance(spec, str) and spec:
        return spec
    hint = getattr(spec, "type", spec)
    if isinstance(hint, enum.Enum):
        return None if hint.name == "STATIC" else default
    name = getattr(spec, "__name__", None)
    if isinstance(name, str) and hasattr(spec, "max"):
        bounds[name] = (max(1, int(spec.min)), _bound(spec.max))
        return name
    raise ExportError(f"{where} is {spec!r}, expected a name, a torch.export.Dim or None")


def _bound(most: Any) -> int:
    try:
        return int(most)
    except (OverflowError, TypeError, ValueError, AttributeError):
        # Without a bound it is a symbol of sympy's.
        return UNBOUNDED


def resize(tensors: Sequence[torch.Tensor], dimensions: Dimensions, sizes: Mapping[str, int]) -> list[torch.Tensor]:
    """The tensors in other sizes: longer ones begin again at their beginning."""
    resized = []
    for tensor, axes in zip(tensors, dimensions.names):
        for axis, name in enumerate(axes):
            if name is not None and sizes.get(name, tensor.shape[axis]) != tensor.shape[axis]:
                tensor = tensor.index_select(axis, torch.arange(sizes[name]) % tensor.shape[axis])
        resized.append(tensor)
    return resized


def redraw(tensors: Sequence[torch.Tensor], seed: int) -> list[torch.Tensor]:
    """Each element replaced by one of the same tensor, drawn at random: ids stay ids, and masks stay masks."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for tensor in tensors:
        flat = tensor.reshape(-1)
        places = torch.randint(len(flat), (len(flat),), generator=generator)
        drawn.append(flat[places].reshape(tensor.shape))
    return drawn


def scale(tensors: Sequence[torch.Tensor], factor: float) -> list[torch.Tensor]:
    """Floating-point numbers times a factor; the others as they are."""
    return [tensor * factor if tensor.is_floating_point() else tensor for tensor in tensors]


def other_sizes(dimensions: Dimensions, name: str) -> list[int]:
    """Sizes to try a dimension in, beside the example's."""
    size = dimensions.sizes[name]
    least, most = dimensions.bounds.get(name, (1, UNBOUNDED))
    candidates = [1, 2, 3, 5] if name == dimensions.rows else [size + 1, 2 * size + 3, max(1, size // 2), 1]
    kept: list[int] = []
    for candidate in candidates:
        if candidate != size and least <= candidate <= most and candidate not in kept:
            kept.append(candidate)
    return kept
