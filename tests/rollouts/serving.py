"""A server with one model, what it says of itself, and what it leaves behind."""

import contextlib
import json
import os
import pathlib
import re
import time

import common
import models


def serve(program, manifest="", faults=None, **settings):
    """A server whose model `m` serves version 1, and the model's folder. Two underscores stand for the dot of a key."""
    server = common.Server(program, *given(settings))
    folder = server.models / "m"
    folder.mkdir()
    (folder / "model.toml").write_text(models.MANIFEST + manifest)
    models.save(folder, 1, **(faults or {}))
    server.ask("POST", "/manage/models/m/reload", on=server.management)
    if until(lambda: serves(server), 60) is None:
        raise SystemExit(f"version 1 does not serve: {model(server)['problem']}\n{server.last_words()}")
    return server, folder


def given(settings):
    return [f"{key.replace('__', '.')}={value}" for key, value in settings.items()]


def serves(server):
    return server.ask("GET", "/v2/models/m/ready")[0] == 200


def until(what, seconds=120):
    """What it gives as soon as that is something; None where it takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.1)
    return None


def managed(server, path, method="GET"):
    for _ in range(50):
        status, body = server.ask(method, path, on=server.management)
        # What else changes the model just now, such as a look at its folder, comes first.
        if status != 409 or b"changed already" not in body:
            break
        time.sleep(0.2)
    if status != 200:
        raise SystemExit(f"{method} {path}: {status} {body[:300]}\n{server.last_words()}")
    return json.loads(body)


def model(server):
    return managed(server, "/manage/models/m")


def version(server, number):
    """What is told of one version."""
    return next((it for it in model(server)["versions"] if it["version"] == str(number)), {})


def rollout(server):
    return managed(server, "/manage/models/m/rollout")["rollout"]


def order(server, what):
    return managed(server, f"/manage/models/m/{what}", "POST")


def events(server, kind=None, since=0):
    found = managed(server, f"/manage/events?since={since}")["events"]
    return [event for event in found if kind in (None, event["kind"])]


def ended(server):
    """The events that end a roll-out."""
    return events(server, "rollout_rolled_back") + events(server, "rollout_promoted")


def total(server, family, **labels):
    """A counter or gauge, all of its series together that have these labels."""
    found = 0.0
    for line in server.ask("GET", "/metrics", on=server.management)[1].decode().splitlines():
        if re.match(re.escape(family) + r"[ {]", line) and all(f'{key}="{value}"' in line for key, value in labels.items()):
            found += float(line.rsplit(" ", 1)[1])
    return found


def logged(server, words, levels=("ERROR", "WARN")):
    """The lines of the log with these words."""
    return [line for line in list(server.log) if line.get("level") in levels and words in json.dumps(line, ensure_ascii=False)]


def children(pid, living=True):
    """Processes whose parent this is: those that run, or those that have ended and that nobody waited for."""
    pids = [int(it.name) for it in pathlib.Path("/proc").iterdir() if it.name.isdigit()]
    return [it for it in pids if (found := state(it)) and found[1] == pid and (found[0] != "Z") == living]


def alive(pids):
    return [it for it in pids if (found := state(it)) and found[0] != "Z"]


def state(pid):
    """A process's state in a letter, and its parent; None where there is no such process."""
    with contextlib.suppress(OSError):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return fields[0], int(fields[1])
    return None


def descriptors(pid):
    """What its open descriptors lead to. Sockets have no names that last."""
    found = []
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(re.sub(r"\[?\d+\]?$", "", os.readlink(entry)))
    return sorted(found)


class Belongings:
    """What a server has when all is quiet, to be held against what it has later."""

    def __init__(self, server, folders=()):
        self.server, self.folders = server, [server.folder.name, *map(str, folders)]
        self.before = self.now()
        time.sleep(2)
        self.before = self.now()

    def now(self):
        pid = self.server.process.pid
        return {
            "children": len(children(pid)),
            "ended children that nobody waited for": len(children(pid, living=False)),
            "threads": len(os.listdir(f"/proc/{pid}/task")),
            "descriptors": len(descriptors(pid)),
            "files half written": drafts(self.folders),
        }

    def left_behind(self, seconds=20):
        """What there is now and was not before, once it had some time to go; an empty text where it is nothing."""
        until(lambda: not self._more(), seconds)
        return self._more()

    def _more(self):
        after = self.now()
        return "; ".join(f"{what}: {self.before[what]} before, {after[what]} after" for what in after if after[what] > self.before[what])


def drafts(folders):
    """Files that are half of something."""
    found = []
    for folder in folders:
        for path, _, files in os.walk(folder):
            found += [os.path.join(path, it) for it in files if it.endswith((".tmp", ".part", ".draft"))]
    return sorted(found)
