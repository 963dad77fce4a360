"""Version after version, by the folder alone, under half of the load that the machine can bear."""

import pathlib
import shutil
import tempfile
import time

import serving
from load import Load, capacity
from models import prepare

QUIET_SECONDS = 20
# Memory grows until each thread has what it needs for a swap.
SETTLED_AFTER = 10


def swaps(program, check):
    n = 20 if check.is_quick else 200
    server, folder = serving.serve(program)
    with server, tempfile.TemporaryDirectory(prefix="sconce-swaps-") as scratch:
        prepared = {version: prepare(scratch, version) for version in range(2, n + 2)}
        most = capacity(server)
        print(f"  capacity {most:.0f} requests/s", flush=True)
        memory = [server.memory()]
        with Load(server, rate=most / 2) as load:
            begun = time.monotonic()
            time.sleep(QUIET_SECONDS)
            quiet = (begun + 1, time.monotonic())
            for version, path in prepared.items():
                # Beside the models first, hidden, since the folders may lie on two file systems.
                draft = folder / f".{version}.tmp"
                shutil.copytree(path, draft)
                draft.rename(folder / str(version))
                if serving.until(lambda: serving.model(server)["version"] == str(version), 60) is None:
                    check.that(False, f"version {version} serves: {serving.model(server)['problem']}")
                    break
                shutil.rmtree(folder / str(version - 1))
                memory.append(server.memory())
            busy = (quiet[1], time.monotonic())
        took, settled = busy[1] - busy[0], memory[min(SETTLED_AFTER, len(memory) - 1)]
        calm, meanwhile = load.p99(*quiet), load.p99(*busy)
        print(f"  {len(memory) - 1} swaps in {took:.0f} s: {load.told()}")
        print(f"  p99 quiet {calm:.2f} ms, meanwhile {meanwhile:.2f} ms, {meanwhile / calm:.2f} times")
        mebibytes = [f"{it / (1 << 20):.0f} MiB {when}" for it, when in [(memory[0], "before"), (settled, f"after {SETTLED_AFTER}"), (memory[-1], "after all")]]
        print(f"  memory {', '.join(mebibytes)}", flush=True)
        check.that(load.is_good, "no request fails or is answered wrongly")
        check.that(set(load.answers) == set(range(1, len(memory) + 1)), "every version has answered")
        check.that(memory[-1] <= settled * 1.1, "memory after all swaps is at most a tenth above that after the first ten")
        if not check.is_quick:
            check.that(meanwhile <= 2 * calm, "p99 meanwhile is at most twice that of quiet time")
        left = [str(it) for it in pathlib.Path(folder).iterdir() if it.name.startswith(".")]
        check.that(not left, f"nothing is left in the folder {left or ''}")
