"""Compare runs: their metrics, parameters, training curves and samples, as an HTML page and as a Markdown table."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from kedro_dcgan.reports.comparison import compare, compared_rows
from kedro_dcgan.reports.evaluation import METRICS, short
from kedro_dcgan.reports.pages import data_url, render_page

# Plotted curves; the distance to the validation split is plotted, too, under a name that contains its protocol.
_CURVES = {
    "discriminator_loss": "discriminator loss",
    "generator_loss": "generator loss",
    "diversity": "diversity of the samples",
}
_LAST_VALUES = ("discriminator_loss", "generator_loss", "diversity", "images_per_second")
_TAGS = {
    "preset": "preset",
    "verdict": "training health",
    "hardware": "hardware",
    "git_commit": "commit",
    "git_dirty": "uncommitted changes",
    "dataset_digest": "dataset digest",
}
_LONGEST = 60
Curve = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class ComparedRun:
    """A run: its parameters and tags, curves `(images_seen, value)` by name, and PNG grids by `images_seen`."""

    name: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    curves: Mapping[str, Curve]
    evaluation: Mapping[str, Any]
    grids: Mapping[int, bytes]

    @property
    def images_seen(self) -> int:
        """The number of images that it was trained on."""
        return max((curve[-1][0] for curve in self.curves.values() if curve), default=0)


def write_runs_table(runs: Sequence[ComparedRun]) -> str:
    """Return metrics and differences as a Markdown table.

    Raises:
        ComparisonError: if the runs were measured with different protocols or on different images.
    """
    metrics = compare({run.name: run.evaluation for run in runs})
    return "\n".join([metrics, *(f"| {name} | {' | '.join(values)} |" for name, values in _differences(runs))])


def write_runs_page(runs: Sequence[ComparedRun]) -> str:
    """Return a self-contained HTML page.

    Raises:
        ComparisonError: as `write_runs_table`.
    """
    return render_page(
        "runs.html",
        names=[run.name for run in runs],
        verdicts=[run.evaluation.get("verdict", "") for run in runs],
        metrics=[
            {"name": row.name, "cells": row.cells, **METRICS[row.metric]._asdict()}
            for row in compared_rows({run.name: run.evaluation for run in runs})
        ],
        differences=_differences(runs),
        samples=_samples(runs),
        curves=data_url(_plot_curves(runs), "image/svg+xml"),
    )


def _differences(runs: Sequence[ComparedRun]) -> list[tuple[str, list[str]]]:
    """Return the length of the training, parameters that differ, final values and tags, each with a text per run."""
    rows = [("kimg", [f"{run.images_seen / 1000:.1f}" for run in runs])]
    for name in sorted({name for run in runs for name in run.parameters}):
        values = [run.parameters.get(name, "") for run in runs]
        if len(set(values)) > 1:
            rows.append((name, values))
    for name in _LAST_VALUES:
        curves = [run.curves.get(name, ()) for run in runs]
        rows.append((f"final {name.replace('_', ' ')}", [short(curve[-1][1]) if curve else "" for curve in curves]))
    tags = [(title, [run.tags.get(name, "")[:_LONGEST] for run in runs]) for name, title in _TAGS.items()]
    return [*rows, *((title, values) for title, values in tags if any(values))]


def _samples(runs: Sequence[ComparedRun]) -> list[dict[str, Any]]:
    """Return the grids at the last `images_seen` that all runs have, and at the end of each run."""
    ends = [max(run.grids, default=0) for run in runs]
    shared = set.intersection(*(set(run.grids) for run in runs)) if runs else set()
    groups = {"Samples at the end of training": ends}
    if shared and len(set(ends)) > 1:
        groups = {"Samples at the same kimg": [max(shared)] * len(runs), **groups}
    return [
        {
            "title": title,
            "pictures": [
                {"name": run.name, "kimg": f"{seen / 1000:.1f} kimg", "url": data_url(run.grids[seen], "image/png")}
                for run, seen in zip(runs, images_seen, strict=True)
                if seen in run.grids
            ],
        }
        for title, images_seen in groups.items()
    ]


def _plot_curves(runs: Sequence[ComparedRun]) -> bytes:
    """Return an SVG with a panel for each curve."""
    distances = sorted({name for run in runs for name in run.curves if name.endswith("_validation")})
    panels = {**_CURVES, **{name: f"{name}, lower is better" for name in distances}}
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(11, 3.2 * rows), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(rows, 2, squeeze=False).flat, panels.items(), strict=False):
        for index, run in enumerate(runs):
            curve = run.curves.get(name, ())
            kimg, values = [seen / 1000 for seen, _ in curve], [value for _, value in curve]
            axes.plot(kimg, values, label=run.name, color=f"C{index}", marker="o" if len(curve) < 30 else None, ms=3)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("kimg (thousands of real images seen)", fontsize=8)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(frameon=False, fontsize=8)
    for axes in figure.axes[len(panels) :]:
        axes.set_axis_off()
    file = io.BytesIO()
    # Keep text as text, and make the SVG reproducible.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "runs"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
