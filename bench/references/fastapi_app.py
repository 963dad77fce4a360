"""FastAPI serving a TorchScript file: uvicorn fastapi_app:app, with uvloop and httptools.

The handler is a coroutine that calls the model itself: a worker has one core to compute on, and a
thread pool in between costs more than it brings.
"""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

import model


class Request(BaseModel):
    features: list[Any] | None = None
    inputs: dict[str, list[Any]] | None = None


app = FastAPI()


@app.get("/health")
async def health():
    return {"ready": True}


@app.post("/predict")
async def predict(request: Request):
    if request.features is not None:
        return {"prediction": model.one(request.features)}
    return {"outputs": {"output_0": model.named(request.inputs)}}
