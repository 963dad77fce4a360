"""What was written, and what sconce will do with it, in words."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ._manifest import Spec


@dataclasses.dataclass(frozen=True)
class Exported:
    """A version of a model that was written. As a text it is a report of some lines."""

    model: str
    """The model's name: that of its folder."""
    version: int
    folder: Path
    """The version's own folder."""
    form: str
    """`"traced"`, `"scripted"` or `"given"`: how the module became TorchScript; `"compiled"` where it did not."""
    reason: str
    """Why it was taken."""
    inputs: list[Spec]
    outputs: list[Spec]
    has_rows: bool
    """Whether answers come in rows: every output has one for each row of the inputs."""
    is_apart: bool
    """Whether a row got the same answer alone and among others."""
    n_cases: int
    """Inputs for which the file and the module were compared."""
    largest_difference: float
    """The largest difference of their answers, relative to the largest number of the output."""
    labels: str
    """How many labels, and what makes scores of the output; empty without labels."""
    n_golden: int
    n_reference: int
    """Rows of reference.json; 0 without one."""
    files: list[Path]
    """What was written."""
    checked: str
    """What `sconce check` said; empty where it was not asked."""
    trust: str
    """What `trusted_models` of the server has to list before it loads model.pt2; empty without one."""
    notes: list[str]
    """What else is worth knowing."""

    def __str__(self) -> str:
        lines = [
            f"{self.model}/{self.version} in {self.folder}",
            f"form       {self.form}: {self.reason}",
            *_listed("inputs", self.inputs),
            *_listed("outputs", self.outputs),
            f"compared   {self.n_cases} inputs with the module, largest difference {self.largest_difference:.1e}",
            f"answers    {'in rows' if self.has_rows else 'whole tensors by name, as outputs'}",
            f"runs       {self._runs()}",
        ]
        if self.labels:
            lines.append(f"labels     {self.labels}")
        if self.n_golden:
            lines.append(f"golden     {self.n_golden} requests: a copy that answers otherwise gets no traffic")
        if self.n_reference:
            lines.append(f"reference  {self.n_reference} rows: requests are watched beside them")
        if self.trust:
            lines.append(f'trust      model.pt2 is native code: add "{self.trust}" to trusted_models')
        lines += [f"check      {line}" for line in self.checked.splitlines()]
        lines += [f"note       {note}" for note in self.notes]
        if any(path.name == "sample.json" for path in self.files):
            sample = self.folder.parent / "sample.json"
            lines.append(f"try        curl -d @{sample} localhost:8080/predict/{self.model}")
        return "\n".join(lines)

    def _runs(self) -> str:
        if self.is_apart and self.has_rows:
            return "rows were the same alone and among others: requests may share runs, if sconce finds so too"
        return "requests run alone: " + (
            "rows differ alone and among others" if self.has_rows else "answers have no rows"
        )


def _listed(what: str, specs: list[Spec]) -> list[str]:
    first = [what, *[""] * max(0, len(specs) - 1)]
    return [f"{word:<10} {spec}" for word, spec in zip(first, specs)]
