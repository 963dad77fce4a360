"""Writes TorchScript modules as small files that come out the same on every machine.

What belongs here: only how a module becomes a file. torch's own writer adds for each source file
a table of where its lines came from, with the absolute paths of the machine it ran on, an identity
computed from those, and padding; loading needs none of it. So the archive is written again without
them, compressed, with a fixed date and its records in a fixed order.
"""

import io
import pathlib
import zipfile

import torch

# The earliest date that a zip archive can hold.
DATE = (1980, 1, 1, 0, 0, 0)


def save(module: torch.jit.ScriptModule, path: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(repack(to_bytes(module)))


def to_bytes(module: torch.jit.ScriptModule) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    return buffer.getvalue()


def read(archive: bytes, end: str) -> bytes:
    """The record whose name ends so."""
    with zipfile.ZipFile(io.BytesIO(archive)) as records:
        return records.read(next(n for n in records.namelist() if n.endswith(end)))


def repack(archive: bytes, replace: dict[str, bytes] | None = None) -> bytes:
    """`replace` gives records by the end of their name another content, for the broken fixtures."""
    replace = replace or {}
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        for name in sorted(old.namelist()):
            if name.endswith((".debug_pkl", ".data/serialization_id")):
                continue
            data = next((c for end, c in replace.items() if name.endswith(end)), None)
            record = zipfile.ZipInfo(name, DATE)
            record.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(record, old.read(name) if data is None else data, compresslevel=9)
    return out.getvalue()
