"""The annotated series that river brings, through the server: what the rule for drift says of them beside river's detectors.

A table and no test of ours against theirs. A detector of one series compares it with its own past, and begins anew after each alarm. The
server compares what many clients send with a reference, which here are a series' first 200 rows, the fewest that it takes: changes
before their end it cannot see, and after the first it stays in alarm. The series are one feature of thirty, the others quiet.

Annotations and how an alarm is judged: van den Burg and Williams, "An Evaluation of Change Point Detection Algorithms" (2020). Three of
the series are cut as their annotators saw them: every third row of apple from the second on, every tenth of brent from 2000-01-04 on,
the first 774 of bitcoin.
"""

import csv
import pathlib
import sys

import numpy
from river import drift
from sklearn.datasets import load_breast_cancer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import alarms  # noqa: E402
import common  # noqa: E402

REFERENCE, WINDOW, STEP = 200, 100, 10
DETECTORS = {"ADWIN": drift.ADWIN, "KSWIN": lambda: drift.KSWIN(seed=42), "PageHinkley": drift.PageHinkley}


def series():
    """By name: the values, and the points that each annotator marked."""
    folder = pathlib.Path(drift.__file__).parent / "datasets"

    def column(file, name):
        with open(folder / file, newline="") as lines:
            return [float(row[name]) for row in csv.DictReader(lines) if row[name]]

    with open(folder / "brent_crude_oil.csv", newline="") as lines:
        brent = [(row["day"], float(row["DPB"])) for row in csv.DictReader(lines)]
    since = next(at for at, (day, _) in enumerate(brent) if [int(part) for part in day.split("/")] == [1, 4, 2000])
    found = {
        "jfk_passengers": (column("airline_passengers.csv", "Total Passengers"), drift.datasets.AirlinePassengers),
        "run_log_pace": (column("run_log.csv", "Pace"), drift.datasets.RunLog),
        "brent": ([value for _, value in brent[since::10]][:500], drift.datasets.BrentSpotPrice),
        "bitcoin": (column("bitcoin.csv", "price")[:774], drift.datasets.Bitcoin),
        "apple_close": (column("apple.csv", "Close")[1::3], drift.datasets.Apple),
    }
    for name in ("V1", "V2", "V3", "V4"):
        found[f"occupancy_{name}"] = (column("occupancy.csv", name), drift.datasets.Occupancy)
    return {name: (numpy.array(values, numpy.float32), marked().annotations) for name, (values, marked) in found.items()}


def score(at, marked, n):
    """Alarms, wrong ones, delays of the points that two annotators share, and how many such points there are."""
    reach = max(20, n // 10)
    every = sorted({point for points in marked.values() for point in points if point > 1})
    shared = [p for p in every if sum(any(abs(p - q) <= 5 for q in points) for points in marked.values()) >= 2]
    points = [p for before, p in zip([-10, *shared], shared) if p - before > 5]
    points = [p for p in points if p >= REFERENCE]
    wrong = [it for it in at if not any(0 <= it - p <= reach for p in every)]
    delays = [min((it - p for it in at if 0 <= it - p <= reach), default=None) for p in points]
    return len(at), len(wrong), [it for it in delays if it is not None], len(points)


def of_the_server(program, values, quiet, rng):
    """The rows at which the last window begins to alarm."""
    rows = quiet[rng.integers(0, len(quiet), len(values))]
    rows[:, 0] = values
    model = alarms.Model(program, rows[:REFERENCE])
    try:
        reads, began, was = [(REFERENCE, model.before)], [], False
        for first in range(REFERENCE, len(rows), STEP):
            model.send(rows[first : first + STEP])
            reads.append((min(first + STEP, len(rows)), model.read()))
            now, since = reads[-1], next(it for it in reads if it[0] >= reads[-1][0] - WINDOW)
            bins = [a - b for a, b in zip(now[1][0], since[1][0])]
            found = model.judge(bins, now[1][1] - since[1][1], now[1][2] - since[1][2])
            is_now = any(place == 0 for place, _ in found)
            if is_now and not was:
                began.append(now[0] - 1)
            was = is_now
        return began
    finally:
        model.end()


def of_a_detector(make, values):
    detector, found = make(), []
    for at, value in enumerate(values):
        detector.update(float(value))
        if detector.drift_detected and at >= REFERENCE:
            found.append(at)
    return found


def main(program):
    check = common.Check()
    rng = numpy.random.default_rng(20261130)
    quiet = load_breast_cancer().data.astype(numpy.float32)
    total = {}
    for name, (values, marked) in series().items():
        ends = {"sconce": of_the_server(program, values, quiet, rng)}
        ends |= {detector: of_a_detector(make, values) for detector, make in DETECTORS.items()}
        for who, at in ends.items():
            n, wrong, delays, points = score(at, marked, len(values))
            sums = total.setdefault(who, [0, 0, [], 0])
            sums[0], sums[1], sums[2], sums[3] = sums[0] + n, sums[1] + wrong, sums[2] + delays, sums[3] + points
        first = score(ends["sconce"], marked, len(values))
        print(f"    {name}, {len(values)} rows, {first[3]} points behind the reference: sconce {first[0]} alarms, {len(first[2])} found")
    for who, (n, wrong, delays, points) in total.items():
        median = f"{numpy.median(delays):.0f} rows" if delays else "-"
        print(f"    {who}: {n} alarms from row {REFERENCE} on, {wrong} wrong, {len(delays)} of {points} points found, after {median} in the median")
    check.that(total["sconce"][3] > 0, "there are points behind the reference")
    check.end()


if __name__ == "__main__":
    main(sys.argv[1])
