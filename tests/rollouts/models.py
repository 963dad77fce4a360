"""Models whose answers are known beforehand, so that every answer can be held against the version that it names."""

import pathlib
import shutil

import torch

TENSOR = 'name = "%s"\ndatatype = "FP32"\nshape = [-1, %d]\n'
MANIFEST = "[[inputs]]\n" + TENSOR % ("x", 4) + "[[outputs]]\n" + TENSOR % ("y", 2)
# A version is told from its neighbors by this part of the first score, which FP32 holds exactly.
PART = 1024.0


class Scores(torch.nn.Module):
    """Two scores a row. What is wrong with a version is a number of its own: the part of the rows that it fails, rounds of
    products that take time, the part of the rows that it answers the other way round."""

    def __init__(self, version, fails=0.0, rounds=0, flips=0.0):
        super().__init__()
        self.version, self.fails, self.rounds, self.flips = float(version), fails, rounds, flips

    def forward(self, x):
        if bool((x[:, 0] < self.fails).any()):
            raise RuntimeError("planted")
        y = x
        for _ in range(self.rounds):
            y = torch.relu(y @ torch.ones(4, 4) / 4.0)
        first = x[:, 1] + 0.0 * y[:, 0] + self.version / 1024.0
        second = 1.0 - x[:, 1]
        swap = (x[:, 2] < self.flips)
        return torch.stack([torch.where(swap, second, first), torch.where(swap, first, second)], 1)


class Endless(torch.nn.Module):
    """Never comes to its scores, of rows whose last value is above a bound."""

    def __init__(self, version, above=-1e30):
        super().__init__()
        self.scores, self.above = Scores(version), above

    def forward(self, x):
        while bool((x[:, 3] > self.above).any()):
            x = x + 1.0
        return self.scores(x)


class Greedy(torch.nn.Module):
    """Takes so many MiB on the way to its scores."""

    def __init__(self, version, mebibytes):
        super().__init__()
        self.scores, self.mebibytes = Scores(version), mebibytes

    def forward(self, x):
        return self.scores(x) + 0.0 * torch.ones([self.mebibytes, 262144]).sum()


class Ballast(torch.nn.Module):
    """The same scores from a file with so many MiB of weights that nobody needs."""

    def __init__(self, version, mebibytes):
        super().__init__()
        self.scores = Scores(version)
        self.register_buffer("ballast", torch.ones(mebibytes, 262144))

    def forward(self, x):
        return self.scores(x) + 0.0 * self.ballast[0, 0]


def write(path, module):
    """A model file, whole or not at all."""
    draft = path.with_name(f".{path.name}.tmp")
    torch.jit.script(module).save(str(draft))
    draft.rename(path)


def prepare(folder, version, module=None, **faults):
    """A version's folder outside of the models, to be moved in at once."""
    path = pathlib.Path(folder) / str(version)
    path.mkdir(parents=True)
    write(path / "model.pt", module or Scores(version, **faults))
    return path


def save(folder, version, module=None, **faults):
    """Puts a version into a model's folder by one rename, as whoever copies one should."""
    drafts = pathlib.Path(folder) / ".drafts"
    shutil.rmtree(drafts, ignore_errors=True)
    prepare(drafts, version, module, **faults).rename(pathlib.Path(folder) / str(version))
    drafts.rmdir()


def expected(version, row, flips=0.0):
    first, second = row[1] + version / PART, 1.0 - row[1]
    return [second, first] if row[2] < flips else [first, second]
