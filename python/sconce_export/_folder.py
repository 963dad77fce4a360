"""The model's folder on disk: which version comes next, and how all files come into their places at once.

Everything is written into a hidden folder, which sconce does not look at, and moved when it is whole and checked: a
server that watches sees no version, or all of it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from ._error import ExportError
from ._names import MAX_VERSION, VERSION

MODEL = "model.pt"
PACKAGE = "model.pt2"
MANIFEST = "model.toml"
SAMPLE = "sample.json"
GOLDEN = "golden.jsonl"
REFERENCE = "reference.json"


def next_version(folder: Path, version: Optional[int]) -> int:
    """The number of the version to write: the one that is asked for, or the one behind the highest that is there.

    Raises:
        ExportError: it is there already, or is no whole number.
    """
    try:
        names = [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        names = []
    except OSError as error:
        raise ExportError(f"folder {folder} cannot be read: {error}") from error
    known = [int(name) for name in names if VERSION.fullmatch(name)]
    free = max([*known, 0]) + 1
    if version is None:
        return free
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version <= MAX_VERSION:
        raise ExportError(f"version is {version!r}, expected a whole number from 0, or None for the next one")
    if version in known:
        raise ExportError(
            f"{folder / str(version)} is there already, and no version is written over; expected a free number, "
            f"such as {free}"
        )
    return version


class Staged:
    """A hidden folder that looks like the model's own: `<version>/…`, model.toml, sample.json."""

    def __init__(self, folder: Path, version: int):
        self.folder = folder
        self.version = version
        self.is_new = not folder.exists()
        place = folder.parent if self.is_new else folder
        self.path = place / f".{folder.name}-{version}-{secrets.token_hex(4)}.tmp"

    @property
    def version_folder(self) -> Path:
        """Where the version's own files are written."""
        return self.path / str(self.version)

    def write(self, name: str, text: str, beside: bool = False) -> None:
        """Writes a file of the version, or one that lies beside its versions."""
        path = (self.path if beside else self.version_folder) / name
        path.write_text(text, encoding="utf-8")

    def commit(self, new: list[str]) -> None:
        """Moves everything into its place, the version last.

        Args:
            new: files beside the versions that were not there.

        Raises:
            ExportError: something came into the way; nothing is left behind.
        """
        for path in self.path.rglob("*"):
            _sync(path)
        try:
            if self.is_new:
                os.rename(self.path, self.folder)
                _sync(self.folder.parent)
                return
        except OSError as error:
            raise ExportError(f"{self.folder} cannot be written: {error}") from error
        placed = []
        try:
            for name in new:
                _place(self.path / name, self.folder / name)
                placed.append(self.folder / name)
            os.rename(self.version_folder, self.folder / str(self.version))
        except OSError as error:
            for path in placed:
                path.unlink()
            raise ExportError(f"{self.folder / str(self.version)} cannot be written: {error}") from error
        _sync(self.folder)


@contextlib.contextmanager
def staged(folder: Path, version: int) -> Iterator[Staged]:
    """A folder to write into, which is gone afterwards, whatever happens.

    Raises:
        ExportError: it cannot be made.
    """
    stage = Staged(folder, version)
    made = [parent for parent in stage.path.parents if not parent.exists()]
    try:
        # Its permissions are the ordinary ones: another user may run the server.
        stage.version_folder.mkdir(parents=True)
        yield stage
    except OSError as error:
        raise ExportError(f"{folder} cannot be written: {error}") from error
    finally:
        shutil.rmtree(stage.path, ignore_errors=True)
        if not folder.exists():
            with contextlib.suppress(OSError):
                for parent in made:
                    parent.rmdir()


def _place(source: Path, target: Path) -> None:
    """Moves a file where none is: a plain move would write over one that came meanwhile."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        # File systems without links.
        with open(target, "xb") as file:
            file.write(source.read_bytes())


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        # Windows opens no folders.
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
