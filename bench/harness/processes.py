"""Processes under test: started in sessions of their own, measured as trees, and always ended.

A child also dies with us when we are killed outright, by the kernel's own means.
"""

import contextlib
import ctypes
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

TICK = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 20
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class Failure(Exception):
    """Ends the run with one line."""


class Process:
    """A program under test. `address` is where it answers."""

    def __init__(self, name: str, command: list, log: pathlib.Path, **environment: str):
        self.name, self.log, self.address = name, log, ""
        self.began = time.monotonic()
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def stop(self) -> None:
        self.process.stdin.close()
        for sign, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
                break
        # What it left in its session ends too.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def wait_for_log(self, pattern: str, seconds: float) -> re.Match:
        """Reads what it prints until a line matches. The address stands there, since it chose the port."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = re.search(pattern, self.log.read_text(errors="replace"))
            if found:
                return found
            self._must_live()
            time.sleep(0.001)
        raise Failure(f"{self.name}: not started after {seconds} s, see {self.log}")

    def wait_ready(self, path: str, seconds: float, body: bytes | None = None, pause: float = 0.05) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, urllib.error.URLError):
                if self.ask(path, body)[0] == 200:
                    return
            self._must_live()
            time.sleep(pause)
        raise Failure(f"{self.name}: not ready after {seconds} s, see {self.log}")

    def ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, str]:
        request = urllib.request.Request(f"http://{self.address}{path}", body, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def _must_live(self) -> None:
        if self.process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise Failure(f"{self.name} ended with status {self.process.returncode}:\n{tail}")

    def cpu_seconds(self) -> float:
        """Processor time of all its processes that live."""
        total = 0
        for process in tree(self.process.pid):
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
                total += int(fields[11]) + int(fields[12])
        return total / TICK

    def memory(self) -> dict:
        """Resident memory of all its processes in MB: RssAnon + RssFile, and the share that is only theirs (PSS)."""
        totals = {"anon": 0, "file": 0, "pss": 0}
        for process in tree(self.process.pid):
            with contextlib.suppress(OSError):
                status = pathlib.Path(f"/proc/{process}/status").read_text()
                totals["anon"] += _kilobytes(status, "RssAnon")
                totals["file"] += _kilobytes(status, "RssFile")
                totals["pss"] += _kilobytes(pathlib.Path(f"/proc/{process}/smaps_rollup").read_text(), "Pss")
        megabytes = {name: round(kilobytes * 1024 / 1e6, 1) for name, kilobytes in totals.items()}
        return {**megabytes, "resident": round(megabytes["anon"] + megabytes["file"], 1)}


def tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, pending = [], [root]
    while pending:
        process = pending.pop()
        found.append(process)
        pending += children.get(process, [])
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _kilobytes(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def started(server: Process):
    try:
        yield server
    finally:
        server.stop()
