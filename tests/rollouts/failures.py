"""What can go wrong with a new version: the old one serves on, everything says why, and nothing is left behind."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import tempfile
import time

import common
import scarce
import serving
from load import Load
from models import Endless, Greedy, Scores, write
from reasons import RATE, Watch, put

BROKEN = common.ROOT / "tests/fixtures/broken"


def failures(program, check):
    bad_versions(program, check)
    for scene in [stalled_copy, hang_in_verification, scarce.memory, scarce.models_disk, scarce.state_disk, scarce.store_away, scarce.store_disk]:
        print(f"-- {scene.__doc__.splitlines()[0]}", flush=True)
        scene(program, check)


# What is put into the folder of a version, and what the metrics then call the failure.


def changed(path, content):
    path.joinpath("model.pt").write_bytes(content)


def corrupt(path, whole):
    changed(path, whole[:200] + b"x" * 50 + whole[250:])


def half_copied(path, whole):
    changed(path, whole[: len(whole) // 2])


def no_model(path, _):
    changed(path, b"nothing")


def wrong_digest(path, whole):
    changed(path, whole)
    path.joinpath("SHA256SUMS").write_text("0" * 64 + "  model.pt\n")


def golden_miss(path, _):
    write(path / "model.pt", Scores(number(path)))
    golden = {"request": {"features": [0.1, 0.2, 0.9, 0.4]}, "expected": [9.0, 9.0]}
    path.joinpath("golden.jsonl").write_text(json.dumps(golden) + "\n")


def crash(path, _):
    changed(path, (BROKEN / "deep_code.pt").read_bytes())


def hang_in_load(path, _):
    changed(path, (BROKEN / "hang.pt").read_bytes())


def hang_in_forward(path, _):
    write(path / "model.pt", Endless(number(path)))


def too_much_memory(path, _):
    write(path / "model.pt", Greedy(number(path), 8192))


def leads_out(path, _):
    path.joinpath("model.pt").symlink_to("/etc/hostname")


def number(path):
    return int(path.name.strip("."))


CASES = [
    ("corrupt file", corrupt, "damaged"),
    ("half-copied file", half_copied, "not_a_model"),
    ("no model", no_model, "not_a_model"),
    ("wrong digest", wrong_digest, "digest"),
    ("golden miss", golden_miss, "verification"),
    ("crash in the trial", crash, "crashed"),
    ("hang in the trial, in its load", hang_in_load, "timed_out"),
    ("hang in the trial, in forward", hang_in_forward, "timed_out"),
    ("memory short in the trial", too_much_memory, "out_of_memory"),
    ("a link that leads out", leads_out, "outside"),
]


# SIGKILL is what the kernel ends it with when there is no memory left.
KILLS = [(signal.SIGABRT, "crashed"), (signal.SIGKILL, "out_of_memory")]


def bad_versions(program, check):
    with private_folder() as scratch:
        server, folder = serving.serve(program, trial__timeout="5s", trial__memory_bytes="2GiB")
        with server:
            whole = (folder / "1/model.pt").read_bytes()
            before = serving.Belongings(server, [scratch])
            with Load(server, rate=RATE) as load:
                for version, (name, make, reason) in enumerate(CASES, 2):
                    with Watch(server, check, name, version, reason):
                        put(folder, version, make, whole)
                    shutil.rmtree(folder / str(version))
                    check.that(serving.until(lambda: not serving.model(server)["problem"], 30), f"{name}: without it all is well again")
                gone(server, folder, check)
                for version, (kill, reason) in enumerate(KILLS, len(CASES) + 2):
                    killed_trial(server, folder, check, version, kill, reason)
            print(f"  {load.told()}")
            check.that(load.is_good, "no request fails or is answered wrongly")
            check.that(set(load.answers) <= {1, len(CASES) + 3}, "version 1 answers them all, until a good one is there")
            check.that(not before.left_behind(), f"nothing is left behind {before.left_behind()}")
            check.that(not os.listdir(scratch), f"no temporary files are left {os.listdir(scratch)}")


@contextlib.contextmanager
def private_folder():
    """A folder for temporary files of the server alone, so that all that is left there is its own."""
    given = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="sconce-own-") as scratch:
        os.environ["TMPDIR"] = scratch
        try:
            yield scratch
        finally:
            os.environ.pop("TMPDIR") if given is None else os.environ.update(TMPDIR=given)


def killed_trial(server, folder, check, version, kill, reason):
    """The trial of a version is ended from outside while it runs."""
    name = f"{kill.name} in the trial"
    with Watch(server, check, name, version, reason):
        # Good, and slow enough to be met.
        put(folder, version, lambda path, _: write(path / "model.pt", Scores(version, rounds=3000)), None)
        serving.until(lambda: serving.version(server, version).get("state") == "loading", 20)
        time.sleep(0.2)
        for child in serving.children(server.process.pid):
            if b"engine-child" in pathlib.Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(child, kill)
    if kill == signal.SIGKILL:
        # The machine may have been the reason, so it is tried again after a minute.
        is_up = serving.until(lambda: serving.version(server, version).get("state") == "ready", 100)
        check.that(is_up, f"{name}: the version is tried again by itself")
    shutil.rmtree(folder / str(version))
    serving.until(lambda: not serving.model(server)["problem"], 30)


def gone(server, folder, check):
    before, since = serving.total(server, "sconce_events_total", kind="model_problem"), serving.events(server)[-1]["id"]
    away = folder.with_name(".away")
    folder.rename(away)
    found = serving.until(lambda: "gone" in (serving.model(server)["problem"] or ""), 20)
    is_told = serving.events(server, "model_problem", since) and serving.logged(server, "folder is gone")
    is_counted = serving.total(server, "sconce_events_total", kind="model_problem") > before
    check.that(found and is_told and is_counted and serving.model(server)["version"] == "1", "folder gone: version 1 serves on, and the reason is told")
    away.rename(folder)
    check.that(serving.until(lambda: not serving.model(server)["problem"], 20), "folder gone: when it is back all is well again")


def stalled_copy(program, check):
    """A version is copied in place, and the copy stalls for a while."""
    server, folder = serving.serve(program)
    with server, tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "model.pt"
        write(path, Scores(2))
        whole = path.read_bytes()
        with Load(server, rate=RATE) as load:
            with Watch(server, check, "a copy that stalls", 2, "not_a_model"):
                (folder / "2").mkdir()
                half_copied(folder / "2", whole)
            with open(folder / "2/model.pt", "ab") as file:
                file.write(whole[len(whole) // 2 :])
            is_up = serving.until(lambda: serving.model(server)["version"] == "2", 30)
        print(f"  {load.told()}")
        check.that(is_up and not serving.model(server)["problem"], "a copy that stalls: when it is whole the version serves")
        check.that(load.is_good and set(load.answers) <= {1, 2}, "a copy that stalls: no request fails or is answered wrongly")


def hang_in_verification(program, check):
    """Versions that pass their trial and hang on a golden request, one for each core and one more."""
    bound, n = 1e6, len(os.sched_getaffinity(0)) + 1
    server, folder = serving.serve(program, requests__timeout="3s", limits__stuck_grace="1s")
    golden = {"request": {"features": [0.1, 0.2, 0.3, 2 * bound]}, "expected": [0.0, 0.0]}

    def make(path, _):
        write(path / "model.pt", Endless(number(path), bound))
        (path / "golden.jsonl").write_text(json.dumps(golden) + "\n")

    with server:
        with Load(server, rate=RATE) as load:
            for version in range(2, n + 2):
                with Watch(server, check, f"hang in the verification, {version - 1} of {n}", version, "verification"):
                    put(folder, version, make, None)
                shutil.rmtree(folder / str(version))
                time.sleep(3)
        print(f"  {load.told()}")
        check.that(load.is_good and set(load.answers) == {1}, "hang in the verification: version 1 answers all requests")
        check.that(server.ask("POST", "/predict/m", {"features": [0.1] * 4})[0] == 200, "hang in the verification: and those behind")
