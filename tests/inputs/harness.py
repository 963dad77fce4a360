"""What the comparisons share: a server over folders that are made here, and figures that hold or do not."""

import base64
import json
import pathlib
import sys
import tempfile
import urllib.error
import urllib.request

import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("tests/attack", "scripts", "models/scripts")]

import common as attack  # noqa: E402
import wheels  # noqa: E402

PATIENCE = 120
FOOLBOX = wheels.Wheel("foolbox", "3.3.4", "py3-none-any", "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb")


class Checks:
    """What was claimed, and whether it held."""

    def __init__(self):
        self.failed = 0

    def hold(self, claim, holds):
        print(f"  {'holds' if holds else 'FAILED'}: {claim}", flush=True)
        self.failed += not holds

    def end(self):
        sys.exit(self.failed > 0)


def model(folder, module, manifest, **files):
    """Writes a folder of one scripted model."""
    (folder / "1").mkdir(parents=True)
    torch.jit.script(module.eval()).save(str(folder / "1/model.pt"))
    (folder / "model.toml").write_text(manifest)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)


class Site:
    """The program over a folder of models."""

    def __init__(self, program, models, *settings):
        self.server = attack.Server(program, *settings, models=models)
        self.server.ready()
        self.url = "http://{}:{}".format(*self.server.addresses["http"])

    def ask(self, path, body, content_type="application/json"):
        """Status and document of an answer; the body is bytes, or written as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": content_type})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def predict(self, model, body, content_type="application/json"):
        status, answer = self.ask(f"/predict/{model}", body, content_type)
        if status != 200:
            raise AssertionError(f"{model}: {status} {answer}")
        return answer


def base64_of(content):
    return base64.b64encode(content).decode()


def temporary():
    return tempfile.TemporaryDirectory(prefix="sconce-inputs-")


def photographs():
    """The names and bytes of 20 photographs with the class of ImageNet that each shows."""
    import zipfile

    with wheels.locked():
        wheel = wheels.fetch(FOOLBOX)
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(name for name in archive.namelist() if "/imagenet_" in name and name.endswith(".jpg"))
        return [(int(name.rsplit("_", 1)[1].split(".")[0]), archive.read(name)) for name in names]
