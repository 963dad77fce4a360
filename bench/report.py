#!/usr/bin/env python3
"""Draws the results of a run: report.html, whole in one file, and its plots as PNG and SVG.

    report.py FOLDER      the folder that run.py names at its end

Needs matplotlib: run it with the references' Python (references/environment.py prints it).
"""

import base64
import html
import json
import pathlib
import statistics
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # noqa: E402

TITLES = {
    "tabular": "tabular, 20→64→32→1",
    "digits": "digits, 784→128→10",
    "minilm": "minilm, 32 tokens",
    "minilm_mixed": "minilm, 8 to 128 tokens",
    "resnet50": "resnet50, 3×224×224",
}
# Ours is the strong one; of the others each keeps its color in every plot.
COLORS = {
    "sconce": "#c2410c",
    "sconce, raw bytes": "#f59e0b",
    "echo, 1 thread": "#64748b",
    "echo, 2 threads": "#94a3b8",
    "Flask + gunicorn": "#0f766e",
    "FastAPI + uvicorn, 1 worker": "#7dd3fc",
    "FastAPI + uvicorn, 2 workers": "#1d4ed8",
}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1e293b; margin: 2rem auto; max-width: 68rem; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem } .machine { color: #475569 }
table { border-collapse: collapse; width: 100%; font-size: 13.5px } td, th { text-align: left; padding: .28rem .6rem;
border-bottom: 1px solid #e2e8f0; vertical-align: top } th { color: #475569; font-weight: 600 }
td:nth-child(2) { font-variant-numeric: tabular-nums; white-space: nowrap; font-weight: 600 } td:nth-child(3),
td:nth-child(4) { white-space: nowrap } .met { color: #15803d } .missed { color: #b91c1c; font-weight: 600 }
td:last-child { color: #64748b } img { max-width: 100% } li { margin: .2rem 0 }
"""


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    rows = json.loads((folder / "table.json").read_text())
    plt.rcParams.update({
        "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11,
        "axes.titleweight": "bold", "axes.grid": True, "grid.color": "#e2e8f0", "svg.fonttype": "none",
    })  # fmt: skip
    plots = []
    for name, title, draw in (
        ("throughput", "Throughput against connections", throughput),
        ("latency", "Latency against rate, open loop", latency),
        ("processor", "Processor time a request, 64 connections", processor),
    ):
        figure = draw(lines)
        if figure is None:
            continue
        figure.savefig(folder / f"{name}.svg", bbox_inches="tight")
        figure.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight")
        plt.close(figure)
        plots.append((title, (folder / f"{name}.png").read_bytes()))
    page = folder / "report.html"
    page.write_text(document(lines, rows, plots))
    print(page)


def models(lines: list[dict], section: str, least: int) -> list[str]:
    """Models with enough measurements of this kind to draw."""
    found = {}
    for line in lines:
        if line["section"] == section:
            key = line.get("connections") if section == "throughput" else line.get("share")
            found.setdefault(line["model"], set()).add(key)
    return [model for model in TITLES if len(found.get(model, ())) >= least]


def axes_for(names: list[str]):
    columns = min(len(names), 2)
    count = -(-len(names) // columns)
    figure, grid = plt.subplots(count, columns, figsize=(5.6 * columns, 3.7 * count), squeeze=False)
    flat = list(grid.flat)
    for spare in flat[len(names) :]:
        spare.set_visible(False)
    return figure, flat


def series(lines: list[dict], section: str, model: str) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for line in lines:
        if line["section"] == section and line["model"] == model:
            name = line["contestant"] + (", raw bytes" if line.get("kind") == "raw" else "")
            found.setdefault(name, []).append(line)
    return dict(sorted(found.items(), key=lambda item: list(COLORS).index(item[0])))


def throughput(lines: list[dict]):
    names = models(lines, "throughput", 2)
    if not names:
        return None
    figure, axes = axes_for(names)
    for axis, model in zip(axes, names):
        for name, measured in series(lines, "throughput", model).items():
            at = sorted({line["connections"] for line in measured})
            each = [[line["rate"] for line in measured if line["connections"] == n] for n in at]
            axis.plot(at, [statistics.median(v) for v in each], "o-", color=COLORS[name], label=name,
                      linewidth=2.2 if name.startswith("sconce") else 1.4, markersize=4)  # fmt: skip
            axis.fill_between(at, [min(v) for v in each], [max(v) for v in each], color=COLORS[name], alpha=0.13, lw=0)
        best: dict[int, float] = {}
        for line in lines:
            if line["section"] == "library" and line["model"] == model:
                best[line["round"]] = max(best.get(line["round"], 0), line["rows_per_second"])
        # Of small models the library does a hundred times what any server answers: not on this scale.
        if best and model not in ("tabular", "digits"):
            axis.axhline(statistics.median(best.values()), color="#111827", linestyle="--", linewidth=1.2,
                         label="the library's best loop")  # fmt: skip
        axis.set(title=TITLES[model], xscale="log", yscale="log", xlabel="connections", ylabel="answers a second")
        axis.set_xticks(at, [str(n) for n in at])
        axis.minorticks_off()
        if model in ("tabular", "digits"):
            readable(axis.yaxis)
        else:
            axis.set_yscale("linear")
            axis.set_ylim(bottom=0)
    legend(figure, axes)
    return figure


def latency(lines: list[dict]):
    names = models(lines, "open_loop", 2)
    if not names:
        return None
    figure, axes = axes_for(names)
    for axis, model in zip(axes, names):
        for name, measured in series(lines, "open_loop", model).items():
            measured = sorted(measured, key=lambda line: line["offered"])
            offered = [line["offered"] for line in measured]
            for quantile, style in (("p50", "o-"), ("p99", "s--")):
                values = [line["latency_us"][quantile] / 1e3 for line in measured]
                axis.plot(offered, values, style, color=COLORS[name], markersize=4, linewidth=1.6,
                          label=name if quantile == "p50" else None)  # fmt: skip
        axis.set(title=TITLES[model], xscale="log", yscale="log", xlabel="requests a second, offered",
                 ylabel="milliseconds from due to answered")  # fmt: skip
        axis.margins(x=0.1)
        readable(axis.xaxis)
        readable(axis.yaxis)
    axes[0].plot([], [], "o-", color="#334155", label="p50")
    axes[0].plot([], [], "s--", color="#334155", label="p99")
    legend(figure, axes)
    return figure


def processor(lines: list[dict]):
    names = [model for model in models(lines, "throughput", 1) if model in ("tabular", "digits")]
    if not names:
        return None
    figure, axes = axes_for(names)
    for axis, model in zip(axes, names):
        found = series(lines, "throughput", model)
        labels = list(found)
        values = [
            statistics.median(line["server_cpu_us"] for line in measured if line["connections"] == 64)
            for measured in found.values()
        ]
        bars = axis.barh(labels, values, color=[COLORS[name] for name in labels])
        axis.bar_label(bars, [f"{value:.0f}" for value in values], padding=3, fontsize=9)
        axis.set(title=TITLES[model], xlabel="microseconds, the whole process tree")
        axis.set_xlim(0, max(values) * 1.15)
        axis.invert_yaxis()
        axis.set_axisbelow(True)
        axis.grid(axis="y", visible=False)
    figure.tight_layout()
    return figure


def readable(axis) -> None:
    """Plain numbers on a logarithmic axis, and enough of them where it spans less than two decades."""

    def written(value: float, _) -> str:
        return f"{value:,.0f}" if value >= 1 else f"{value:g}"

    low, high = axis.get_view_interval()
    span = high / low
    steps = (1,) if span > 200 else (1, 2, 5) if span > 4 else range(1, 10)
    axis.set_major_locator(LogLocator(subs=steps, numticks=20))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(written))


def legend(figure, axes) -> None:
    """One for all plots, below them."""
    entries = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels()):
            entries.setdefault(label, handle)
    figure.tight_layout()
    figure.legend(entries.values(), entries.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, frameon=False)


def document(lines: list[dict], rows: list[dict], plots: list[tuple[str, bytes]]) -> str:
    machine = next(line for line in lines if line["section"] == "machine")
    end = next((line for line in lines if line["section"] == "end"), {"problems": [], "minutes": 0})
    words = html.escape
    facts = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}; "
        f"{machine['server']} ({machine['commit']}); load average {machine['load_at_start']:.1f} at the start; "
        f"{end['minutes']:.0f} minutes"
    )
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>sconce: benchmarks</title><style>{STYLE}</style>",
        f"<h1>sconce: benchmarks</h1><p class=machine>{words(facts)}</p>",
    ]
    if end["problems"]:
        parts.append("<h2>Problems</h2><ul>")
        parts += [f"<li>{words(problem)}" for problem in end["problems"]]
        parts.append("</ul>")
    parts.append("<h2>Ratios and goals</h2><table><tr><th>what<th>value<th>goal<th><th>from")
    for row in rows:
        met = {True: "<span class=met>met</span>", False: "<span class=missed>not met</span>", None: ""}[row["met"]]
        cells = [words(row["what"]), words(row["value"]), words(row["goal"]), met, words(row["note"])]
        parts.append("<tr>" + "".join(f"<td>{cell}" for cell in cells))
    parts.append("</table>")
    for title, image in plots:
        encoded = base64.b64encode(image).decode()
        parts.append(f'<h2>{words(title)}</h2><img alt="{words(title)}" src="data:image/png;base64,{encoded}">')
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
