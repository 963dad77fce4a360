#!/usr/bin/env python3
"""Makes the Python environment of the references and the plots, and prints its python's path.

Its packages are pinned in requirements.txt; torch is that of scripts/python-env, by a path file, so
that nothing big is installed twice. Run it with any Python 3.11 or newer.
"""

import hashlib
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import wheels  # noqa: E402

REQUIREMENTS = pathlib.Path(__file__).with_name("requirements.txt")
SECONDS = 1800


def main() -> None:
    torch_python = pathlib.Path(
        subprocess.run([ROOT / "scripts" / "python-env"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    )
    folder = wheels.cache_folder() / "bench" / "python"
    python, stamp = folder / "bin" / "python", folder / "stamp"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + str(torch_python).encode()).hexdigest()
    with wheels.locked():
        if not stamp.exists() or stamp.read_text() != wanted:
            make(folder, python, torch_python)
            stamp.write_text(wanted)
    print(python)


def make(folder: pathlib.Path, python: pathlib.Path, torch_python: pathlib.Path) -> None:
    wheels.say(f"making the references' Python environment in {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    # Of the same Python as torch was made for.
    subprocess.run([torch_python, "-m", "venv", folder], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*install, "--requirement", REQUIREMENTS], check=True, timeout=SECONDS)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = pathlib.Path(output(python, ask))
    (own / "torch-from-elsewhere.pth").write_text(output(torch_python, ask) + "\n")
    subprocess.run([python, "-c", "import torch, flask, fastapi, matplotlib"], check=True)


def output(python: pathlib.Path, code: str) -> str:
    return subprocess.run([python, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


wheels.run(main)
