#!/usr/bin/env python3
"""Makes the models that are benchmarked, their requests, and plain PyTorch's answers to them.

Needs the Python of scripts/python-env. Everything goes into the cache, outside the checkout, and is
made once: a folder of models for the server, one of variants (the same files with other settings),
and for each model a folder of rows, request bodies (JSON and raw bytes) and reference answers. All
weights but those of `digits` are random under a fixed seed: speed does not depend on them.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import wheels  # noqa: E402

FOLDER = wheels.cache_folder() / "bench"
SHORTEST, LONGEST = 8, 128
MAX_SAMPLE_BYTES = 1 << 20


class Tabular(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.layers(features)


class Attention(nn.Module):
    def __init__(self, hidden: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(hidden, hidden) for _ in range(4))

    def split(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(x.size(0), x.size(1), self.heads, -1).transpose(1, 2)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.out(attended.transpose(1, 2).reshape(x.size(0), x.size(1), -1))


class Layer(nn.Module):
    def __init__(self, hidden: int, heads: int, inner: int):
        super().__init__()
        self.attention = Attention(hidden, heads)
        self.up, self.down = nn.Linear(hidden, inner), nn.Linear(inner, hidden)
        self.after_attention, self.after_all = nn.LayerNorm(hidden, eps=1e-12), nn.LayerNorm(hidden, eps=1e-12)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        x = self.after_attention(x + self.attention(x, bias))
        return self.after_all(x + self.down(F.gelu(self.up(x))))


class MiniLM(nn.Module):
    """The size and form of all-MiniLM-L6-v2: a sentence to a unit vector of 384 numbers."""

    def __init__(self, vocabulary=30522, positions=512, hidden=384, layers=6, heads=12, inner=1536):
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, hidden), nn.Embedding(positions, hidden)
        self.types, self.norm = nn.Embedding(2, hidden), nn.LayerNorm(hidden, eps=1e-12)
        self.layers = nn.ModuleList(Layer(hidden, heads, inner) for _ in range(layers))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        places = torch.arange(input_ids.size(1), device=input_ids.device).unsqueeze(0)
        x = self.norm(self.words(input_ids) + self.positions(places) + self.types(torch.zeros_like(input_ids)))
        mask = attention_mask.to(x.dtype)
        bias = (1.0 - mask)[:, None, None, :] * -1e4
        for layer in self.layers:
            x = layer(x, bias)
        kept = mask.unsqueeze(-1)
        mean = (x * kept).sum(1) / kept.sum(1).clamp(min=1e-9)
        return F.normalize(mean, p=2.0, dim=1)


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.third, self.third_norm = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != 4 * width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        y = F.relu(self.second_norm(self.second(y)))
        return F.relu(self.third_norm(self.third(y)) + self.shortcut(x))


class ResNet50(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        blocks, inputs = [], 64
        for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for k in range(count):
                blocks.append(Bottleneck(inputs, width, stride if k == 0 else 1))
                inputs = 4 * width
        self.blocks, self.head = nn.Sequential(*blocks), nn.Linear(2048, 1000)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.stem_norm(self.stem(pixels))), 3, 2, 1)
        return self.head(F.adaptive_avg_pool2d(self.blocks(x), 1).flatten(1))


def tabular():
    torch.manual_seed(1)
    model, rows = Tabular().eval(), (torch.randn(256, 20) * 1e4).round() / 1e4
    toml = tensors([("features", "FP32", [-1, 20])], [("output", "FP32", [-1, 1])])
    write(Made("tabular", model, [rows], toml, lambda row: {"features": plain(rows[row])}))


def digits():
    folder = ROOT / "models" / "digits"
    model = torch.jit.load(folder / "1" / "model.pt")
    held_out = json.loads((ROOT / "tests" / "fixtures" / "held_out" / "digits.json").read_text())
    written = held_out["instances"][:256]
    toml = (folder / "model.toml").read_text()
    write(Made("digits", model, [torch.tensor(written)], toml, lambda row: {"features": written[row]}))


def minilm():
    torch.manual_seed(2)
    model = MiniLM().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # As BERT begins its training: small weights, and norms that change nothing.
            if parameter.dim() > 1:
                parameter.normal_(0, 0.05)
            elif name.endswith("bias"):
                parameter.zero_()
    names = ["input_ids", "attention_mask"]

    ids = torch.randint(1000, 30522, (256, 32))
    both = [ids, torch.ones_like(ids)]
    toml = tensors([(n, "INT64", [-1, 32]) for n in names], [("embedding", "FP32", [-1, 384])])
    body = lambda row: {"inputs": {n: [t[row].tolist()] for n, t in zip(names, both)}}  # noqa: E731
    write(Made("minilm", model, both, toml, body))

    lengths = torch.randint(SHORTEST, LONGEST + 1, (1024,)).tolist()
    ragged = [[torch.randint(1000, 30522, (n,)) for n in lengths], [torch.ones(n, dtype=torch.int64) for n in lengths]]
    toml = tensors([(n, "INT64", [-1, -1]) for n in names], [("embedding", "FP32", [-1, 384])], MIXED)
    body = lambda row: {"inputs": {n: [t[row].tolist()] for n, t in zip(names, ragged)}}  # noqa: E731
    write(Made("minilm_mixed", model, ragged, toml, body, lengths))
    variants("minilm")


# What declares the variable length of both inputs as one that may be filled up, with this value.
MIXED = {"pad": "0"}

VARIANTS = {"best": "", "plain": 'optimize = "off"\n', "bf16": 'precision = "bf16"\n'}


def resnet50():
    torch.manual_seed(3)
    model = ResNet50()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            # Statistics as trained networks have them come from a few batches; an average of all.
            module.momentum = None
        elif isinstance(module, Bottleneck):
            # Trained blocks change little of what passes through them (training begins with 0 here, see
            # arXiv:1706.02677, 5.1). With 1 each of the 16 blocks doubles what its input was rounded by.
            nn.init.constant_(module.third_norm.weight, 0.2)
    # Smooth patterns and some noise: different images, so that the answers differ.
    patterns = F.interpolate(torch.randn(16, 3, 7, 7) * 1.5, size=224, mode="bilinear", align_corners=False)
    images = patterns + torch.randn(16, 1, 1, 1) + 0.2 * torch.randn(16, 3, 224, 224)
    with torch.no_grad():
        model.train()
        for batch in images.split(8):
            model(batch)
        nn.init.normal_(model.head.weight, std=0.2)
    model.eval()
    toml = tensors([("pixels", "FP32", [-1, 3, 224, 224])], [("logits", "FP32", [-1, 1000])])
    write(Made("resnet50", model, [images], toml, lambda row: {"features": plain(images[row])}))
    # In bfloat16 an answer lies 1e-2 from that of the file, just about the limit by default.
    variants("resnet50", bf16='precision = "bf16"\nmax_difference = 0.03\n')


class Bytes(nn.Module):
    """Reads all that it is given and computes next to nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1, keepdim=True)


def isolated():
    """Models whose requests are of three sizes, and two that compute, in a folder of their own."""
    torch.manual_seed(4)
    for name, n_bytes in (("bytes_4k", 4 << 10), ("bytes_600k", 600 << 10), ("bytes_10m", 10 << 20)):
        rows = (torch.randn(2, n_bytes // 4) * 8).round() / 8
        toml = tensors([("x", "FP32", [-1, n_bytes // 4])], [("sum", "FP32", [-1, 1])])
        write(Made(name, Bytes(), [rows], toml, lambda row, rows=rows: {"features": plain(rows[row])}))
    folder = FOLDER / "isolation"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("bytes_4k", "bytes_600k", "bytes_10m", "minilm", "resnet50"):
        shutil.copytree(FOLDER / "models" / name, folder / name, copy_function=os.link)
    for name in ("bytes_4k", "bytes_600k", "bytes_10m"):
        shutil.rmtree(FOLDER / "models" / name)


class Made:
    """A model with its rows: a tensor for each input, or a list of tensors where lengths differ."""

    def __init__(self, name, model, rows, toml, body, lengths=None):
        self.name, self.model, self.rows, self.toml, self.body = name, model, rows, toml, body
        self.lengths = lengths


def plain(tensor: torch.Tensor):
    """Nested lists whose numbers are written with as few digits as tell the float32 apart."""
    if tensor.dim() > 1:
        return [plain(part) for part in tensor]
    return [Shortest(text) for text in map(str, tensor.numpy())]


class Shortest(float):
    """A float that JSON writes the way it was given."""

    def __new__(cls, text: str):
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __repr__(self) -> str:
        return self.text


def dump(value) -> str:
    """Compact JSON; the library's own writer would not ask a float how it wants to be written."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{dump(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dump, value)) + "]"
    return repr(value)


def tensors(inputs, outputs, more: dict[str, str] = {}) -> str:
    lines = []
    for kind, group in (("inputs", inputs), ("outputs", outputs)):
        for name, datatype, shape in group:
            lines += [f"[[{kind}]]", f'name = "{name}"', f'datatype = "{datatype}"', f"shape = {shape}"]
            lines += [f"{key} = {value}" for key, value in more.items() if kind == "inputs"]
            lines.append("")
    return "\n".join(lines)


def write(made: Made) -> None:
    folder, data = FOLDER / "models" / made.name, FOLDER / "data" / made.name
    wheels.say(f"models: {made.name}")
    for place in (folder, data):
        shutil.rmtree(place, ignore_errors=True)
    for place in (folder / "1", data / "json", data / "raw"):
        place.mkdir(parents=True)
    # Scripted, so that a variable length stays one; a module that was loaded is scripted already.
    scripted = made.model if isinstance(made.model, torch.jit.ScriptModule) else torch.jit.script(made.model)
    torch.jit.save(scripted, folder / "1" / "model.pt")
    (folder / "model.toml").write_text(made.toml)

    inputs, count = [], len(made.rows[0])
    for k, rows in enumerate(made.rows):
        file, first = f"input{k}.bin", rows[0]
        (data / file).write_bytes(b"".join(row.contiguous().numpy().tobytes() for row in rows))
        shape = [-1] if made.lengths else list(first.shape)
        datatype = {torch.float32: "FP32", torch.int64: "INT64"}[first.dtype]
        inputs.append({"datatype": datatype, "shape": shape, "file": file})
    description = {"inputs": inputs, "rows": count}
    if made.lengths:
        description["lengths"] = made.lengths
    (data / "rows.json").write_text(json.dumps(description))

    for row in range(count):
        (data / "json" / f"{row:04}.json").write_text(dump(made.body(row)))
        if len(made.rows) == 1:
            (data / "raw" / f"{row:04}.bin").write_bytes(made.rows[0][row].contiguous().numpy().tobytes())
    # An image as JSON is longer than a sample may be; its inputs are declared instead.
    if (data / "json" / "0000.json").stat().st_size <= MAX_SAMPLE_BYTES:
        shutil.copy(data / "json" / "0000.json", folder / "sample.json")

    # One row at a time, in plain PyTorch: what the server must agree with, however it batches.
    with torch.inference_mode():
        answers = [made.model(*(rows[row].unsqueeze(0) for rows in made.rows))[0] for row in range(count)]
    (data / "references.json").write_text(json.dumps([answer.tolist() for answer in answers]))
    spread = torch.stack(answers)
    wheels.say(f"  {count} rows, answers from {spread.min():.3g} to {spread.max():.3g}")


def variants(name: str, **others: str) -> None:
    """The same file with other settings, in a folder of their own."""
    source = FOLDER / "models" / name
    for suffix, settings in (VARIANTS | others).items():
        folder = FOLDER / "variants" / f"{name}_{suffix}"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "1").mkdir(parents=True)
        os.link(source / "1" / "model.pt", folder / "1" / "model.pt")
        if (source / "sample.json").exists():
            shutil.copy(source / "sample.json", folder)
        (folder / "model.toml").write_text(settings + (source / "model.toml").read_text())


def watched(name: str) -> None:
    """The same file without and with a reference beside it, of its own rows."""
    source = FOLDER / "models" / name
    described = json.loads((FOLDER / "data" / name / "rows.json").read_text())
    file = described["inputs"][0]["file"]
    rows = torch.frombuffer(bytearray((FOLDER / "data" / name / file).read_bytes()), dtype=torch.float32)
    rows = rows.reshape(described["rows"], -1).double()
    [input_name] = re.findall(r'\[\[inputs\]\]\nname = "(\w+)"', (source / "model.toml").read_text())
    if rows.shape[1] <= 500:
        columns = {(f"{input_name}[{k}]", k): rows[:, k] for k in range(rows.shape[1])}
    else:
        some = rows[:, :: -(-rows.shape[1] // 4096)]
        figures = {"mean": some.mean(1), "deviation": some.std(1), "min": some.amin(1), "max": some.amax(1), "zeros": (some == 0).double().mean(1)}
        columns = {(f"{input_name}.{kind}", kind): values for kind, values in figures.items()}
    features = [feature(*key, input_name, values) for key, values in columns.items()]
    digest = hashlib.sha256((source / "1" / "model.pt").read_bytes()).hexdigest()
    for kind in ("plain", "watched"):
        folder = FOLDER / "watching" / kind / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder, copy_function=os.link)
        if kind == "watched":
            reference = {"model_sha256": digest, "rows": 1000, "features": features}
            (folder / "1" / "reference.json").write_text(json.dumps(reference))


def feature(name: str, of, input_name: str, values: torch.Tensor) -> dict:
    values = values.float()
    edges = sorted({float(it) for it in torch.quantile(values, torch.arange(1, 10) / 10)} - {float(values.max())})
    counts = torch.bincount(torch.bucketize(values, torch.tensor(edges)), minlength=len(edges) + 1).tolist()
    return {"name": name, "input": input_name, "of": of, "edges": edges, "counts": counts, "missing": 0, "min": float(values.min()), "max": float(values.max())}


def main() -> None:
    torch.set_num_threads(2)
    wanted = hashlib.sha256(pathlib.Path(__file__).read_bytes() + torch.__version__.encode()).hexdigest()
    stamp = FOLDER / "models.stamp"
    if not stamp.exists() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        for make in (tabular, digits, minilm, resnet50, isolated):
            make()
        for name in ("tabular", "digits", "resnet50"):
            watched(name)
        stamp.write_text(wanted)
    print(FOLDER)


if __name__ == "__main__":
    wheels.run(main)
