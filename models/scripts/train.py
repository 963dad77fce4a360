#!/usr/bin/env python3
"""Trains the example models and writes them with their samples and held-out rows.

Run by `make train`. Seeds are fixed and one thread computes, so that a second run on the same
kind of processor writes the same files.
"""

import csv
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "models" / "scripts")]

import torch  # noqa: E402
from torch import nn  # noqa: E402

import dataset  # noqa: E402
import torchscript  # noqa: E402
import wheels  # noqa: E402


class BreastCancer(nn.Module):
    """30 raw features to the probability that the sample is benign; the scaler is inside."""

    def __init__(self, mean: torch.Tensor, scale: torch.Tensor):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.layers = nn.Sequential(
            nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.layers((features - self.mean) / self.scale))


class Digits(nn.Module):
    """784 pixels between 0 (paper) and 1 (ink) to one logit for each digit."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        # The mean and the deviation of MNIST's training pixels.
        return self.layers((pixels - 0.1307) / 0.3081)


def train_breast_cancer() -> tuple[int, int]:
    torch.manual_seed(0)
    rows, labels = dataset.breast_cancer()
    order = torch.randperm(len(rows))
    train, held_out = order[:426], order[426:]
    deviation, mean = torch.std_mean(rows[train], dim=0, correction=0)
    model = BreastCancer(mean.float(), deviation.float())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-3)
    features, wanted = rows[train].float(), labels[train].float().unsqueeze(1)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy(model(features), wanted).backward()
        optimizer.step()

    names = ["malignant", "benign"]
    known = (rows[train].tolist(), [names[k] for k in labels[train]])
    # JSON carries the features as they are written in the data, not as float32 rounds them.
    outcome = write("breast_cancer", model, rows[held_out].tolist(), [names[k] for k in labels[held_out]])
    reference("breast_cancer", dataset.BREAST_CANCER, *known)
    return outcome


def train_digits() -> tuple[int, int]:
    torch.manual_seed(0)
    pixels, labels = dataset.mnist("train")
    model = Digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    images = pixels.float() / 255
    for _ in range(5):
        for batch in torch.randperm(len(images)).split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    known = ([[round(k / 255, 4) for k in row] for row in pixels[:10_000].tolist()], labels[:10_000].tolist())

    pixels, labels = dataset.mnist("t10k")
    with torch.inference_mode():
        right = (model(pixels.float() / 255).argmax(1) == labels).sum().item()
    print(f"digits: {right} of {len(labels)} rows of the whole test set right ({right / len(labels):.4f})")
    # Rows from everywhere: the first half of the test set is known to be the easier one.
    rows = [[round(k / 255, PIXEL_DIGITS) for k in row] for row in pixels[::STEP].tolist()]
    write("digits", model, rows, [str(k) for k in labels[::STEP].tolist()])
    reference("digits", [f"pixel {k}" for k in range(784)], *known)
    return right, len(labels)


# One test row in STEP, written with so many digits, keeps the committed file under 1 MB. The
# reference is computed on what is written, so nothing is lost to the rounding.
STEP, PIXEL_DIGITS = 21, 2


def write(name: str, model: nn.Module, rows: list[list[float]], labels: list[str]) -> tuple[int, int]:
    """Writes model, sample and held-out rows; returns how many of the rows it gets right, of how many."""
    folder = ROOT / "models" / name
    scripted = torch.jit.script(model.eval())
    torchscript.save(scripted, folder / "1" / "model.pt")

    loaded = torch.jit.load(folder / "1" / "model.pt")
    with torch.inference_mode():
        # One row at a time, in plain PyTorch: what a batch of several must agree with.
        reference = [model(torch.tensor([row])).squeeze(0) for row in rows]
        difference = (loaded(torch.tensor(rows)) - torch.stack(reference)).abs().max().item()
    if difference > 1e-5 * torch.stack(reference).abs().max().item():
        raise wheels.Failure(f"{name}: the saved model differs from the trained one by {difference}")

    text = (ROOT / "models" / name / "model.toml").read_text()
    known = json.loads(text.split("labels = ", 1)[1].split("\n", 1)[0])
    answers = [known[r.argmax() if len(r) > 1 else int(r.item() >= 0.5)] for r in reference]
    right = sum(a == b for a, b in zip(answers, labels))
    print(f"{name}: {right} of {len(rows)} held-out rows right ({right / len(rows):.4f})")

    dump(folder / "sample.json", {"features": [int(v) if v == int(v) else v for v in rows[0]]})
    held_out = ROOT / "tests" / "fixtures" / "held_out" / f"{name}.json"
    instances = [[int(v) if v == int(v) else v for v in row] for row in rows]
    # Nine digits are enough to tell any two float32 apart.
    written = [[float(f"{v:.9g}") for v in r.tolist()] for r in reference]
    dump(held_out, {"instances": instances, "labels": labels, "reference": written})
    return right, len(rows)


def reference(name: str, columns: list[str], rows: list[list[float]], labels: list) -> None:
    """Writes what rows of the training data look like, as the program sees them."""
    with tempfile.NamedTemporaryFile("w", suffix=".csv", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "label"])
        writer.writerows([*row, label] for row, label in zip(rows, labels))
        file.flush()
        command = ["cargo", "run", "--release", "--locked", "--quiet", "--", "reference", name, "--data", file.name]
        made = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    (ROOT / "models" / name / "1" / "reference.json").write_text(made.stdout)


def dump(path: pathlib.Path, document: dict) -> None:
    """Compact, a line for each row, so that a difference can be read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, separators=(",", ":"))
    path.write_text(text.replace("],[", "],\n[").replace("]],", "]],\n") + "\n")


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    results = {"breast_cancer": train_breast_cancer(), "digits": train_digits()}
    for name, (right, total) in results.items():
        accuracy = f"{name}: {right} of {total} held-out rows right ({right / total:.4f})"
        readme = (ROOT / "models" / "README.md").read_text()
        if f"{right} of {total}" not in readme:
            raise wheels.Failure(f"models/README.md does not say: {accuracy}")


wheels.run(main)
