"""A running sconce for tests: on free ports, asked over HTTP, ended whatever happens. Every wait has an end."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

PROGRAM: Optional[str] = os.environ.get("SCONCE_PROGRAM")
START_SECONDS = 180
CHECK_SECONDS = 300
REQUEST_SECONDS = 60
_PORTS = range(27000, 27099)
# The program refuses variables of its prefix that it does not know.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "SCONCE_PROGRAM"}

needs_program = unittest.skipUnless(PROGRAM, "SCONCE_PROGRAM is not set: it is the path of a sconce program")


def run(*arguments: str, timeout: float = CHECK_SECONDS) -> subprocess.CompletedProcess:
    """Runs the program to its end."""
    with tempfile.TemporaryDirectory() as state:
        command = [str(PROGRAM), *arguments, "--set", f"state_dir={state}", "--log-level", "error"]
        return subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, env=_ENVIRONMENT
        )


class Server:
    """Asks a server that runs."""

    def __init__(self, port: int, management: int, pid: int):
        self.port = port
        self.management = management
        self.pid = pid

    def get(self, path: str, management: bool = False) -> Any:
        return self._ask(path, None, management)

    def predict(self, model: str, body: str) -> Any:
        return self._ask(f"/predict/{model}", body.encode(), False)

    def _ask(self, path: str, body: Optional[bytes], management: bool) -> Any:
        port = self.management if management else self.port
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body)
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from error


@contextlib.contextmanager
def serving(models: Path, settings: Sequence[str] = ()) -> Iterator[Server]:
    """Serves a folder of models until the end of the block, with these settings beside the defaults."""
    ports = _free_ports(2)
    with tempfile.TemporaryDirectory() as state, open(Path(state) / "log", "w+") as log:
        command = [str(PROGRAM), "serve", "--models", str(models), "--listen", f"127.0.0.1:{ports[0]}"]
        command += [
            "--manage-listen",
            f"127.0.0.1:{ports[1]}",
            "--set",
            f"state_dir={state}/state",
            "--log-level",
            "warn",
        ]
        for setting in settings:
            command += ["--set", setting]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=_ENVIRONMENT)
        try:
            server = Server(*ports, process.pid)
            _wait_until_ready(server, process, log)
            yield server
        finally:
            process.kill()
            process.wait(timeout=30)


def _wait_until_ready(server: Server, process: subprocess.Popen, log: Any) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(AssertionError, OSError):
            if server.get("/health/ready"):
                return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    log.seek(0)
    raise AssertionError(f"the server is not ready (status {process.poll()}):\n{log.read()}")


def _free_ports(n: int) -> list[int]:
    found = []
    for port in _PORTS:
        with socket.socket() as probe:
            # What ended a moment ago leaves ports waiting; the server may take them.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == n:
            return found
    raise AssertionError(f"no {n} free ports from {_PORTS.start} to {_PORTS.stop - 1}")
