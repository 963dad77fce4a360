"""Whether a server says, in all the places where one would look, why a version does not serve."""

import json

import serving

# Requests a second while it fails.
RATE = 50


def put(folder, number, make, whole):
    """A folder with what is bad, moved in at once."""
    draft = folder / f".{number}"
    draft.mkdir()
    make(draft, whole)
    draft.rename(folder / str(number))


class Watch:
    """A version that is put into the folder within the context must fail, and everything must say why."""

    def __init__(self, server, check, name, number, reason):
        self.server, self.check, self.name, self.number, self.reason = server, check, name, number, reason

    def __enter__(self):
        self.since = max([event["id"] for event in serving.events(self.server)], default=0)
        self.before = self.counted()
        return self

    def counted(self):
        return [serving.total(self.server, "sconce_load_failures_total", reason=self.reason), serving.total(self.server, "sconce_events_total", kind="version_failed")]

    def event(self):
        found = serving.events(self.server, "version_failed", self.since)
        return next((it for it in found if it["version"] == str(self.number)), None)

    def __exit__(self, kind, *_):
        if kind:
            return
        event = serving.until(self.event, 60)
        told = serving.until(lambda: (it := serving.model(self.server))["problem"] and it, 10) or serving.model(self.server)
        problem, words = told["problem"] or "", event["message"].splitlines()[0] if event else "-"
        of_version = serving.version(self.server, self.number).get("reason") or ""
        counted = [after - before for before, after in zip(self.before, self.counted())]
        places = {
            "event": event,
            "problem": words in problem,
            "version": words in of_version,
            "log": serving.logged(self.server, json.dumps(words, ensure_ascii=False)[1:-1]),
            "metrics": min(counted) >= 1,
        }
        missing = [place for place, is_there in places.items() if not is_there]
        print(f"  {self.name}: {problem[:160]!r}", flush=True)
        self.check.that(told["version"] == "1" and not missing, f"{self.name}: version 1 serves on, and the reason is told {'but not in: ' + ', '.join(missing) if missing else ''}")
