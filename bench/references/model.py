"""The model as both references serve it: one TorchScript file, one thread, inference mode.

`BENCH_MODEL` names the file. It is frozen, as PyTorch's own page on serving TorchScript advises.
"""

import os

import torch

torch.set_num_threads(1)
torch.set_num_interop_threads(1)
MODEL = torch.jit.freeze(torch.jit.load(os.environ["BENCH_MODEL"]).eval())
# The order in which the model takes its inputs, for requests that name them.
INPUTS = [argument.name for argument in MODEL.forward.schema.arguments[1:]]


def one(features: list) -> list:
    """One row of the model's only input."""
    with torch.inference_mode():
        return MODEL(torch.tensor([features], dtype=torch.float32))[0].tolist()


def named(inputs: dict) -> list:
    """Whole tensors by name."""
    with torch.inference_mode():
        return MODEL(*(torch.tensor(inputs[name]) for name in INPUTS)).tolist()
