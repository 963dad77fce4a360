"""Local stand-ins for stores, and a way to them that can be cut. Each listens on loopback and is ended by its own id."""

import base64
import contextlib
import email.utils
import hashlib
import hmac
import json
import os
import pathlib
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

PATIENCE = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def ask(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
    request = urllib.request.Request(url, body, headers or {}, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.read()


class Stand:
    """A server of a store."""

    def __init__(self, command: list, port: int, folder: pathlib.Path):
        self.command, self.port = [str(part) for part in command], port
        self.log = folder / f"{type(self).__name__}.log"
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        raise SystemExit(f"{self.command[0]} does not listen:\n{self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Moto(Stand):
    """S3 in memory; checks no signature."""

    def __init__(self, tools: dict, folder: pathlib.Path):
        import boto3  # in the environment of these scripts alone

        port = free_port()
        super().__init__([tools["bin"] / "moto_server", "-H", "127.0.0.1", "-p", port], port, folder)
        keys = {"aws_access_key_id": "any-key", "aws_secret_access_key": "any-secret", "region_name": "us-east-1"}
        self.client = boto3.client("s3", endpoint_url=self.url, **keys)
        self.client.create_bucket(Bucket="bucket")

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket="bucket", Key=key, Body=body)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket="bucket", Key=key)

    @staticmethod
    def environment(endpoint: str, key: str = "any-key", secret: str = "any-secret") -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
        }


class RcloneS3(Stand):
    """S3 over a folder; refuses keys and secrets other than its own. Cannot give parts of objects."""

    KEY, SECRET = "the-key", "the-right-secret"

    def __init__(self, tools: dict, folder: pathlib.Path):
        port = free_port()
        self.folder = folder / "rclone-s3"
        (self.folder / "bucket").mkdir(parents=True)
        command = [tools["bin"] / "rclone", "serve", "s3", "--auth-key", f"{self.KEY},{self.SECRET}"]
        super().__init__([*command, "--dir-cache-time", "0s", "--addr", f"127.0.0.1:{port}", self.folder], port, folder)

    def put(self, key: str, body: bytes) -> None:
        path = self.folder / "bucket" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


class FakeGcs(Stand):
    """Google Cloud Storage in memory."""

    def __init__(self, tools: dict, folder: pathlib.Path):
        port = free_port()
        here = f"127.0.0.1:{port}"
        command = [tools["gcs"], "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", port]
        super().__init__([*command, "-external-url", f"http://{here}", "-public-host", here], port, folder)
        ask("POST", f"{self.url}/storage/v1/b?project=p", b'{"name": "bucket"}')

    def put(self, key: str, body: bytes) -> None:
        name = key.replace("/", "%2F")
        ask("POST", f"{self.url}/upload/storage/v1/b/bucket/o?uploadType=media&name={name}", body)

    def environment(self) -> dict[str, str]:
        return {"GOOGLE_BASE_URL": self.url, "GOOGLE_SKIP_SIGNATURE": "true", "GOOGLE_ALLOW_HTTP": "true"}


class Azurite(Stand):
    """Azure's blobs; the account and its key are known to all."""

    ACCOUNT = "devstoreaccount1"
    KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    def __init__(self, tools: dict, folder: pathlib.Path):
        port = free_port()
        options = ["--blobHost", "127.0.0.1", "--blobPort", port, "--location", folder / "azurite"]
        options += ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        super().__init__([tools["npm"] / "azurite-blob", *options], port, folder)
        self.request("/bucket?restype=container", b"")

    def request(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        """A signed PUT."""
        resource, _, query = path.partition("?")
        headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"} | (headers or {})
        lines = [f"{name}:{value}" for name, value in sorted(headers.items())]
        length = str(len(body)) if body else ""
        signed = ["PUT", "", "", length, "", "application/octet-stream", "", "", "", "", "", "", *lines]
        signed.append(f"/{self.ACCOUNT}/{self.ACCOUNT}{resource}" + "".join(f"\n{it.replace('=', ':')}" for it in query.split("&") if it))
        digest = hmac.digest(base64.b64decode(self.KEY), "\n".join(signed).encode(), hashlib.sha256)
        authorization = f"SharedKey {self.ACCOUNT}:{base64.b64encode(digest).decode()}"
        headers |= {"Authorization": authorization, "Content-Type": "application/octet-stream", "Content-Length": str(len(body))}
        ask("PUT", f"{self.url}/{self.ACCOUNT}{path}", body, headers)

    def put(self, key: str, body: bytes) -> None:
        self.request(f"/bucket/{key}", body, {"x-ms-blob-type": "BlockBlob"})

    def environment(self) -> dict[str, str]:
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": self.ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": self.KEY,
            "AZURE_STORAGE_ENDPOINT": f"{self.url}/{self.ACCOUNT}",
            "AZURE_ALLOW_HTTP": "true",
        }


class WebDav(Stand):
    """A folder over WebDAV."""

    def __init__(self, tools: dict, folder: pathlib.Path):
        port = free_port()
        self.folder = folder / "webdav"
        self.folder.mkdir()
        command = [tools["bin"] / "rclone", "serve", "webdav", "--etag-hash", "MD5", "--dir-cache-time", "0s"]
        super().__init__([*command, "--addr", f"127.0.0.1:{port}", self.folder], port, folder)

    def put(self, key: str, body: bytes) -> None:
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    @staticmethod
    def environment() -> dict[str, str]:
        return {}


class Way:
    """A way to a stand that can be closed, or end after so many bytes of an answer. Notes the parts that are asked for."""

    def __init__(self, to: Stand):
        self.to, self.limit, self.is_open, self.bytes = to, None, True, 0
        self.ranges: list[str] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self.server.accept()
            try:
                if not self.is_open:
                    raise OSError("closed")
                far = socket.create_connection(("127.0.0.1", self.to.port), 5)
            except OSError:
                near.close()
                continue
            threading.Thread(target=self._carry, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, False), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, is_request: bool) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_request:
                    lines = data.decode("latin-1").split("\r\n")
                    self.ranges += [line[6:].strip() for line in lines if line.lower().startswith("range:")]
                else:
                    carried += len(data)
                    self.bytes += len(data)
                    if not self.is_open or (self.limit is not None and carried > self.limit):
                        # What comes next finds nobody.
                        self.is_open = False
                        break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Sconce:
    """The program, with a folder of its own that outlives it."""

    def __init__(self, program: pathlib.Path, state: pathlib.Path, models: str, environment: dict[str, str]):
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("SCONCE_", "AWS_"))}
        self.environment = plain | {"SCONCE_STATE_DIR": str(state)} | environment
        flags = ["--models", models, "--listen", "127.0.0.1:0", "--manage-listen", "127.0.0.1:0", "--log-format", "json"]
        flags += ["--set", "store.poll=1s", "--set", "shutdown.lame_duck=0s"]
        self.flags, self.state = flags, state
        self.log = state.parent / f"{state.name}.log"
        self.begun, self.skipped = time.monotonic(), self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([program, "serve", *flags], stdout=log, stderr=log, env=self.environment)
        self.addresses = self.until("listens", self._addresses)

    def text(self) -> str:
        return self.log.read_bytes()[self.skipped :].decode(errors="replace")

    def until(self, what: str, holds, seconds: float = PATIENCE):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := holds():
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"in vain: {what}; the log ends with\n{self.text()[-3000:]}")

    def _addresses(self):
        for line in self.text().splitlines():
            if '"sconce is listening"' in line:
                return json.loads(line)
        return None

    def ask(self, path: str, body: bytes | None = None, on: str = "http") -> tuple[int, dict]:
        request = urllib.request.Request(f"http://{self.addresses[on]}{path}", body)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def is_ready(self) -> bool:
        return self.ask("/health/ready")[0] == 200

    def version(self, model: str, sample: bytes) -> str | None:
        status, answer = self.ask(f"/predict/{model}", sample)
        return answer.get("version") if status == 200 else None

    def until_version(self, model: str, sample: bytes, version: str) -> str:
        """Waits for a version to answer; says whether it had to be ordered."""
        with contextlib.suppress(AssertionError):
            self.until("the watcher", lambda: self.version(model, sample) == version, 12)
            return "seen by itself"
        self.ask(f"/manage/models/{model}/reload", b"", "management")
        self.until(f"version {version} of {model} answers", lambda: self.version(model, sample) == version, 20)
        return "by an order to reload"

    def mirrored(self) -> pathlib.Path:
        [folder] = (self.state / "store").iterdir()
        return folder / "models"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self) -> float:
        """Seconds that its end took."""
        begun = time.monotonic()
        self.process.terminate()
        self.process.wait(PATIENCE)
        return time.monotonic() - begun
