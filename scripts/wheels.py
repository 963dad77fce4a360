"""Python wheels by name: pinned, found through pip, fetched with resumption.

What belongs here: the pins (file name and SHA-256), the cache folder, the lock and the
download. What does not: what is done with a wheel once it is on the disk.

The one thing to know: no package index is named here. pip is asked where a wheel lies, so
that the user's own index, proxy and certificates are honored, and the download itself is ours,
because pip throws a half-finished file away and half a gigabyte should not be fetched twice.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import selectors
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import NamedTuple

CHUNK_BYTES = 1 << 20
ATTEMPTS = 6
# A connection that delivers nothing for so long is given up and resumed.
SILENCE_SECONDS = 30
LOCATE_SECONDS = 180
FALLBACK_SECONDS = 3600


class Failure(Exception):
    """Ends a script with one line instead of a traceback."""


class Wheel(NamedTuple):
    """One file of a package index; a platform-independent choice whatever Python the host has."""

    project: str
    version: str
    # (language tag)-(binary interface)-(platforms), as in the file's name.
    tags: str
    sha256: str

    @property
    def filename(self) -> str:
        return f"{self.project.replace('-', '_')}-{self.version}-{self.tags}.whl"

    def pip_arguments(self) -> list[str]:
        """How pip is told to pick exactly this file."""
        language, _, platforms = self.tags.split("-")
        arguments = ["--no-deps", "--only-binary=:all:", "--implementation", "cp"]
        for platform in platforms.split("."):
            arguments += ["--platform", platform]
        python = re.fullmatch(r"cp3(\d+)", language)
        if python:
            arguments += ["--python-version", f"3.{python[1]}"]
        return [*arguments, f"{self.project}=={self.version}"]


def torch(version: str, python: str) -> Wheel:
    """PyTorch's wheel, for example `torch("2.13.0", "cp312")`."""
    sha256 = _TORCH.get((version, python))
    if sha256 is None:
        known = ", ".join(f"{v} for {p}" for v, p in _TORCH)
        raise Failure(f"no pinned wheel of torch {version} for {python}, expected one of: {known}")
    return Wheel("torch", version, f"{python}-{python}-manylinux_2_28_x86_64", sha256)


_TORCH = {
    ("2.13.0", "cp311"): "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7",
    ("2.13.0", "cp312"): "796633c4cdf0fe2cdced72d8f88f22e73dbcfce83132763162f6d4bff13b820b",
    ("2.13.0", "cp313"): "a3a9a21312872af8a26950b2c15680335a386a1f56ed03e780653d78b9607e9e",
    ("2.13.0", "cp314"): "49f1ea385c754e54919408a9bb3b5a72b0b755bbe2c916c1d6f70afbec4908a2",
    ("2.11.0", "cp312"): "0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756",
}

# The two CUDA libraries that `libtorch_cpu.so` of 2.11 and of 2.13 itself asks for.
CUDA_RUNTIME = Wheel(
    "nvidia-cuda-runtime",
    "13.0.96",
    "py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64",
    "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
)
CUDA_CUPTI = Wheel(
    "nvidia-cuda-cupti",
    "13.0.85",
    "py3-none-manylinux_2_25_x86_64",
    "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
)


def cache_folder() -> pathlib.Path:
    """`SCONCE_CACHE`, or the user's cache folder."""
    chosen = os.environ.get("SCONCE_CACHE")
    folder = pathlib.Path(chosen) if chosen else pathlib.Path.home() / ".cache" / "sconce"
    return folder.expanduser().absolute()


@contextlib.contextmanager
def locked():
    """One process at a time fills the cache. The lock goes with its holder, however that one ends."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "setup.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is filling the cache: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def sha256_of(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def check_sha256(path: pathlib.Path, expected: str) -> None:
    """Removes a file with the wrong content, so that the next run does not meet it again."""
    found = sha256_of(path)
    if found != expected:
        path.unlink()
        raise Failure(f"{path.name} has SHA-256 {found}, expected {expected}: it was removed")


def fetch(wheel: Wheel) -> pathlib.Path:
    """The wheel's path in the cache, downloaded if it is not there. Call it under `locked`."""
    folder = cache_folder() / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / wheel.filename
    if not path.exists():
        part = path.with_name(path.name + ".part")
        url = _locate(wheel)
        if not (url and _download(url, part)):
            say(f"{wheel.filename}: cannot be fetched in resumable steps, leaving it to pip")
            _download_by_pip(wheel, part)
        check_sha256(part, wheel.sha256)
        part.rename(path)
    else:
        check_sha256(path, wheel.sha256)
    return path


def _locate(wheel: Wheel) -> str | None:
    """The wheel's address, read from pip's own account of its search.

    NOTE: `pip install --dry-run --report` would be the documented way, but pip 23.0 of Debian 12
    downloads the whole file for it. The search's log names the address in all pips since 20; pip
    is stopped as soon as the line is there. When a pip words it otherwise, `fetch` falls back.
    """
    scratch = cache_folder() / "downloads" / ".locate"
    command = [sys.executable, "-m", "pip", "download", "-vvv", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--dest", str(scratch), *wheel.pip_arguments()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + LOCATE_SECONDS
    found = None
    try:
        for line in _lines_until(process, deadline):
            link = re.search(r"Found link (\S+)", line)
            # An address with credentials is printed with stars in their place: pip must do that.
            if link and link[1].split("#")[0].endswith("/" + wheel.filename) and "****" not in link[1]:
                found = link[1].split("#")[0]
                break
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(scratch, ignore_errors=True)
    return found


def _lines_until(process: subprocess.Popen, deadline: float):
    """The process's lines; ends at its end or at the deadline, even when it says nothing."""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        pending = b""
        while (left := deadline - time.monotonic()) > 0 and selector.select(left):
            block = os.read(process.stdout.fileno(), 1 << 16)
            if not block:
                return
            *lines, pending = (pending + block).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace")


def _download(url: str, part: pathlib.Path) -> bool:
    """Appends to `part` what is missing of it. False when the address cannot be read at all."""
    opener = _opener()
    for attempt in range(ATTEMPTS):
        have = part.stat().st_size if part.exists() else 0
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
        try:
            with opener.open(request, timeout=SILENCE_SECONDS) as response:
                resumed = response.status == 206
                total = (have if resumed else 0) + int(response.headers.get("Content-Length", 0))
                progress = Progress(part.name.removesuffix(".part"), have if resumed else 0, total)
                with open(part, "ab" if resumed else "wb") as file:
                    while chunk := response.read(CHUNK_BYTES):
                        file.write(chunk)
                        progress.add(len(chunk))
                progress.end()
                if total == 0 or part.stat().st_size >= total:
                    return True
                say(f"{part.name}: the connection ended early, resuming")
        except urllib.error.HTTPError as error:
            if error.code == 416:
                # All of it was there already, or it is too long: the digest will tell.
                return True
            say(f"{part.name}: the index answered {error.code}")
            if error.code < 500:
                return False
        except (OSError, ValueError) as error:
            say(f"{part.name}: {error}")
        time.sleep(min(2**attempt, 15))
    return False


def _opener() -> urllib.request.OpenerDirector:
    """Python's own client with pip's certificates and proxy where pip was given any."""
    import ssl

    handlers: list[urllib.request.BaseHandler] = []
    certificates = _pip_setting("cert")
    if certificates:
        with contextlib.suppress(OSError, ssl.SSLError):
            context = ssl.create_default_context()
            context.load_verify_locations(certificates)
            handlers.append(urllib.request.HTTPSHandler(context=context))
    proxy = _pip_setting("proxy")
    if proxy:
        handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    return urllib.request.build_opener(*handlers)


def _pip_setting(name: str) -> str | None:
    value = os.environ.get(f"PIP_{name.upper()}")
    if value:
        return value
    command = [sys.executable, "-m", "pip", "config", "get", f"global.{name}"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def _download_by_pip(wheel: Wheel, part: pathlib.Path) -> None:
    scratch = part.parent / ".by-pip"
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
    command += ["--dest", str(scratch), *wheel.pip_arguments()]
    try:
        subprocess.run(command, check=True, timeout=FALLBACK_SECONDS, stdout=sys.stderr)
        (scratch / wheel.filename).replace(part)
    except (subprocess.SubprocessError, OSError) as error:
        raise Failure(f"pip could not fetch {wheel.filename}: {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class Progress:
    """One line that is written over on a terminal; elsewhere a line for every quarter of a big file."""

    BIG_BYTES = 100_000_000

    def __init__(self, name: str, have: int, total: int):
        self.name, self.done, self.total = name, have, total
        self.started, self.first = time.monotonic(), have
        self.terminal = sys.stderr.isatty()
        self.shown = 0.0 if self.terminal else float(have * 4 // total if total else 0)

    def add(self, n_bytes: int) -> None:
        self.done += n_bytes
        now = time.monotonic()
        quarter = self.done * 4 // self.total if self.total else 0
        if self.terminal and now - self.shown > 0.2:
            self.shown = now
            print(f"\r{self._line()}\033[K", end="", file=sys.stderr, flush=True)
        elif not self.terminal and self.total > self.BIG_BYTES and quarter > self.shown:
            self.shown = quarter
            say(self._line())

    def end(self) -> None:
        if self.terminal:
            say(f"\r{self._line()}\033[K")
        elif self.total <= self.BIG_BYTES:
            say(self._line())

    def _line(self) -> str:
        elapsed = max(time.monotonic() - self.started, 1e-3)
        rate = (self.done - self.first) / elapsed / 1e6
        whole = f" of {self.total / 1e6:.0f} MB, {self.done * 100 // self.total} %" if self.total else " MB"
        return f"  {self.name}: {self.done / 1e6:.0f}{whole}, {rate:.1f} MB/s"


def run(main) -> None:
    """Runs a script's `main`; a failure is one line and exit code 1."""
    try:
        main()
    except Failure as failure:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {failure}")
    except KeyboardInterrupt:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: interrupted; the next run goes on from here")
