"""The page of a sweep: its trials over time, which parameters matter, and samples of the best trials."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from kedro_dcgan.progress import short_images
from kedro_dcgan.reports.pages import picture_url, render_page, svg_url

Outcome = Literal["completed", "pruned", "failed"]

_BEST, _PRUNED, _OTHER = "#1a6b3c", "#bbbbbb", "#4477aa"
# A parameter whose largest value is this many times its smallest has a logarithmic axis.
_WIDE = 20


@dataclass(frozen=True)
class TrialSummary:
    """A trial: its values, its distances by validation (from 1), and its outcome; None: it still runs.

    `distance` is that of the generator that a completed trial keeps. `key` is that of its tracked run, if known.
    """

    number: int
    values: Mapping[str, Any]
    distances: Mapping[int, float]
    outcome: Outcome | None
    distance: float | None
    key: str
    fault: str = ""
    images_seen: int = 0


@dataclass(frozen=True)
class SweepReport:
    """What the page shows: `confirmation` has the distances of best and baseline by seed, `grids` pictures by trial."""

    name: str
    metric: str
    trials: Sequence[TrialSummary]
    best: int
    claim: str
    importances: Mapping[str, float]
    confirmation: Mapping[str, Mapping[int, float | None]]
    grids: Mapping[int, np.ndarray]
    length: str
    preset: str


def write_sweep_page(report: SweepReport) -> str:
    """Return a self-contained HTML page."""
    completed = {trial.number: trial.distance for trial in report.trials if trial.distance is not None}
    names = list(report.trials[0].values)
    seeds = sorted({seed for by_seed in report.confirmation.values() for seed in by_seed})
    return render_page(
        "sweep.html",
        report=report,
        names=names,
        counts={
            outcome: sum(trial.outcome == outcome for trial in report.trials)
            for outcome in ("completed", "pruned", "failed")
        },
        saved=f"{saved_by_pruning(report.trials):.0%}",
        rows=[
            {
                "number": trial.number,
                "values": [format_value(trial.values.get(name)) for name in names],
                "distance": f"{trial.distance:,.0f}" if trial.distance is not None else "",
                "outcome": trial.fault or trial.outcome or "running",
                "seen": short_images(trial.images_seen) if trial.images_seen else "",
            }
            for trial in sorted(report.trials, key=_order)
        ],
        pictures=[
            {"number": number, "distance": f"{completed[number]:,.0f}", "url": picture_url(Image.fromarray(grid))}
            for number, grid in report.grids.items()
        ],
        seeds=seeds,
        confirmation=[
            (title, [_cell(by_seed, seed) for seed in seeds])
            for title, by_seed in report.confirmation.items()
            if by_seed
        ],
        history=svg_url(_plot_history(report)),
        importance=svg_url(_plot_importances(report.importances)) if report.importances else "",
        parallel=svg_url(_plot_parallel(report, names)) if len(completed) > 1 else "",
    )


def format_value(value: Any) -> str:
    """Write a value for people."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def _cell(by_seed: Mapping[int, float | None], seed: int) -> str:
    distance = by_seed.get(seed)
    return f"{distance:,.0f}" if distance is not None else "failed" if seed in by_seed else ""


def _order(trial: TrialSummary) -> tuple[bool, float]:
    return trial.distance is None, trial.distance if trial.distance is not None else float(trial.number)


def saved_by_pruning(trials: Sequence[TrialSummary]) -> float:
    """Return the share of images that pruned trials did not need, of those that all finished trials would have seen."""
    finished = [trial.images_seen for trial in trials if trial.outcome in ("completed", "pruned")]
    return 1 - sum(finished) / (max(finished) * len(finished)) if finished else 0.0


def _plot_history(report: SweepReport) -> Figure:
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    best, smallest = [], math.inf
    for trial in report.trials:
        values = list(trial.distances.values())
        if not values:
            continue
        is_complete = trial.distance is not None
        value = trial.distance if trial.distance is not None else min(values)
        axes.scatter(trial.number, value, color=_OTHER if is_complete else _PRUNED, s=28, zorder=3)
        smallest = min(smallest, value if is_complete else math.inf)
        if smallest < math.inf:
            best.append((trial.number, smallest))
    axes.step(
        [number for number, _ in best], [value for _, value in best], where="post", color=_BEST, label="best so far"
    )
    axes.scatter([], [], color=_OTHER, s=28, label="completed")
    axes.scatter([], [], color=_PRUNED, s=28, label="pruned or failed, when it ended")
    axes.set(
        xlabel="trial", ylabel="distance", yscale="log" if any(one.distances for one in report.trials) else "linear"
    )
    for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        set_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _plot_importances(importances: Mapping[str, float]) -> Figure:
    figure = Figure(figsize=(8, 0.6 + 0.4 * len(importances)), layout="constrained")
    axes = figure.subplots()
    names = list(importances)[::-1]
    axes.barh(names, [importances[name] for name in names], color=_OTHER)
    axes.set_xlabel("share of the variance of the distance")
    axes.set_xlim(0, 1)
    return figure


def _plot_parallel(report: SweepReport, names: Sequence[str]) -> Figure:
    """Draw a line for each completed trial through its values; the darker, the smaller its distance."""
    completed = sorted((one for one in report.trials if one.distance is not None), key=_order, reverse=True)
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    positions = {name: _positions([trial.values[name] for trial in completed]) for name in names}
    ranks = _positions([trial.distance for trial in completed])
    colours = colormaps["viridis"]
    for index, trial in enumerate(completed):
        is_best = trial.number == report.best
        heights = [positions[name][0][index] for name in names] + [ranks[0][index]]
        colour = _BEST if is_best else colours(0.15 + 0.8 * ranks[0][index])
        axes.plot(range(len(heights)), heights, color=colour, lw=2.6 if is_best else 1, alpha=1 if is_best else 0.7)
    labels = [*names, "distance"]
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.set_yticks([])
    for place, ends in enumerate([*(positions[name][1] for name in names), ranks[1]]):
        axes.axvline(place, color="#cccccc", lw=0.8, zorder=0)
        for height, text in ends:
            axes.annotate(text, (place, height), fontsize=7, color="#555555", ha="center", va="center")
    axes.set_ylim(-0.06, 1.06)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def _positions(values: Sequence[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """Return the height of each value, 0 to 1, and the labels of an axis with their heights."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        kinds = sorted({str(value) for value in values})
        step = 1 / max(1, len(kinds) - 1)
        return [kinds.index(str(value)) * step for value in values], [(i * step, kind) for i, kind in enumerate(kinds)]
    low, high = min(values), max(values)
    if low == high:
        return [0.5] * len(values), [(0.5, format_value(low))]
    is_log = low > 0 and high / low > _WIDE
    scale = [math.log(value) if is_log else float(value) for value in values]
    least, most = min(scale), max(scale)
    return [(value - least) / (most - least) for value in scale], [
        (-0.04, format_value(low)),
        (1.04, format_value(high)),
    ]
