#!/usr/bin/env python3
"""The public Triton client against a running server: what its users do, and what it says of errors.

    make clients

Every check compares answers with each other or with what numpy computes, and every error with the client's own
exception and the server's text.
"""

import argparse
import json
import sys
import urllib.request

import ml_dtypes
import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def rows(count=4):
    return np.random.default_rng(7).standard_normal((count, 20)).astype(np.float32)


def tensor(name, array, datatype, binary=True):
    wanted = triton.InferInput(name, list(array.shape), datatype)
    wanted.set_data_from_numpy(array, binary_data=binary)
    return wanted


def native(args, model, inputs):
    """The same rows over the native route."""
    body = json.dumps({"inputs": inputs}).encode()
    with urllib.request.urlopen(f"http://{args.http}/predict/{model}", body, timeout=30) as answer:
        return json.load(answer)["outputs"]


def refused(part, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except InferenceServerException as error:
        assert part in error.message(), f"{error.message()!r} does not say {part!r}"
        return error.status()
    raise AssertionError(f"no error that says {part!r}")


@check
def health(args, client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("tabular") and client.is_model_ready("tabular", "1")
    assert not client.is_model_ready("nobody")


@check
def metadata(args, client):
    server = client.get_server_metadata()
    assert server["name"] == "sconce" and "binary_tensor_data" in server["extensions"], server
    model = client.get_model_metadata("tabular")
    assert model["versions"] == ["1"] and model["platform"] == "pytorch_torchscript", model
    assert model["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 20]}], model
    assert refused("nobody", client.get_model_metadata, "nobody") == "404"


@check
def configuration(args, client):
    config = client.get_model_config("tabular")
    assert config["max_batch_size"] > 1 and "dynamic_batching" in config, config
    assert config["input"][0]["dims"] == [20] and config["input"][0]["data_type"] == "TYPE_FP32", config


@check
def json_and_binary_agree(args, client):
    x = rows()
    expected = np.array(native(args, "tabular", {"features": x.tolist()})["value"], np.float32)
    for binary_in in (True, False):
        for binary_out in (True, False):
            outputs = [triton.InferRequestedOutput("value", binary_data=binary_out)]
            result = client.infer("tabular", [tensor("features", x, "FP32", binary_in)], outputs=outputs, request_id="r1")
            got = result.as_numpy("value")
            assert got.dtype == np.float32 and np.array_equal(got, expected), (binary_in, binary_out)
            assert result.get_response()["id"] == "r1" and result.get_response()["model_version"] == "1"
    # Without a list of outputs the client asks for all of them as bytes.
    assert np.array_equal(client.infer("tabular", [tensor("features", x, "FP32")]).as_numpy("value"), expected)


@check
def half_precision(args, client):
    x = np.arange(8, dtype=np.float16).reshape(2, 4)
    name = client.get_model_metadata("half")["outputs"][0]["name"]
    got = client.infer("half", [tensor("x", x, "FP16")]).as_numpy(name)
    expected = np.array(native(args, "half", {"x": x.tolist()})[name], np.float16)
    assert got.dtype == np.float16 and np.array_equal(got, expected), got


@check
def brain_floats(args, client):
    x = np.arange(8).reshape(2, 4).astype(ml_dtypes.bfloat16)
    name = client.get_model_metadata("bfloat16")["outputs"][0]["name"]
    got = client.infer("bfloat16", [tensor("x", x, "BF16")]).as_numpy(name)
    # JSON has as many digits as tell a value from its neighbors of the same type.
    expected = np.array(native(args, "bfloat16", {"x": x.astype(float).tolist()})[name]).astype(ml_dtypes.bfloat16)
    assert np.array_equal(got, expected), got


@check
def several_inputs_and_integers(args, client):
    a, b = np.ones((2, 3), np.float32), np.array([10, 20], np.int64)
    got = client.infer("two_inputs", [tensor("b", b, "INT64", False), tensor("a", a, "FP32")]).as_numpy("sum")
    assert got.tolist() == [13.0, 23.0], got


@check
def texts(args, client):
    words = np.array([b"one", "zwölf".encode(), b""], dtype=object)
    for binary in (True, False):
        got = client.infer("texts", [tensor("words", words, "BYTES", binary)])
        # TorchScript counts bytes, and knows capitals of ASCII only.
        assert got.as_numpy("length").tolist() == [3, 6, 0], got.as_numpy("length")
        assert got.as_numpy("upper").tolist() == [b"ONE", "ZWöLF".encode(), b""], got.as_numpy("upper")


@check
def requested_outputs(args, client):
    x = np.ones((2, 4), np.float32)
    result = client.infer("multi_output", [tensor("x", x, "FP32")], outputs=[triton.InferRequestedOutput("second")])
    assert result.as_numpy("first") is None and result.as_numpy("second").shape == (2, 3)
    wanted = [triton.InferRequestedOutput("nobody")]
    assert refused("nobody", client.infer, "multi_output", [tensor("x", x, "FP32")], outputs=wanted) == "400"


@check
def classification(args, client):
    x = np.zeros((2, 784), np.float32)
    scores = client.infer("digits", [tensor("pixels", x, "FP32")]).as_numpy("logits")
    for binary in (True, False):
        wanted = [triton.InferRequestedOutput("logits", binary_data=binary, class_count=3)]
        classes = client.infer("digits", [tensor("pixels", x, "FP32")], outputs=wanted).as_numpy("logits")
        assert classes.shape == (2, 3), classes
        best = classes[0][0]
        value, index, label = (best.decode() if binary else best).split(":")
        assert int(index) == int(scores[0].argmax()) and label == index, classes
        assert np.float32(value) == scores[0].max(), classes


@check
def compression(args, client):
    x = np.zeros((64, 784), np.float32)
    plain = client.infer("digits", [tensor("pixels", x, "FP32")]).as_numpy("logits")
    for algorithm in ("gzip", "deflate"):
        packed = client.infer(
            "digits", [tensor("pixels", x, "FP32")],
            request_compression_algorithm=algorithm, response_compression_algorithm=algorithm,
        )  # fmt: skip
        assert np.array_equal(packed.as_numpy("logits"), plain), algorithm


@check
def asynchronous(args, client):
    x = rows()
    expected = client.infer("tabular", [tensor("features", x, "FP32")]).as_numpy("value")
    under_way = [client.async_infer("tabular", [tensor("features", x, "FP32")], request_id=str(k)) for k in range(32)]
    for k, request in enumerate(under_way):
        result = request.get_result()
        assert np.array_equal(result.as_numpy("value"), expected) and result.get_response()["id"] == str(k)


@check
def raw_request(args, client):
    x = rows(1)
    request = urllib.request.Request(
        f"http://{args.http}/v2/models/tabular/infer", x.tobytes(), {"Inference-Header-Content-Length": "0"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        length = int(answer.headers["Inference-Header-Content-Length"])
        body = answer.read()
    header = json.loads(body[:length])
    assert header["outputs"][0]["parameters"]["binary_data_size"] == len(body) - length, header
    got = np.frombuffer(body[length:], np.float32)
    assert np.array_equal(got, client.infer("tabular", [tensor("features", x, "FP32")]).as_numpy("value").ravel())


@check
def statistics(args, client):
    def figures():
        [model] = client.get_inference_statistics("tabular", "1")["model_stats"]
        return model

    before = figures()
    client.infer("tabular", [tensor("features", rows(3), "FP32")])
    after = figures()
    assert after["inference_count"] == before["inference_count"] + 3, (before, after)
    assert after["execution_count"] == before["execution_count"] + 1, (before, after)
    for name in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        old, new = before["inference_stats"][name], after["inference_stats"][name]
        assert new["count"] == old["count"] + 1 and new["ns"] > old["ns"], (name, old, new)
    assert {"cache_hit", "cache_miss", "fail"} <= set(after["inference_stats"])
    assert len(client.get_inference_statistics()["model_stats"]) > 1


@check
def errors(args, client):
    x = np.ones((2, 4), np.float32)
    good = tensor("x", x, "FP32")
    assert refused("raised", client.infer, "raises", [tensor("x", -x, "FP32")]) == "500"
    assert refused("expected FP32", client.infer, "multi_output", [tensor("x", x.astype(np.float64), "FP64")]) == "400"
    assert refused("shape [2, 3]", client.infer, "multi_output", [tensor("x", x[:, :3].copy(), "FP32")]) == "400"
    assert refused("nobody", client.infer, "nobody", [good]) == "404"
    assert refused("version", client.infer, "multi_output", [good], model_version="9") == "404"
    assert refused("sequence", client.infer, "multi_output", [good], sequence_id=5, sequence_start=True) == "501"
    assert refused("shared memory", client.get_system_shared_memory_status) == "501"
    assert refused("log", client.get_log_settings) == "501"
    assert refused("trace", client.get_trace_settings) == "501"


@check
def repository(args, client):
    index = {entry["name"]: entry for entry in client.get_model_repository_index()}
    assert index["tabular"]["state"] == "READY" and index["tabular"]["version"] == "1", index["tabular"]
    assert refused("management", client.load_model, "tabular") == "403"
    manager = triton.InferenceServerClient(args.management)
    manager.unload_model("tabular")
    assert not manager.is_model_ready("tabular")
    index = {entry["name"]: entry for entry in manager.get_model_repository_index()}
    assert index["tabular"]["state"] == "UNAVAILABLE" and index["tabular"]["reason"] == "unloaded", index["tabular"]
    assert refused("unloaded", manager.infer, "tabular", [tensor("features", rows(), "FP32")]) == "503"
    manager.load_model("tabular")
    assert manager.is_model_ready("tabular")
    manager.infer("tabular", [tensor("features", rows(), "FP32")])
    assert refused("nobody", manager.load_model, "nobody") == "404"
    assert refused("config", manager.load_model, "tabular", config="{}") == "501"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http", required=True, help="address of the public listener")
    parser.add_argument("--management", required=True, help="address of the management listener")
    args = parser.parse_args()
    failed = 0
    for run in CHECKS:
        try:
            run(args, triton.InferenceServerClient(args.http, concurrency=8))
            print(f"ok      {run.__name__}")
        except Exception as error:  # noqa: BLE001: the other checks go on
            failed += 1
            print(f"FAILED  {run.__name__}: {type(error).__name__}: {error}")
    print(f"{len(CHECKS) - failed} of {len(CHECKS)} checks passed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
