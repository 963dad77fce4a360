"""What the attacks share: the program as a server of its own, requests, figures. Standard library only."""

import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests/fixtures/models"
EXAMPLES = ROOT / "models"


class Server:
    """`sconce serve` on free ports, with a state folder of its own; ended with the block that it is used in."""

    def __init__(self, program, models, settings=()):
        self.scratch = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.scratch.name)
        (folder / "models").mkdir()
        for model in models:
            (folder / "models" / pathlib.Path(model).name).symlink_to(model)
        self.folder = folder / "models"
        sets = [f"state_dir={folder}/state", *settings]
        self.log = open(folder / "log", "w+b")
        command = [program, "serve", "--models", str(self.folder), "--listen", "127.0.0.1:0",
                   "--manage-listen", "127.0.0.1:0", "--log-format", "json"]
        self.process = subprocess.Popen(
            command + [part for it in sets for part in ("--set", it)], stdout=subprocess.DEVNULL, stderr=self.log)
        self.http, self.management = self._addresses()

    def _addresses(self):
        """Where it listens: the public and the management listener."""
        for _ in range(1200):
            found = re.search(r'"http":"([^"]+)","management":"([^"]+)"', self.text())
            if found:
                return [(host, int(port)) for host, port in (it.rsplit(":", 1) for it in found.groups())]
            if not self.alive():
                break
            time.sleep(0.05)
        self.process.kill()
        raise SystemExit(f"the server did not start: {self.text()[-2000:]}")

    def text(self):
        self.log.flush()
        return (pathlib.Path(self.scratch.name) / "log").read_text(errors="replace")

    def wait_ready(self, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.alive() and get(self.http, "/readyz")[0] == 200:
                return self
            time.sleep(0.1)
        raise SystemExit(f"the server is not ready: {self.text()[-2000:]}")

    def alive(self):
        return self.process.poll() is None

    def resident(self):
        """MiB that are its own and resident."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", status)[1]) / 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.alive():
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.log.close()
        self.scratch.cleanup()


def request(address, method, path, body=None, timeout=60, headers=None):
    """Status and body; status 0 where there was no answer."""
    connection = HTTPConnection(*address, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError as error:
        return 0, repr(error).encode()
    finally:
        connection.close()


def get(address, path, timeout=60):
    return request(address, "GET", path, timeout=timeout)


def post(address, path, value, timeout=60):
    return request(address, "POST", path, value if isinstance(value, bytes) else json.dumps(value).encode(), timeout)


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


class Probe:
    """Asks for a path on new connections all the time, and remembers how long each answer took."""

    def __init__(self, address, path="/livez", every=0.01):
        self.address, self.path, self.every = address, path, every
        self.seconds, self.failed = [], 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._stop.wait(self.every):
            begun = time.monotonic()
            status, _ = get(self.address, self.path, timeout=30)
            self.seconds.append(time.monotonic() - begun)
            self.failed += status != 200

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(40)

    def text(self):
        p99, worst = quantile(self.seconds, 0.99) * 1000, max(self.seconds, default=0) * 1000
        return f"{self.path}: {len(self.seconds)} asked, {self.failed} failed, p99 {p99:.1f} ms, worst {worst:.1f} ms"


class Check:
    """Collects what was to hold; the attack's exit status."""

    def __init__(self):
        self.failed = []

    def that(self, holds, rule):
        print(("holds: " if holds else "FAILS: ") + rule, flush=True)
        if not holds:
            self.failed.append(rule)

    def end(self):
        sys.exit(1 if self.failed else 0)
