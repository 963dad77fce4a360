"""What the attacks share: a server of their own, bare sockets, HTTP/2 frames by hand, figures.

Nothing but the standard library. Every wait has an end.
"""

import collections
import contextlib
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "models"
FIXTURES = ROOT / "tests/fixtures/models"

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4

PATIENCE = 60


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def get_head(path=b"/livez"):
    """The header block of a GET, without Huffman coding or the dynamic table."""
    return b"\x82\x86\x04" + bytes([len(path)]) + path + b"\x01\x01a"


HELLO = PREFACE + frame(SETTINGS)


def environment(variables=None):
    """What the program is started with: nothing that this run was told, and these."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SCONCE_", "OTEL_"))}
    return inherited | (variables or {})


class Server:
    """The program, on ports of its own, with a state folder of its own.

    `models` is a folder of models, or a list of folders of one model each, which are copied. With `wait`: until it listens.
    `variables` are those of the environment that it has beside the usual ones.
    """

    def __init__(self, program, *settings, models=(), stderr=None, wait=True, variables=None):
        self.folder = tempfile.TemporaryDirectory(prefix="sconce-attack-")
        root = pathlib.Path(self.folder.name)
        self.models = pathlib.Path(models) if isinstance(models, (str, os.PathLike)) else root / "models"
        if self.models == root / "models":
            self.models.mkdir()
            for model in models:
                shutil.copytree(model, self.models / pathlib.Path(model).name)
        command = [program, "serve", "--models", str(self.models), "--listen", "127.0.0.1:0"]
        command += ["--manage-listen", "127.0.0.1:0", "--log-format", "json"]
        for setting in (f"state_dir={root / 'state'}", *settings):
            command += ["--set", setting]
        # The last lines of its log.
        self.log = collections.deque(maxlen=1000)
        self.addresses = {}
        self.is_listening = threading.Event()
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=stderr or subprocess.PIPE, env=environment(variables)
        )
        if stderr is None:
            threading.Thread(target=self._read, daemon=True).start()
            if wait and not self.is_listening.wait(PATIENCE):
                self.process.kill()
                raise SystemExit(f"the server does not listen:\n{self.last_words()}")

    def _read(self):
        for line in self.process.stderr:
            with contextlib.suppress(ValueError):
                line = json.loads(line)
                self.log.append(line)
                if line.get("message") == "sconce is listening":
                    self.addresses = {name: address(line[name]) for name in ("http", "management")}
                    self.is_listening.set()

    def last_words(self):
        return "\n".join(json.dumps(line) for line in list(self.log)[-20:])

    def ready(self, seconds=120):
        """The server itself, as soon as it is ready."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.is_alive():
            if self.ask("GET", "/readyz")[0] == 200:
                return self
            time.sleep(0.05)
        raise SystemExit(f"the server is not ready:\n{self.last_words()}")

    def find(self):
        """The addresses of a server whose log nobody reads, from the sockets that it listens on."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            ports = listening_ports(self.process.pid)
            if len(ports) >= 2:
                self.addresses = {"ports": [("127.0.0.1", port) for port in ports]}
                return self.addresses["ports"]
            time.sleep(0.05)
        raise SystemExit("the server does not listen")

    @property
    def http(self):
        return self.addresses["http"]

    @property
    def management(self):
        return self.addresses["management"]

    @property
    def port(self):
        return self.http[1]

    def ask(self, method, path, body=None, on=None, patience=PATIENCE):
        """Status and body of an answer; status 0 where there is none. A body that is no bytes is made JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        connection = HTTPConnection(*(on or self.http), timeout=patience)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError as error:
            return 0, repr(error).encode()
        finally:
            connection.close()

    def is_alive(self):
        return self.process.poll() is None

    def memory(self):
        """Bytes that are its own and resident."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", status)[1]) << 10

    def metric(self, series):
        return metric(self.management, series)

    def cpu_seconds(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self, patience=PATIENCE):
        """The exit status; None if it does not end."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            return None

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Probe:
    """Asks for a path on new connections all the time, and remembers how long each answer took.

    In a process of its own: the threads of one Python process wait for each other, which is not the server's doing.
    """

    def __init__(self, server, path="/livez", on=None, every=0.01):
        self.server, self.path, self.on, self.every = server, path, on, every
        self.seconds, self.failed = [], 0
        self._ending = multiprocessing.Event()
        self._receiver, self._sender = multiprocessing.Pipe(duplex=False)
        self._process = multiprocessing.Process(target=self._run, daemon=True)

    def _run(self):
        seconds, failed = [], 0
        while not self._ending.wait(self.every):
            begun = time.monotonic()
            status, _ = self.server.ask("GET", self.path, on=self.on, patience=30)
            seconds.append(time.monotonic() - begun)
            failed += status != 200
        self._sender.send((seconds, failed))

    def __enter__(self):
        self._process.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        if self._receiver.poll(40):
            self.seconds, self.failed = self._receiver.recv()
        else:
            self.failed += 1
        self._process.kill()

    def __str__(self):
        return f"{self.path}: {len(self.seconds)} asked, {self.failed} failed, {milliseconds(self.seconds)}"


class Check:
    """Collects what was to hold."""

    def __init__(self):
        self.failures = []

    def that(self, holds, rule):
        print(("holds: " if holds else "FAILS: ") + rule, flush=True)
        if not holds:
            self.failures.append(rule)

    def end(self):
        end(self.failures)


def listening_ports(pid):
    inodes = set()
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                link = os.readlink(f"/proc/{pid}/fd/{fd}")
                if link.startswith("socket:["):
                    inodes.add(link[8:-1])
    ports = []
    for line in open("/proc/net/tcp").read().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and fields[9] in inodes:
            ports.append(int(fields[1].split(":")[1], 16))
    return ports


def address(text):
    text = text.removeprefix("http://").rstrip("/")
    host, port = text.rsplit(":", 1)
    return host, int(port)


def connect(to, patience=PATIENCE, source=None):
    connection = socket.create_connection(to, timeout=patience, source_address=source)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def request(path="/livez", *lines):
    return "".join(f"{line}\r\n" for line in (f"GET {path} HTTP/1.1", "Host: localhost", *lines, "")).encode()


def answer(connection):
    """One answer with a Content-Length: status, head, body. Raises ConnectionError where none comes."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionResetError("closed without an answer")
        data += piece
    head, body = data.split(b"\r\n\r\n", 1)
    lines = head.decode("latin-1").lower().split("\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
    while len(body) < length:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionResetError("closed within an answer")
        body += piece
    return int(lines[0].split()[1]), "\n".join(lines), body


def get(to, path="/livez", patience=PATIENCE):
    with connect(to, patience) as connection:
        connection.sendall(request(path, "Connection: close"))
        return answer(connection)


def metric(to, series):
    with connect(to) as connection:
        connection.sendall(request("/metrics", "Connection: close"))
        text = b""
        while piece := connection.recv(65536):
            text += piece
    for line in text.decode().splitlines():
        if line.startswith(series + " "):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def closed(reason, listener="http"):
    return f'sconce_http_connections_closed_total{{listener="{listener}",reason="{reason}"}}'


def is_open(connection):
    """Whether the server has left the connection open; what it sent is thrown away."""
    connection.setblocking(False)
    try:
        while True:
            if not connection.recv(65536):
                return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def milliseconds(values):
    return ", ".join(
        f"{name} {percentile(values, share) * 1000:.2f} ms"
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    )


def end(failures):
    """Says what failed, and ends with the status for it."""
    for failure in failures:
        print("FAILED:", failure)
    sys.exit(1 if failures else 0)
