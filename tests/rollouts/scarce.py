"""Failures of what a new version needs: memory, a disk, a store."""

import contextlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import types

import common
import dav
import serving
from load import Load
from models import MANIFEST, Ballast, save, write
from reasons import RATE, Watch, put

sys.path.insert(0, str(common.ROOT / "tests/stores"))
import servers  # noqa: E402

ROOM = 256 << 20
# So many leave more events than fit into a page.
ORDERS = 100


@contextlib.contextmanager
def small_disk(size):
    """A file system of its own; None where this user may mount none."""
    with tempfile.TemporaryDirectory(prefix="sconce-disk-") as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True, check=False)
        if mounted.returncode:
            print(f"  left out, no disk can be mounted: {mounted.stderr.decode().strip()}")
            yield None
            return
        try:
            yield pathlib.Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder):
    """Takes all that is left of a small disk."""
    path = folder / "ballast"
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return path


def memory(program, check):
    """The memory does not suffice for a second version."""
    server, _ = serving.serve(program)
    with server:
        used = int(serving.total(server, "process_resident_memory_bytes"))
    # A file that has room in the memory of the process, and not in what is left of it.
    size = ROOM + used // 2 >> 20
    server, folder = serving.serve(program, limits__memory_bytes=used + ROOM, trial__memory_bytes="8GiB")
    with server:
        before = serving.Belongings(server)
        with Load(server, rate=RATE) as load:
            with Watch(server, check, "memory short", 2, "out_of_memory"):
                put(folder, 2, lambda path, _: write(path / "model.pt", Ballast(2, size)), None)
            shutil.rmtree(folder / "2")
            serving.until(lambda: not serving.model(server)["problem"], 30)
        print(f"  {load.told()}")
        check.that(load.is_good and set(load.answers) == {1}, "memory short: version 1 answers all requests")
        check.that(not before.left_behind(), f"memory short: nothing is left behind {before.left_behind()}")


def models_disk(program, check):
    """The disk of the models is full when a version is copied."""
    with small_disk("512k") as disk:
        if disk is None:
            return
        server = common.Server(program, models=disk)
        folder = disk / "m"
        folder.mkdir()
        (folder / "model.toml").write_text(MANIFEST)
        save(folder, 1)
        serving.until(lambda: serving.serves(server), 60)
        with server, tempfile.TemporaryDirectory() as scratch:
            write(pathlib.Path(scratch) / "model.pt", Ballast(2, 1))
            with Load(server, rate=RATE) as load:
                with Watch(server, check, "disk of the models full", 2, "not_a_model"):
                    (folder / "2").mkdir()
                    with contextlib.suppress(OSError):
                        shutil.copyfile(f"{scratch}/model.pt", folder / "2/model.pt")
                shutil.rmtree(folder / "2")
                save(folder, 3)
                is_up = serving.until(lambda: serving.model(server)["version"] == "3", 60)
            print(f"  {load.told()}")
            check.that(load.is_good and set(load.answers) <= {1, 3}, "disk of the models full: no request fails or is answered wrongly")
            check.that(is_up, "disk of the models full: with room again the next version serves")


def state_disk(program, check):
    """The disk of the state is full: nothing can be kept, and everything goes on."""
    with small_disk("512k") as disk:
        if disk is None:
            return
        state = disk / "state"
        server, folder = serving.serve(program, state_dir=state)
        with server:
            before = serving.Belongings(server, [disk])
            with Load(server, rate=RATE) as load:
                ballast = fill(disk)
                for version in (2, 3):
                    save(folder, version)
                    is_up = serving.until(lambda: serving.model(server)["version"] == str(version), 60)
                    check.that(is_up, f"disk of the state full: version {version} serves")
                warnings = serving.logged(server, "No space left")
                print(f"  {len(warnings)} lines of the log: {sorted({it['message'] for it in warnings})}")
                check.that(warnings, "disk of the state full: the log says so")
                answer = server.ask("POST", "/manage/models/m/versions/3/reject", on=server.management)
                # More events than fit behind the last one, into what the file has of the disk already.
                for _ in range(ORDERS):
                    serving.order(server, "versions/2/labels/full")
                went_back = serving.until(lambda: serving.model(server)["version"] == "2", 30)
                print(f"  an order meanwhile: {answer[0]} {answer[1][:200]}")
                check.that(went_back, "disk of the state full: going back is possible")
                problem = serving.model(server)["problem"]
                check.that("cannot be written down" in (problem or ""), f"disk of the state full: the state says so {problem}")
                ballast.unlink()
                last = serving.events(server)[-1]["id"]
                told = [it for it in serving.events(server) if "cannot be written down" in it["message"]]
                check.that(told, "disk of the state full: an event says so")
                # What bears a label stays.
                serving.managed(server, "/manage/models/m/labels/full", "DELETE")
                save(folder, 4)
                check.that(serving.until(lambda: serving.model(server)["version"] == "4", 60), "with room again version 4 serves")
            print(f"  {load.told()}")
            check.that(load.is_good, "disk of the state full: no request fails or is answered wrongly")
            check.that(not before.left_behind(), f"disk of the state full: nothing is left behind {before.left_behind()}")
            since = {event["id"] for event in serving.events(server, since=last)}
            server.process.kill()
            server.process.wait(30)
            with common.Server(program, f"state_dir={state}", models=server.models).ready() as again:
                lost = sorted(since - {event["id"] for event in serving.events(again)})
                check.that(since and not lost, f"disk of the state full: events with room again are kept {lost or ''}")
                rejected = [it["version"] for it in serving.model(again)["rejected"]]
                check.that(rejected in (["3"], [3]), f"disk of the state full: with room again the order is kept by the next change {rejected}")


class Stored(servers.Sconce):
    """A server whose models come from a store."""

    def __init__(self, program, folder, store, **settings):
        environment = {f"SCONCE_{key.upper()}": str(value) for key, value in settings.items()}
        super().__init__(program, folder / "state", store.url, environment)
        self.until("version 1 serves", lambda: self.told().get("version") == "1")

    def told(self):
        return self.ask("/manage/models/m", on="management")[1]

    def syncs(self, outcome):
        text = servers.ask("GET", f"http://{self.addresses['http']}/metrics").decode()
        return series(text, f'sconce_store_syncs_total{{outcome="{outcome}"}}')

    def stands(self):
        return types.SimpleNamespace(http=common.address(self.addresses["http"]))


def series(text, wanted):
    return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(wanted + " ")), 0.0)


@contextlib.contextmanager
def stored(program, **settings):
    with tempfile.TemporaryDirectory(prefix="sconce-store-") as scratch:
        scratch = pathlib.Path(scratch)
        store = dav.Store(scratch / "store")
        folder = store.folder / "models/m"
        folder.mkdir()
        (folder / "model.toml").write_text(MANIFEST)
        save(folder, 1)
        server = Stored(program, scratch, store, **settings)
        try:
            yield server, store, folder
        finally:
            server.kill()
            store.stop()


def problem_of_store(server, check, name):
    """Whether the trouble with a store shows wherever it should."""
    server.until("a look at the store fails", lambda: server.syncs("failed") >= 1)
    server.until("the log says so", lambda: "the store has a problem, what is here serves on" in server.text())
    # No model is to blame, so that none of them says so.
    kinds = lambda: [it["kind"] for it in server.ask("/manage/events", on="management")[1]["events"]]
    server.until("an event says so", lambda: "store_problem" in kinds())
    line = next(it for it in server.text().splitlines() if "the store has a problem" in it)
    print(f"  {line[:250]}")
    check.that(server.told()["version"] == "1", f"{name}: version 1 serves on, and log, metric and event say why")


def store_away(program, check):
    """The store is away."""
    with stored(program) as (server, store, folder):
        with Load(server.stands(), rate=RATE) as load:
            store.stop()
            problem_of_store(server, check, "store away")
            time.sleep(3)
            store.start()
            save(folder, 2)
            server.until("version 2 serves", lambda: server.told()["version"] == "2")
        print(f"  {load.told()}")
        check.that(load.is_good and set(load.answers) <= {1, 2}, "store away: no request fails or is answered wrongly, and version 2 comes with it")


def store_disk(program, check):
    """The disk for what comes from a store is full."""
    with small_disk("512k") as disk:
        if disk is None:
            return
        with stored(program, store__cache_dir=disk / "cache") as (server, _, folder):
            with Load(server.stands(), rate=RATE) as load:
                (folder / ".2").mkdir()
                write(folder / ".2/model.pt", Ballast(2, 1))
                (folder / ".2").rename(folder / "2")
                problem_of_store(server, check, "disk of the store's folder full")
                shutil.rmtree(folder / "2")
                save(folder, 3)
                server.until("version 3 serves", lambda: server.told()["version"] == "3")
            left = [str(it.relative_to(disk)) for it in disk.rglob("*") if it.is_file() and "staging" in it.parts]
            print(f"  {load.told()}")
            check.that(load.is_good and set(load.answers) <= {1, 3}, "disk of the store's folder full: no request fails or is answered wrongly")
            check.that(not left, f"disk of the store's folder full: nothing is left behind {left}")
