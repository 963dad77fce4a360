"""The machine and the programs that were measured, so that a result can be judged later."""

import os
import pathlib
import platform
import subprocess


def describe(root: pathlib.Path, server: pathlib.Path) -> dict:
    return {
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(_field("/proc/meminfo", "MemTotal").split()[0]) / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "server": _line([server, "--version"]),
        "commit": _line(["git", "-C", root, "describe", "--always", "--dirty"]),
        "load_at_start": os.getloadavg()[0],
    }


def busy_cores(seconds_before: tuple[float, float], seconds_after: tuple[float, float]) -> float:
    """Share of the processor time of all cores that was used between two readings, by anybody."""
    total = seconds_after[1] - seconds_before[1]
    return (seconds_after[0] - seconds_before[0]) / total if total else 0.0


def processor_time() -> tuple[float, float]:
    """Ticks in use and ticks in all, of all cores since the machine started."""
    fields = [int(v) for v in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


def _field(path: str, name: str) -> str:
    for line in pathlib.Path(path).read_text().splitlines():
        if line.startswith(name):
            return line.split(":", 1)[1].strip()
    return "unknown"


def _line(command: list) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except OSError:
        return "unknown"
    return (answer.stdout.splitlines() or ["unknown"])[0]
