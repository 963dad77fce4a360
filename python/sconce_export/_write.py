"""The files of a version: written into the stage, read back, and tried."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Optional, Union

import torch

from . import _compare, _folder, _manifest, _numbers, _samples, _torchscript
from ._call import Part
from ._compare import Case, Eager
from ._dimensions import Dimensions
from ._error import ExportError
from ._manifest import Manifest
from ._reference import FEW_ROWS, Reference, Targets
from ._torchscript import Form

BATCH = 256
"""Rows that the module is asked for at once."""
_CHECK_SECONDS = 600


def write_model(stage: _folder.Staged, form: Form) -> tuple[Form, str]:
    """Writes model.pt and loads it again; with its SHA-256."""
    path = stage.version_folder / _folder.MODEL
    _torchscript.save(form.module, str(path))
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return Form(form.kind, _torchscript.load(str(path)), form.keywords), digest.hexdigest()


def write_beside(
    stage: _folder.Staged,
    manifest: Manifest,
    inputs: Sequence[torch.Tensor],
    dimensions: Dimensions,
    existing: Any,
    eager: Eager,
    notes: list[str],
) -> list[str]:
    """Writes model.toml and sample.json into the stage; returns those that are new."""
    new = []
    text = manifest.to_toml() if existing is None else existing[0]
    if len(text.encode()) > _manifest.MAX_BYTES:
        raise ExportError(f"model.toml has {len(text.encode())} bytes, expected at most {_manifest.MAX_BYTES}")
    stage.write(_folder.MANIFEST, text, beside=True)
    if existing is None:
        new.append(_folder.MANIFEST)
    names = [spec.name for spec in manifest.inputs]
    path = stage.folder / _folder.SAMPLE
    kept = path.read_text(encoding="utf-8-sig") if path.exists() else None
    sample = _samples.sample(manifest, inputs, dimensions) if kept is None else kept
    if sample is None:
        notes.append("no sample.json: the example is not finite, or too large for 1 MiB")
        return new
    where = str(path) if kept is not None else _folder.SAMPLE
    tensors = _numbers.read_request(sample, names, inputs, where)
    try:
        eager(tensors)
    except Exception as error:
        raise ExportError(f"{where}: the module raises on it: {error}") from error
    stage.write(_folder.SAMPLE, sample, beside=True)
    if kept is None:
        new.append(_folder.SAMPLE)
    else:
        notes.append("sample.json was there already and is kept")
    return new


def check_golden(
    made: _samples.Golden,
    parts: Sequence[Part],
    names: Sequence[str],
    like: Sequence[torch.Tensor],
    eager: Eager,
    written: tuple[str, Callable[[Sequence[torch.Tensor]], Any]],
) -> None:
    """Reads the requests as they are written, and asks the file and the module for them."""
    file, form = written
    cases = []
    for place, body in enumerate(_samples.requests(made.text)):
        tensors = _numbers.read_request(body, names, like, f"golden.jsonl:{place + 1}")
        cases.append(Case(f"golden.jsonl:{place + 1}", tensors, eager(tensors)))
    problem, _ = _compare.compare(parts, form, cases)
    if problem is not None:
        raise ExportError(f"{file} answers otherwise than the module: {problem}")


def write_reference(
    stage: _folder.Staged,
    manifest: Manifest,
    eager: Eager,
    batches: Iterable[list[torch.Tensor]],
    known: tuple[Optional[Sequence[str]], Optional[Targets]],
    sha256: str,
    notes: list[str],
) -> int:
    reference = Reference(manifest, *known)
    for batch in batches:
        for start in range(0, batch[0].shape[0], BATCH):
            part = [tensor[start : start + BATCH] for tensor in batch]
            reference.add(part, _rows_of(eager(part)[0], part) if reference.needs_answers else None)
    stage.write(_folder.REFERENCE, reference.to_json(sha256))
    if reference.n_rows < FEW_ROWS:
        notes.append(
            f"reference.json has {reference.n_rows} rows: with fewer than {FEW_ROWS} small changes will not be seen"
        )
    return reference.n_rows


def _rows_of(output: torch.Tensor, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
    # What `squeeze()` takes away from a single row.
    is_squeezed = inputs[0].shape[0] == 1 and (output.dim() == 0 or output.shape[0] != 1)
    return output[None] if is_squeezed else output


def check(program: Union[str, Path], name: str, stage: _folder.Staged, trust: str) -> str:
    """What `sconce check` says of the folder.

    Raises:
        ExportError: it does not serve it, or the program does not run.
    """
    command = [
        str(program),
        "check",
        "--model",
        f"{name}={stage.path.resolve()}",
        "--models",
        str(stage.path.resolve()),
        "--log-level",
        "error",
    ]
    try:
        with tempfile.TemporaryDirectory() as state:
            command += ["--set", f"state_dir={state}"]
            if trust:
                command += ["--set", f'trusted_models=["{trust}"]']
            run = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_CHECK_SECONDS,
                env=_environment(),
            )
    except (OSError, subprocess.SubprocessError) as error:
        raise ExportError(f"program {str(program)!r} cannot check the model: {error}") from error
    if run.returncode != 0:
        raise ExportError(f"sconce does not serve the model:\n{run.stdout.strip()}")
    return "\n".join(line for line in run.stdout.splitlines() if line.startswith(f"{name}/"))


def _environment() -> dict[str, str]:
    # sconce refuses variables of its prefix that it does not know, and tests name the program by one.
    return {name: value for name, value in os.environ.items() if name != "SCONCE_PROGRAM"}
