"""Who is measured: the server in its default configuration, and the references beside it."""

import contextlib
import http.server
import json
import os
import pathlib
import shutil
import threading
import time

from harness.processes import Failure, Process, free_port

REFERENCES = pathlib.Path(__file__).resolve().parents[1] / "references"
ONE_WORKER = "FastAPI + uvicorn, 1 worker"
START_SECONDS = 300
# What the echo answers, so that its answers are as long as the server's.
ECHO_MODELS = ["tabular=1", "digits=10,labels", "minilm=384", "minilm_mixed=384", "resnet50=1000"]


class Paths:
    """Programs, data and the folder that results go to."""

    def __init__(self, server, tools, data, python, out):
        self.server, self.python = pathlib.Path(server), pathlib.Path(python)
        self.tools, self.data, self.out = pathlib.Path(tools), pathlib.Path(data), pathlib.Path(out)

    def tool(self, name: str) -> pathlib.Path:
        return self.tools / name

    def model_file(self, model: str) -> pathlib.Path:
        return self.data / "models" / model / "1" / "model.pt"

    def rows(self, model: str) -> pathlib.Path:
        return self.data / "data" / model / "rows.json"

    def bodies(self, model: str, kind: str = "json") -> pathlib.Path:
        return self.data / "data" / model / kind

    def log(self, name: str) -> pathlib.Path:
        folder = self.out / "logs"
        folder.mkdir(exist_ok=True)
        return folder / f"{name}-{len(list(folder.iterdir()))}.log"


def put_model(paths: Paths, model: str, folder: pathlib.Path) -> None:
    """Puts a model into a folder of models. The server follows no link out of that."""
    shutil.copytree(paths.data / "models" / model, folder / model, copy_function=os.link)


def sconce(paths: Paths, models: pathlib.Path, state: pathlib.Path, *settings: str, ready: bool = True) -> Process:
    """The default configuration, but for `settings`: the flags only say where the models lie and that the port is free; and that 64
    clients who ask a slow model at once and wait are answered, as the references answer them, and not told to come again."""
    flags = ["--models", models, "--listen", "127.0.0.1:0", "--manage-listen", "127.0.0.1:0", "--log-format", "json"]
    for setting in ("batching.max_queue_wait=1m", *settings):
        flags += ["--set", setting]
    server = Process("sconce", [paths.server, "serve", *flags], paths.log("sconce"), SCONCE_STATE_DIR=str(state))
    try:
        found = server.wait_for_log(r'sconce is listening".*?"http":"([0-9.:]+)"', START_SECONDS)
        server.address = found[1]
        if ready:
            wait_loaded(server)
    except BaseException:
        server.stop()
        raise
    return server


@contextlib.contextmanager
def receiver():
    """Takes whatever is sent to it; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    class Receiver(http.server.ThreadingHTTPServer):
        def handle_error(self, *_):
            """A server that ends resets what is left open."""

    server = Receiver(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def wait_loaded(server: Process) -> None:
    """Until every model serves or has failed. One that this build does not take must not keep the others from being
    measured, so readiness is not what is asked for.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        states = [model["state"] for model in json.loads(server.ask("/models")[1])["models"]]
        if states and "loading" not in states:
            return
        time.sleep(0.1)
    raise Failure(f"sconce: models are loading still after {START_SECONDS} s, see {server.log}")


def echo(paths: Paths, threads: int) -> Process:
    command = [paths.tool("echo"), "--threads", threads]
    for model in ECHO_MODELS:
        command += ["--model", model]
    server = Process(f"echo, {threads} thread{'s' if threads > 1 else ''}", command, paths.log("echo"))
    server.address = server.wait_for_log(r'"listening":"([0-9.:]+)"', START_SECONDS)[1]
    return server


def flask(paths: Paths, model: str, workers: int = 3) -> Process:
    port = free_port()
    command = [paths.python, "-m", "gunicorn", "--chdir", REFERENCES, "--worker-class", "gevent"]
    command += ["--workers", workers, "--bind", f"127.0.0.1:{port}", "--keep-alive", 75, "--log-level", "warning"]
    return _reference("Flask + gunicorn", [*command, "flask_app:app"], paths, model, port)


def fastapi(paths: Paths, model: str, workers: int) -> Process:
    port = free_port()
    command = [paths.python, "-m", "uvicorn", "--app-dir", REFERENCES, "--host", "127.0.0.1", "--port", port]
    command += ["--workers", workers, "--no-access-log", "--log-level", "warning", "--timeout-keep-alive", 75]
    name = f"FastAPI + uvicorn, {workers} worker{'s' if workers > 1 else ''}"
    return _reference(name, [*command, "fastapi_app:app"], paths, model, port)


def _reference(name: str, command: list, paths: Paths, model: str, port: int) -> Process:
    log = paths.log(name.split()[0].lower())
    server = Process(name, command, log, BENCH_MODEL=str(paths.model_file(model)), OMP_NUM_THREADS="1")
    server.address = f"127.0.0.1:{port}"
    try:
        server.wait_ready("/health", START_SECONDS)
    except BaseException:
        server.stop()
        raise
    return server


def path_of(server: Process, model: str) -> str:
    """References serve one model each."""
    return f"/predict/{model}" if server.name.startswith(("sconce", "echo")) else "/predict"


def problem(server: Process, model: str) -> str | None:
    """Why a model is not served, if so."""
    found = metadata(server, model)
    if found["state"] == "ready":
        return None
    return found.get("problem") or str([version.get("reason") for version in found.get("versions", [])])


def metadata(server: Process, model: str) -> dict:
    status, text = server.ask(f"/models/{model}")
    if status != 200:
        raise Failure(f"sconce: /models/{model} answered {status}: {text}")
    return json.loads(text)
