"""Two replicas with the same keys, one Prometheus, and labels that come late, to the other replica, twice, or never.

Every figure that Prometheus makes of the counters is held to scikit-learn's of the same rows, and so are those of a replica's own words.
"""

import json
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from http.client import HTTPConnection

import numpy
from sklearn import metrics

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/attack"))
import common  # noqa: E402

# Seconds between two scrapes, and how long Prometheus may take for anything.
SCRAPE = 1
PATIENCE = 60


class Prometheus:
    """The program, with the rules of deploy/prometheus and two targets."""

    def __init__(self, folder, targets):
        self.folder = folder
        files = []
        for name in ("quality", "monitoring"):
            rules = (ROOT / f"deploy/prometheus/{name}.yml").read_text().replace("interval: 1m", f"interval: {SCRAPE}s")
            (folder / f"{name}.yml").write_text(rules)
            # The same figures of all that was ever counted: exact, where `increase` guesses what lies at a window's edges.
            whole = re.sub(r"increase\((\w+)\[1h\]\)", r"\1", rules.split("      - alert:")[0])
            whole = whole.replace("sconce:", "whole:").replace(f"sconce_{name}", f"whole_{name}")
            (folder / f"whole_{name}.yml").write_text(whole)
            files += [f"{name}.yml", f"whole_{name}.yml"]
        listed = ", ".join(f'"{host}:{port}"' for host, port in targets)
        (folder / "prometheus.yml").write_text(
            f"global: {{scrape_interval: {SCRAPE}s, evaluation_interval: {SCRAPE}s}}\n"
            f"rule_files: [{', '.join(files)}]\n"
            f"scrape_configs: [{{job_name: sconce, static_configs: [{{targets: [{listed}]}}]}}]\n"
        )
        self.port = free_port()
        command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=error"]
        self.process = subprocess.Popen(command)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)

    def ask(self, query, by="label"):
        """The label of that name or empty, and value."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                found = json.load(answer)["data"]["result"]
        except OSError:
            return {}
        return {it["metric"].get(by, ""): float(it["value"][1]) for it in found}

    def wait_for(self, query, holds):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = self.ask(query)
            if holds(found):
                return found
            time.sleep(SCRAPE / 2)
        raise SystemExit(f"{query} does not come to what it should: {self.ask(query)}")


def free_port():
    """One that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(server, method, path, body, headers=()):
    connection = HTTPConnection(*server.http, timeout=PATIENCE)
    connection.request(method, path, json.dumps(body) if body is not None else None, dict(headers))
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, answer.headers, json.loads(text)


def rows():
    """Held-out rows of the example model, over and over with some noise, so that it is wrong now and then."""
    table = json.loads((ROOT / "tests/fixtures/held_out/breast_cancer.json").read_text())
    noise = numpy.random.default_rng(7)
    for turn in range(8):
        for row, label in zip(table["instances"], table["labels"]):
            yield [value * float(noise.normal(1, 0.08 * turn)) for value in row], label


def expected(told):
    """scikit-learn's figures of (actual, predicted, score) rows."""
    actual, predicted, score = ([row[place] for row in told] for place in range(3))
    labels = ["malignant", "benign"]
    confidence = numpy.array(score)
    right = numpy.array([a == p for a, p in zip(actual, predicted)], float)
    of_second = numpy.where(numpy.array(predicted) == labels[1], confidence, 1 - confidence)
    # From twenty bins, as the counters have it: rows of a bin are equal.
    bins = numpy.maximum(numpy.ceil(of_second * 20) - 1, 0)
    edges = numpy.maximum(numpy.ceil(confidence * 10) - 1, 0)
    off = sum(abs(right[edges == bin].sum() - confidence[edges == bin].sum()) for bin in range(10))
    return {
        "accuracy": metrics.accuracy_score(actual, predicted),
        "f1_macro": metrics.f1_score(actual, predicted, labels=labels, average="macro"),
        "f1": dict(zip(labels, metrics.f1_score(actual, predicted, labels=labels, average=None))),
        "precision": dict(zip(labels, metrics.precision_score(actual, predicted, labels=labels, average=None))),
        "recall": dict(zip(labels, metrics.recall_score(actual, predicted, labels=labels, average=None))),
        "roc_auc": metrics.roc_auc_score(numpy.array(actual) == labels[1], bins),
        "brier": float(((confidence - right) ** 2).mean()),
        "calibration_error": off / len(told),
        "exact_roc_auc": metrics.roc_auc_score(numpy.array(actual) == labels[1], of_second),
    }


def indices(asked):
    """By feature, the population stability index of rows, from the reference's edges and counts."""
    features = json.loads((ROOT / "models/breast_cancer/1/reference.json").read_text())["features"]
    columns = numpy.array(asked, numpy.float32).T
    found = {}
    for feature, values in zip(features, columns):
        edges, reference = numpy.array(feature["edges"], numpy.float32), numpy.array(feature["counts"], float)
        counts = numpy.bincount(numpy.searchsorted(edges, values, side="left"), minlength=len(reference))
        p = (counts + 0.5) / (counts.sum() + len(counts) / 2)
        q = (reference + 0.5) / (reference.sum() + len(reference) / 2)
        found[feature["name"]] = float(((p - q) * numpy.log(p / q)).sum())
    return found


def compare_indices(check, prometheus, prefix, asked, tolerance):
    expected, end, worst = indices(asked), time.monotonic() + PATIENCE, 1.0
    while worst > tolerance and time.monotonic() < end:
        found = prometheus.ask(f"{prefix}:feature_psi:1h", by="feature")
        off = [abs(found.get(name, float("inf")) - value) / max(value, 0.1) for name, value in expected.items()]
        worst = max(off)
        time.sleep(SCRAPE)
    check.that(
        worst <= tolerance,
        f"Prometheus' index of each of {len(expected)} features over both replicas is numpy's of the {len(asked)} rows, at most {tolerance:g} off: {worst:.1e}",
    )


def main(program):
    check = common.Check()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sconce-watching-"))
    keys = folder / "keys"
    keys.write_text("a key that both replicas have, and nobody else\n")
    settings = [f"feedback.keys_file={keys}", "threads.instances=1"]
    servers = [common.Server(program, *settings, models=[ROOT / "models/breast_cancer"]).ready() for _ in range(2)]
    try:
        with Prometheus(folder, [server.http for server in servers]) as prometheus:
            prometheus.wait_for("count(sconce_feedback_actual_total)", lambda it: it.get("") == 4)
            run(check, servers, prometheus)
    finally:
        [server.stop() for server in servers]
        shutil.rmtree(folder)
    check.end()


def run(check, servers, prometheus):
    draw = random.Random(3)
    waiting, asked = [], []
    for place, (values, label) in enumerate(rows()):
        asked.append(values)
        body = {"features": values}
        status, headers, answer = ask(servers[place % 2], "POST", "/predict/breast_cancer", body, [("sconce-feedback", "1")])
        assert status == 200, answer
        row = (label, answer["label"], answer["score"])
        waiting.append((draw.random(), (place + 1) % 2, headers["sconce-feedback"], row))
    compare_indices(check, prometheus, "whole", asked, 1e-6)
    # Late, in another order, to the other replica; a tenth never.
    waiting.sort()
    never, waiting = waiting[: len(waiting) // 10], waiting[len(waiting) // 10 :]
    before, after = waiting[: len(waiting) // 2], waiting[len(waiting) // 2 :]
    told = []

    def send(batch):
        for replica in range(2):
            items = [{"token": it[2], "actual": it[3][0]} for it in batch if it[1] == replica]
            # All of them twice, as after a time-out.
            for outcome in ("counted", "duplicate"):
                status, _, receipt = ask(servers[replica], "POST", "/feedback/breast_cancer", {"feedback": items})
                assert (status, receipt["outcomes"][outcome]) == (202, len(items)), receipt
        told.extend(it[3] for it in batch)

    send(before)
    compare(check, prometheus, "whole", expected(told), len(told), 1e-6)
    compare(check, prometheus, "sconce", expected(told), len(told), 2e-2)

    # One of them starts anew, and gets labels of answers from before.
    settings = servers[1].process.args
    servers[1].signal()
    servers[1].wait()
    listen = "%s:%d" % servers[1].http
    command = [listen if it == "127.0.0.1:0" and settings[at - 1] == "--listen" else it for at, it in enumerate(settings)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=common.environment())
    servers[1].process = process
    servers[1].ready()
    time.sleep(3 * SCRAPE)
    send(after)
    compare_indices(check, prometheus, "sconce", asked, 2e-2)
    check.that(len(never) > 0, f"{len(told)} labels counted on the replica that had not answered, {len(never)} never came")
    compare(check, prometheus, "sconce", expected(told), len(told), 5e-2)
    words = ask(servers[0], "GET", "/models/breast_cancer/quality", None)[2]["versions"][0]
    own = [it[3] for it in before + after if it[1] == 0]
    figures, mine = expected(own), words["classification"]
    pairs = {name: (mine[name], figures[name]) for name in ("accuracy", "brier", "calibration_error", "roc_auc")}
    pairs["macro_f1"] = (mine["macro_f1"], figures["f1_macro"])
    off = max(abs(a - b) for a, b in pairs.values())
    check.that(off < 1e-6, f"the figures of a replica's own {words['labels']} labels are scikit-learn's, off by {off:.1e} at most")


def compare(check, prometheus, prefix, figures, n_labels, tolerance):
    n = lambda it: abs(it.get("", 0) - n_labels) <= tolerance * n_labels
    prometheus.wait_for(f"{prefix}:feedback_labels:1h", n)
    # What was recorded from the same counts.
    time.sleep(3 * SCRAPE)
    worst = ("", 0.0)
    for name, value in figures.items():
        if name.startswith("exact"):
            continue
        found = prometheus.ask(f"{prefix}:{name}:1h")
        wanted = value if isinstance(value, dict) else {"": value}
        for label, one in wanted.items():
            off = abs(found.get(label, float("nan")) - one)
            print(f"    {prefix}:{name} {label or ''} {found.get(label)} scikit-learn {one}")
            worst = max(worst, (f"{name} {label}", off if off == off else float("inf")), key=lambda it: it[1])
    exact = figures["exact_roc_auc"]
    print(f"    ROC-AUC of the scores themselves: {exact}")
    check.that(worst[1] <= tolerance, f"Prometheus says of {n_labels} labels what scikit-learn does, at most {tolerance:g} off: {worst[0]} {worst[1]:.1e}")


if __name__ == "__main__":
    main(sys.argv[1])
