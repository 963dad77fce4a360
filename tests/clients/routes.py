#!/usr/bin/env python3
"""The same thousand digits over every route: the answers are the same, whichever protocol they come by.

    make clients

What is compared is the ten outputs, or the best labels with their scores where the protocol answers with those.
"""

import argparse
import http.client
import json
import pathlib
import sys

import numpy as np

DIGITS = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "held_out" / "digits.json"
COUNT = 1000
BOUNDARY = "digits"
# Batches differ from request to request, and sums in another order differ in the last bits.
TOLERANCE = 1e-5


def binary(row, raw):
    given = {"name": "pixels", "datatype": "FP32", "shape": [1, 784], "parameters": {"binary_data_size": len(raw)}}
    wanted = [{"name": "logits", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [given], "outputs": wanted}).encode()
    return head + raw, {"Inference-Header-Content-Length": str(len(head))}


def form(row, raw):
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="data"; filename="x"\r\n\r\n'
    body = head.encode() + raw + f"\r\n--{BOUNDARY}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def text(document):
    return json.dumps(document).encode(), {"Content-Type": "application/json"}


OCTETS = {"Content-Type": "application/octet-stream"}
V2 = {"name": "pixels", "datatype": "FP32", "shape": [1, 784]}

# Name, path, the request from a row and its bytes, whether the answer is labels.
ROUTES = [
    ("predict, features", "/predict/digits", lambda row, raw: text({"features": row}), False),
    ("predict, instances", "/predict/digits", lambda row, raw: text({"instances": [row]}), False),
    ("predict, inputs", "/predict/digits", lambda row, raw: text({"inputs": {"pixels": [row]}}), False),
    ("predict, bytes", "/predict/digits/versions/1", lambda row, raw: (raw, OCTETS), False),
    ("V2, flat JSON", "/v2/models/digits/infer", lambda row, raw: text({"inputs": [{**V2, "data": row}]}), False),
    ("V2, nested JSON", "/v2/models/digits/infer", lambda row, raw: text({"inputs": [{**V2, "data": [row]}]}), False),
    ("V2, binary", "/v2/models/digits/versions/1/infer", binary, False),
    ("V2, raw", "/v2/models/digits/infer", lambda row, raw: (raw, {"Inference-Header-Content-Length": "0"}), False),
    ("V1, rows", "/v1/models/digits:predict", lambda row, raw: text({"instances": [row]}), False),
    ("V1, columns", "/v1/models/digits/versions/1:predict", lambda row, raw: text({"inputs": [row]}), False),
    ("TorchServe, JSON", "/predictions/digits", lambda row, raw: text(row), True),
    ("TorchServe, bytes", "/predictions/digits/1", lambda row, raw: (raw, OCTETS), True),
    ("TorchServe, form", "/predictions/digits", form, True),
]


def outputs(answer, headers):
    """The ten outputs, wherever they stand."""
    if length := headers.get("Inference-Header-Content-Length"):
        return np.frombuffer(answer[int(length) :], np.float32)
    document = json.loads(answer)
    for key in ("prediction", "predictions", "outputs"):
        if key in document:
            found = document[key]
            break
    if isinstance(found, dict):
        found = found["logits"]
    elif isinstance(found[0], dict):
        found = found[0]["data"]
    return np.array(found, np.float32).ravel()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http", required=True, help="address of the public listener")
    parser.add_argument("--management", required=True, help="not used here")
    args = parser.parse_args()
    connection = http.client.HTTPConnection(args.http, timeout=60)

    def ask(path, body, headers):
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise SystemExit(f"{path}: {response.status} {answer[:300]!r}")
        return answer, response.headers

    instances = json.loads(DIGITS.read_text())["instances"]
    rows = [instances[k % len(instances)] for k in range(COUNT)]
    raws = [np.array(row, np.float32).tobytes() for row in rows]
    expected = labels = None
    failed = 0
    for name, path, request, is_labels in ROUTES:
        answers = [ask(path, *request(row, raw)) for row, raw in zip(rows, raws)]
        if is_labels:
            got = [json.loads(answer) for answer, _ in answers]
            same = all(list(best)[0] == str(label) for best, label in zip(got, labels))
            difference = max(abs(best[str(label)] - score) for best, label, score in zip(got, labels, scores))
        else:
            got = np.array([outputs(*answer) for answer in answers])
            if expected is None:
                expected, labels = got, got.argmax(1)
                powers = np.exp(got - got.max(1, keepdims=True), dtype=np.float64)
                scores = (powers / powers.sum(1, keepdims=True)).max(1)
            same = (got.argmax(1) == labels).all()
            difference = np.abs(got - expected).max() / np.abs(expected).max()
        good = bool(same and difference <= TOLERANCE)
        failed += not good
        print(f"{'ok      ' if good else 'FAILED  '}{name}: {len(got)} answers differ by at most {difference:.1e}")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
