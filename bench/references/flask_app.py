"""Flask serving a TorchScript file: gunicorn -k gevent -w 3 flask_app:app."""

from flask import Flask, request

import model

app = Flask(__name__)


@app.get("/health")
def health():
    return {"ready": True}


@app.post("/predict")
def predict():
    body = request.get_json()
    if "features" in body:
        return {"prediction": model.one(body["features"])}
    return {"outputs": {"output_0": model.named(body["inputs"])}}
