"""Small modules of the usual kinds, each with a call that works. Weights are random: only equal answers count."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Any, Dict, NamedTuple

import torch
from torch import nn


class Mlp(nn.Module):
    """A scaler, two layers, one probability."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.randn(6))
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1))

    def forward(self, features):
        return torch.sigmoid(self.layers(features - self.mean))


class Cnn(nn.Module):
    """Convolutions with batch norm and dropout; `flatten` and `view` by the size of the batch."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
        )
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(32, 4)

    def forward(self, image):
        return self.head(self.dropout(self.body(image).view(image.size(0), -1)))


class GruClassifier(nn.Module):
    """The last state of a bidirectional GRU over tokens."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.gru = nn.GRU(8, 12, batch_first=True, bidirectional=True)
        self.head = nn.Linear(24, 3)

    def forward(self, tokens):
        _, state = self.gru(self.embedding(tokens))
        return self.head(torch.cat([state[0], state[1]], dim=1))


class PackedLstm(nn.Module):
    """An LSTM over packed sequences of the lengths that are given."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(5, 7, batch_first=True)
        self.head = nn.Linear(7, 2)

    def forward(self, steps, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
        _, (state, _) = self.lstm(packed)
        return self.head(state[-1])


class Transformer(nn.Module):
    """An encoder with a padding mask, positions, and the mean over what is not padding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(60, 16)
        self.positions = nn.Embedding(64, 16)
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 5)

    def forward(self, input_ids, attention_mask):
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        hidden = self.embedding(input_ids) + self.positions(places)
        hidden = self.encoder(hidden, src_key_padding_mask=attention_mask == 0)
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return self.head((hidden * weights).sum(1) / weights.sum(1).clamp(min=1))


class ModelOutput(OrderedDict):
    """As the one of transformers: a data class that is a dictionary as well, without what is None."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if getattr(self, field.name) is not None:
                self[field.name] = getattr(self, field.name)


@dataclasses.dataclass
class TwoHeadsOutput(ModelOutput):
    loss: Any = None
    logits: Any = None
    score: Any = None


class TwoHeads(nn.Module):
    """Two inputs and a switch, two outputs and a loss that is not there."""

    def __init__(self):
        super().__init__()
        self.numbers = nn.Linear(4, 8)
        self.kinds = nn.Embedding(10, 8)
        self.classes = nn.Linear(8, 3)
        self.score = nn.Linear(8, 1)

    def forward(self, numbers, kind, is_new, labels=None):
        hidden = torch.tanh(self.numbers(numbers) + self.kinds(kind))
        hidden = torch.where(is_new.unsqueeze(1), hidden, -hidden)
        return TwoHeadsOutput(logits=self.classes(hidden), score=self.score(hidden).squeeze(1))


class BagOfWords(nn.Module):
    """The mean of the embeddings of a text's words."""

    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(100, 16, mode="mean")
        self.head = nn.Linear(16, 4)

    def forward(self, words):
        return self.head(self.bag(words))


class Halving(nn.Module):
    """Takes steps until the numbers are small, and another way for long rows: a trace would freeze both."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(1, 2)

    def forward(self, x):
        n_steps = 0
        while bool((x.abs() > 1.0).any()) and n_steps < 10:
            x = x / 2
            n_steps += 1
        if x.shape[1] > 4:
            x = x[:, :4]
        return self.head(x.sum(1, keepdim=True)) + n_steps


class HalvingByName(Halving):
    """The same, answering with a dictionary."""

    def forward(self, x) -> Dict[str, torch.Tensor]:
        found = x
        while bool((found.abs() > 1.0).any()):
            found = found / 2
        return {"found": found, "head": self.head(found.sum(1, keepdim=True))}


class Squeezed(nn.Module):
    """A regression whose answer loses its only dimension where there is one row."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x):
        return self.layer(x).squeeze()


class Coupled(nn.Module):
    """Rows meet, and there is a sum over all of them."""

    def forward(self, x):
        return x - x.mean(0, keepdim=True), x.sum()


class Graph(nn.Module):
    """Nodes and edges do not share their number."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, nodes, edges):
        summed = torch.zeros_like(nodes).index_add(0, edges[1], nodes[edges[0]])
        return self.layer(nodes + summed)


class Kinds(NamedTuple):
    whole: torch.Tensor
    double: torch.Tensor
    flag: torch.Tensor
    half: torch.Tensor


class Datatypes(nn.Module):
    """Integers, doubles, booleans and half precision, in a named tuple, one dictionary in."""

    def forward(self, batch):
        total = batch["a"].sum(1)
        return Kinds(total, batch["b"] * 1.1, batch["b"] > 0, batch["b"].half())


class FixedRows(nn.Module):
    """Knows that there are four rows."""

    def forward(self, x):
        return x.reshape(4, 6) * 2


def all_of_them() -> dict[str, tuple[nn.Module, Any, dict[str, Any]]]:
    """By name: a module, a call that works, and what else `export` is told."""
    torch.manual_seed(7)
    ids = torch.randint(1, 60, (3, 9))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    three = ["a", "b", "c"]
    return {
        "mlp": (Mlp(), torch.randn(4, 6), {"labels": ["no", "yes"]}),
        "cnn": (Cnn(), torch.randn(2, 3, 16, 16), {"labels": ["w", "x", "y", "z"], "output_names": ["logits"]}),
        "gru": (GruClassifier(), torch.randint(0, 50, (3, 7)), {"dynamic": {"tokens": {1: "length"}}, "labels": three}),
        "lstm": (
            PackedLstm(),
            (torch.randn(3, 6, 5), torch.tensor([6, 2, 4])),
            {"dynamic": {"steps": {1: "length"}}},
        ),
        "transformer": (
            Transformer(),
            {"input_ids": ids, "attention_mask": mask},
            {
                "dynamic": {"input_ids": {1: "length"}, "attention_mask": {1: "length"}},
                "pad": {"input_ids": 0, "attention_mask": 0},
            },
        ),
        "two_heads": (
            TwoHeads(),
            (torch.randn(3, 4), torch.tensor([1, 5, 9]), torch.tensor([True, False, True])),
            {"labels": three},
        ),
        "bag": (BagOfWords(), torch.randint(0, 100, (2, 12)), {"dynamic": {"words": {1: "n_words"}}}),
        "halving": (Halving(), torch.randn(3, 4) * 4, {"dynamic": {"x": {1: "width"}}}),
        "by_name": (HalvingByName(), torch.randn(2, 3) * 4, {"input_names": ["numbers"]}),
        "squeezed": (Squeezed(), torch.randn(4, 3), {}),
        "coupled": (Coupled(), torch.randn(4, 3), {}),
        "graph": (
            Graph(),
            {"nodes": torch.randn(5, 3), "edges": torch.tensor([[0, 1, 2], [1, 2, 3]])},
            {"dynamic": {"nodes": {0: "nodes"}, "edges": {1: "edges"}}},
        ),
        "datatypes": (Datatypes(), {"a": torch.tensor([[1, 2], [3, 4]]), "b": torch.randn(2, dtype=torch.float64)}, {}),
        "fixed": (FixedRows(), torch.randn(4, 6), {"dynamic": {"x": {0: None}}}),
    }
