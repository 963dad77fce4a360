"""sample.json and golden.jsonl: requests, and what plain PyTorch answers to them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Optional

import torch

from . import _numbers
from ._compare import Eager
from ._dimensions import Dimensions, redraw
from ._manifest import Manifest

MAX_SAMPLE_BYTES = 1 << 20
MAX_REQUESTS = 10_000
GOLDEN_BYTES = 4 << 20
"""No more rows are written beyond this; sconce reads 64 MiB."""
MAX_VALUES = 2_000_000


@dataclasses.dataclass(frozen=True)
class Golden:
    """The text of golden.jsonl."""

    text: str
    n_requests: int


def sample(manifest: Manifest, inputs: Sequence[torch.Tensor], dimensions: Dimensions) -> Optional[str]:
    """A body with one row of the example, or all of it where there are no rows; `None` where it would be too large.

    Large ones have fewer digits. Where there are ids or lengths, it has two rows: sconce can make up other floats for
    its probes, and has to believe a second row of the rest.
    """
    names = [spec.name for spec in manifest.inputs]
    if dimensions.rows is not None:
        n_rows = 1 if all(tensor.is_floating_point() for tensor in inputs) else 2
        inputs = [tensor[:n_rows] for tensor in inputs]
    if not all(_is_finite(tensor) for tensor in inputs):
        return None
    for digits in (None, 4, 2, 1):
        body = _numbers.request(names, inputs, dimensions.n_rows is not None, digits) + "\n"
        if len(body) <= MAX_SAMPLE_BYTES:
            return body
    return None


def golden(
    manifest: Manifest,
    eager: Eager,
    n_requests: int,
    sources: Sequence[Sequence[torch.Tensor]],
    dimensions: Dimensions,
    is_apart: bool,
) -> Golden:
    """So many requests and their answers: of the rows of `sources`, then of the first with values in other places.

    Args:
        n_requests: at most; fewer where the file would be large.
        sources: inputs, whose rows are taken in turn.
        is_apart: whether a row's answer is the same alone and among others, so that rows may stand in one request.
    """
    lines: list[str] = []
    size, kept = 0, []
    if not manifest.outputs:
        # Their places in an answer are not known.
        return Golden("", 0)
    for inputs in _each(sources, dimensions, n_requests):
        if len(lines) == n_requests:
            break
        line = _line(manifest, eager, inputs, dimensions)
        if line is None or line in lines:
            continue
        size += len(line)
        if lines and size > GOLDEN_BYTES:
            break
        lines.append(line)
        kept.append(inputs)
    # The last one asks for two rows at once.
    if len(kept) > 2 and is_apart and manifest.has_rows and _same_sizes(kept[0], kept[1]):
        together = [torch.cat([a, b]) for a, b in zip(kept[0], kept[1])]
        line = _line(manifest, eager, together, dimensions)
        lines[-1] = line if line is not None else lines[-1]
    return Golden("".join(lines), len(lines))


def _each(sources: Sequence[Sequence[torch.Tensor]], dimensions: Dimensions, n: int) -> Iterator[list[torch.Tensor]]:
    for inputs in sources:
        if dimensions.rows is None:
            yield list(inputs)
            continue
        n_rows = inputs[0].shape[0]
        for nth in range(min(n, n_rows)):
            # Evenly spread.
            row = nth * n_rows // min(n, n_rows)
            yield [tensor[row : row + 1] for tensor in inputs]
    for seed in range(2 * n):
        inputs = [tensor[:1] if dimensions.rows is not None else tensor for tensor in sources[0]]
        yield redraw(inputs, 1000 + seed)


def _line(manifest: Manifest, eager: Eager, inputs: Sequence[torch.Tensor], dimensions: Dimensions) -> Optional[str]:
    if not all(_is_finite(tensor) for tensor in inputs):
        return None
    try:
        outputs = eager(inputs)
    except Exception:
        # Values that were made up are wrong for the module. Those of the caller were tried before.
        return None
    if not all(_is_finite(tensor) for tensor in outputs) or sum(tensor.numel() for tensor in outputs) > MAX_VALUES:
        return None
    has_rows = dimensions.n_rows is not None
    if has_rows and inputs[0].shape[0] == 1 and manifest.has_rows:
        outputs = [
            tensor[None] if tensor.dim() == len(spec.shape) - 1 else tensor
            for tensor, spec in zip(outputs, manifest.outputs)
        ]
    request = _numbers.request([spec.name for spec in manifest.inputs], inputs, has_rows)
    names = [spec.name for spec in manifest.outputs]
    is_one = request.startswith('{"features"')
    expected = _numbers.answer(names, outputs, is_one, manifest.has_rows)
    return f'{{"request": {request}, "expected": {expected}}}\n'


def requests(text: str) -> list[str]:
    """The bodies in a golden.jsonl."""
    return [json.dumps(json.loads(line)["request"]) for line in text.splitlines()]


def _same_sizes(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> bool:
    return all(x.shape == y.shape for x, y in zip(a, b))


def _is_finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())
