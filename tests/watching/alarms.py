"""False alarms, power and time to alarm of the rule for drift, over HTTP: windows of rows of breast_cancer, quiet and with planted faults.

A window is what the counters of /metrics rose by; the index, its limit and the other rules are worked out from them as deploy/prometheus
does. The last window of each kind is held to what the server itself says of it. Beside it, on the same values, river's detectors.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from http.client import HTTPConnection

import numpy
from river import drift
from sklearn.datasets import load_breast_cancer

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/attack"))
import common  # noqa: E402

QUIET, PLANTED, ROWS = 1000, 200, 300
# So many rows of one request are counted, of 30 features.
BULK = 16
SAMPLE = re.compile(r'^sconce_(\w+)\{model="breast_cancer",version="1",(.*)\} (\S+)$', re.MULTILINE)


class Model:
    """A server with one model, its reference, and what was counted."""

    def __init__(self, program, reference):
        self.folder = tempfile.TemporaryDirectory(prefix="sconce-alarms-")
        root = pathlib.Path(self.folder.name)
        subprocess.run(["cp", "-r", ROOT / "models/breast_cancer", root], check=True)
        # A reference of these rows, made as its users make it.
        table = root / "rows.csv"
        names = json.loads((ROOT / "models/breast_cancer/1/reference.json").read_text())["features"]
        head = ",".join(it["name"] for it in names) + ",label\n"
        table.write_text(head + "".join(",".join(f"{value:.9g}" for value in row) + ",benign\n" for row in reference))
        command = [program, "reference", "breast_cancer/1", "--data", table, "--models", root]
        command += ["--set", f"state_dir={root / 'state'}"]
        made = subprocess.run(command, capture_output=True, text=True, check=True, env=common.environment()).stdout
        (root / "breast_cancer/1/reference.json").write_text(made)
        self.reference = json.loads(made)
        self.names = [it["name"] for it in self.reference["features"]]
        self.edges = [numpy.array(it["edges"], numpy.float32) for it in self.reference["features"]]
        self.counts = [numpy.array(it["counts"], float) for it in self.reference["features"]]
        self.server = common.Server(program, models=[root / "breast_cancer"]).ready()
        self.connection = HTTPConnection(*self.server.http, timeout=60)
        self.before = self.read()

    def send(self, rows):
        """Rows of floats, not-a-number for those that are missing."""
        for first in range(0, len(rows), BULK):
            part = numpy.ascontiguousarray(rows[first : first + BULK], numpy.float32)
            tensor = {"name": "features", "datatype": "FP32", "shape": list(part.shape), "parameters": {"binary_data_size": part.nbytes}}
            head = json.dumps({"inputs": [tensor]}).encode()
            headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
            self.connection.request("POST", "/v2/models/breast_cancer/infer", head + part.tobytes(), headers)
            answer = self.connection.getresponse()
            text = answer.read()
            assert answer.status == 200, text

    def read(self):
        """Bins, missing and out of range by feature, and rows by label."""
        with urllib.request.urlopen("http://%s:%d/metrics" % self.server.http, timeout=60) as answer:
            text = answer.read().decode()
        bins = [numpy.zeros(len(it)) for it in self.counts]
        missing, out, labels = numpy.zeros(len(bins)), numpy.zeros(len(bins)), {}
        place = {name: at for at, name in enumerate(self.names)}
        for kind, pairs, value in SAMPLE.findall(text):
            found = dict(re.findall(r'(\w+)="([^"]*)"', pairs))
            if kind == "feature_values_total":
                bins[place[found["feature"]]][int(found["bin"])] = float(value)
            elif kind == "feature_missing_total":
                missing[place[found["feature"]]] = float(value)
            elif kind == "feature_out_of_range_total":
                out[place[found["feature"]]] = float(value)
            elif kind == "predicted_labels_total":
                labels[found["label"]] = float(value)
        return bins, missing, out, labels

    def window(self, rows):
        """Sends a window; its alarms, as (feature, rule)."""
        self.send(rows)
        now = self.read()
        bins = [a - b for a, b in zip(now[0], self.before[0])]
        missing, out = now[1] - self.before[1], now[2] - self.before[2]
        self.before = now
        assert abs(bins[0].sum() + missing[0] - len(rows)) < 0.5, "each row is counted"
        return self.judge(bins, missing, out)

    def end(self):
        self.server.stop()
        self.folder.cleanup()

    def judge(self, bins, missing, out):
        share = max(0.02, 20 / self.reference["rows"])
        alarms = set()
        for place, (count, reference) in enumerate(zip(bins, self.counts)):
            n, m, k = count.sum(), reference.sum(), len(count)
            if n >= 50:
                p, q = (count + 0.5) / (n + k / 2), (reference + 0.5) / (m + k / 2)
                if ((p - q) * numpy.log(p / q)).sum() > max(0.1, 40 * (1 / n + 1 / m)):
                    alarms.add((place, "distribution"))
                if out[place] / n > share:
                    alarms.add((place, "out_of_range"))
            if n + missing[place] >= 50 and missing[place] / (n + missing[place]) > share:
                alarms.add((place, "missing"))
        return alarms


def planted(rows, place, deviations, rng):
    """By name: a fault, and the rule that is to see it."""
    part = rng.random(len(rows)) < 0.1

    def edited(edit):
        other = rows.copy()
        edit(other)
        return other

    def shift(by):
        return edited(lambda it: it.__setitem__((slice(None), place), it[:, place] + by * deviations[place]))

    return {
        "+0.5 deviations in one feature": (shift(0.5), "distribution"),
        "+1 deviation in one feature": (shift(1.0), "distribution"),
        "a tenth of the rows in another unit": (edited(lambda it: it.__setitem__((part, place), it[part, place] * 1000)), "out_of_range"),
        "a sensor that is stuck": (edited(lambda it: it.__setitem__((slice(None), place), numpy.median(it[:, place]))), "distribution"),
        "a tenth of the values missing": (edited(lambda it: it.__setitem__((part, place), numpy.nan)), "missing"),
    }


def false_alarms_and_power(model, rows, rng, check):
    draw = lambda n: rows[rng.integers(0, len(rows), n)]
    begun = time.monotonic()
    alarms = [model.window(draw(ROWS)) for _ in range(QUIET)]
    false = sum(bool(it) for it in alarms)
    took = time.monotonic() - begun
    print(f"    {QUIET} quiet windows of {ROWS} rows, 30 features: {false} with an alarm, {took:.0f} s")
    check.that(false <= 3, f"at most 3 of {QUIET} quiet windows alarm: {false}")
    deviations = rows.std(0)
    found, others = {}, {}
    for turn in range(PLANTED):
        place = turn % 30
        for name, (faulty, rule) in planted(draw(ROWS), place, deviations, rng).items():
            alarms = model.window(faulty)
            found[name] = found.get(name, 0) + ((place, rule) in alarms)
            others[name] = others.get(name, 0) + bool([it for it in alarms if it[0] != place])
    for name, n in found.items():
        print(f"    {name}: found in {n} of {PLANTED} windows, another feature named in {others[name]}")
        check.that(n >= 0.95 * PLANTED and others[name] <= 0.02 * PLANTED, f"{name}: found in at least 95 % of windows, and nothing else named")


def label_shift(model, rows, labels, rng, check):
    """The share of benign answers from 63 to 40 %, which moves the features as well."""
    benign, malignant = rows[labels == 1], rows[labels == 0]
    n, found, moved = 100, 0, []
    for _ in range(n):
        of = [benign[rng.integers(0, len(benign), int(ROWS * 0.4))], malignant[rng.integers(0, len(malignant), ROWS - int(ROWS * 0.4))]]
        before = model.before[3]
        found += bool(model.window(rng.permutation(numpy.concatenate(of))))
        now = model.before[3]
        moved.append((now["benign"] - before["benign"]) / ROWS)
    print(f"    label shift 63 to 40 %: {found} of {n} windows alarm; answers say {numpy.mean(moved):.2f} benign")
    check.that(found >= 0.95 * n, "a shift of labels is found in at least 95 % of windows")


def concept_drift(model, rows, labels, rng, check):
    """Labels that come back: quiet, and with a tenth of the truths turned, which no input and no score tells."""
    names, n, labeled = ["malignant", "benign"], 100, 200
    connection = HTTPConnection(*model.server.http, timeout=60)

    def call(path, body, headers=()):
        connection.request("POST", path, json.dumps(body), dict(headers))
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status in (200, 202), text
        return answer.headers, json.loads(text)

    def correct():
        quality = json.loads(model.server.ask("GET", "/models/breast_cancer/quality")[1])["versions"][0]["classification"]
        return sum(it["correct"] for it in quality["classes"])

    def window(flips):
        """The accuracy, by what the server counted."""
        before = correct()
        items = []
        for first in range(0, labeled, BULK):
            drawn = rng.integers(0, len(rows), min(BULK, labeled - first))
            headers, _ = call("/predict/breast_cancer", {"instances": rows[drawn].tolist()}, {"sconce-feedback": "1"})
            truth = [names[int(labels[it]) ^ int(rng.random() < flips)] for it in drawn]
            items.append({"token": headers["sconce-feedback"], "actual": truth})
        receipt = call("/feedback/breast_cancer", {"feedback": items})[1]
        assert receipt["outcomes"]["counted"] == labeled, receipt
        return (correct() - before) / labeled

    usual = numpy.mean([window(0) for _ in range(20)])
    limit = max(0.05, 3.5 * (usual * (1 - usual) / labeled) ** 0.5)
    quiet = [window(0) for _ in range(n)]
    turned = [window(0.1) for _ in range(n)]
    false, found = (sum(usual - it > limit for it in them) for them in (quiet, turned))
    print(f"    labels, {n} windows of {labeled}: accuracy {numpy.mean(quiet):.3f}, {false} alarm; a tenth turned: {numpy.mean(turned):.3f}, {found} alarm")
    model.before = model.read()
    told = model.window(rows[rng.integers(0, len(rows), ROWS)])
    check.that(false == 0 and found >= 0.9 * n, f"a tenth of the truths turned is found in at least 90 % of windows: {found} of {n}")
    check.that(not told, "no input tells of it")


def the_servers_own_words(model, rows, rng, check):
    """What it says of all that was counted, against the same counts."""
    model.window(rows[rng.integers(0, len(rows), ROWS)])
    bins = model.before[0]
    report = json.loads(model.server.ask("GET", "/models/breast_cancer/drift")[1])["versions"][0]["windows"][-1]
    worst = 0.0
    for it in report["features"]:
        place = model.names.index(it["feature"])
        count, reference = bins[place], model.counts[place]
        n, m, k = count.sum(), reference.sum(), len(count)
        p, q = (count + 0.5) / (n + k / 2), (reference + 0.5) / (m + k / 2)
        worst = max(worst, abs(((p - q) * numpy.log(p / q)).sum() - it["psi"]) / it["psi"])
    check.that(worst < 1e-6 and len(report["features"]) == 10, f"the server's own index is that of its counters, off by {worst:.0e} at most")


def time_to_alarm(model, rows, rng, check):
    """After an hour's worth of quiet rows, how many faulty ones until the window of both alarms: beside river's detectors on the
    values of that one feature, which know nothing of a reference."""
    quiet, most, runs = 300, 600, 20
    place = 0
    kinds = {
        "ADWIN": lambda: drift.ADWIN(),
        "KSWIN": lambda: drift.KSWIN(seed=42),
        "PageHinkley": lambda: drift.PageHinkley(),
    }
    for by in (0.5, 1.0):
        took = {name: [] for name in ["sconce, a window of its own", "sconce, behind 300 quiet rows", *kinds]}
        wrong = dict.fromkeys(kinds, 0)
        for _ in range(runs):
            calm = rows[rng.integers(0, len(rows), quiet)]
            faulty = rows[rng.integers(0, len(rows), most)]
            faulty[:, place] += by * rows[:, place].std()
            begin = model.before
            model.send(calm)
            fresh = model.read()
            ends = {"sconce, a window of its own": fresh, "sconce, behind 300 quiet rows": begin}
            for first in range(0, most, 10):
                model.send(faulty[first : first + 10])
                now = model.read()
                for name, since in list(ends.items()):
                    bins = [a - b for a, b in zip(now[0], since[0])]
                    if any(it[0] == place for it in model.judge(bins, now[1] - since[1], now[2] - since[2])):
                        took[name].append(first + 10)
                        del ends[name]
                if not ends:
                    break
            model.before = model.read()
            for name, make in kinds.items():
                detector, alarm = make(), None
                for at, value in enumerate([*calm[:, place], *faulty[:, place]]):
                    detector.update(float(value))
                    if detector.drift_detected:
                        if at < quiet:
                            wrong[name] += 1
                        elif alarm is None:
                            alarm = at - quiet + 1
                if alarm is not None:
                    took[name].append(alarm)
        for name, delays in took.items():
            more = f", {wrong[name]} wrong alarms before" if name in wrong else ""
            median = f"{numpy.median(delays):.0f}" if delays else "-"
            print(f"    +{by} deviations, {name}: {len(delays)} of {runs} found, after {median} rows in the median{more}")
        mine = took["sconce, a window of its own"]
        check.that(len(mine) == runs, f"+{by} deviations are found in every run")


def main(program):
    check = common.Check()
    table = load_breast_cancer()
    rows, labels = table.data.astype(numpy.float32), table.target
    rng = numpy.random.default_rng(20261130)
    model = Model(program, rows[rng.integers(0, len(rows), 2000)])
    try:
        print(f"    {sum(len(it) for it in model.counts)} bins of {len(model.counts)} features, {model.reference['rows']} rows of reference")
        false_alarms_and_power(model, rows, rng, check)
        label_shift(model, rows, labels, rng, check)
        concept_drift(model, rows, labels, rng, check)
        the_servers_own_words(model, rows, rng, check)
        time_to_alarm(model, rows, rng, check)
    finally:
        model.end()
    check.end()


if __name__ == "__main__":
    main(sys.argv[1])
