"""Trained generators side by side: their numbers, what they were trained with, their curves and their samples."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from matplotlib import rc_context
from matplotlib.figure import Figure

from kedro_dcgan.reports.comparison import compare, rows_of
from kedro_dcgan.reports.evaluation import MEANINGS, short

_PAGES = jinja2.Environment(
    loader=jinja2.PackageLoader("kedro_dcgan.reports", "."), autoescape=True, undefined=jinja2.StrictUndefined
)

# A curve each, with what it is called; the distance to the validation split has its protocol in its name.
_CURVES = {
    "discriminator_loss": "loss of the discriminator",
    "generator_loss": "loss of the generator",
    "diversity": "diversity of the samples",
}
_LAST_VALUES = ("discriminator_loss", "generator_loss", "diversity", "images_per_second")
_TAGS = {
    "preset": "preset",
    "verdict": "health of the training",
    "hardware": "hardware",
    "git_commit": "commit",
    "git_dirty": "files differed from it",
    "dataset_digest": "digest of the images",
}
_LONGEST = 60
Curve = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class ComparedRun:
    """A run as it is compared: texts by name, curves by name over the images seen, PNG grids by the images seen."""

    name: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    curves: Mapping[str, Curve]
    evaluation: Mapping[str, Any]
    grids: Mapping[int, bytes]

    @property
    def images_seen(self) -> int:
        """How many images it was trained on."""
        return max((curve[-1][0] for curve in self.curves.values() if curve), default=0)


def write_runs_table(runs: Sequence[ComparedRun]) -> str:
    """Return what the page says in Markdown, without its pictures.

    Raises:
        ComparisonError: if they were measured in different ways or on different images.
    """
    numbers = compare({run.name: run.evaluation for run in runs})
    facts = [f"| {name} | {' | '.join(values)} |" for name, values in _facts(runs)]
    return "\n".join([numbers, *facts])


def write_runs_page(runs: Sequence[ComparedRun]) -> str:
    """Return a self-contained HTML page.

    Raises:
        ComparisonError: if they were measured in different ways or on different images.
    """
    return _PAGES.get_template("runs.html").render(
        names=[run.name for run in runs],
        verdicts=[run.evaluation.get("verdict", "") for run in runs],
        numbers=[
            {"name": name, "title": MEANINGS[metric][0], "better": MEANINGS[metric][2], "cells": cells}
            for name, metric, cells in rows_of({run.name: run.evaluation for run in runs})
        ],
        facts=_facts(runs),
        samples=_samples(runs),
        curves=_as_url(_draw_curves(runs), "image/svg+xml"),
    )


def differing_parameters(runs: Sequence[ComparedRun]) -> list[tuple[str, list[str]]]:
    """Return the parameters that are not the same in all runs, with their values."""
    names = sorted({name for run in runs for name in run.parameters})
    rows = [(name, [run.parameters.get(name, "") for run in runs]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _facts(runs: Sequence[ComparedRun]) -> list[tuple[str, list[str]]]:
    lasts = [
        (f"{name.replace('_', ' ')}, at the end", [_last(run.curves.get(name, ())) for run in runs])
        for name in _LAST_VALUES
    ]
    tags = [(title, [run.tags.get(name, "")[:_LONGEST] for run in runs]) for name, title in _TAGS.items()]
    kimg = ("thousand images", [f"{run.images_seen / 1000:.1f}" for run in runs])
    return [kimg, *differing_parameters(runs), *lasts, *((name, texts) for name, texts in tags if any(texts))]


def _last(curve: Curve) -> str:
    return short(curve[-1][1]) if curve else ""


def _samples(runs: Sequence[ComparedRun]) -> list[dict[str, Any]]:
    """Return the same latents at the last moment that all have, and at the end of each."""
    shared = set.intersection(*(set(run.grids) for run in runs)) if runs else set()
    moments = [[max(shared)] * len(runs)] if shared else []
    ends = [max(run.grids, default=0) for run in runs]
    titles = ["At the same moment", "At the end of each"]
    if len(set(ends)) == 1 or not shared:
        titles = ["At the end" if len(set(ends)) == 1 else "At the end of each"]
        moments = []
    moments.append(ends)
    return [
        {
            "title": title,
            "pictures": [
                {"name": run.name, "kimg": f"{at / 1000:.1f} kimg", "url": _as_url(run.grids[at], "image/png")}
                for run, at in zip(runs, ats, strict=True)
                if at in run.grids
            ],
        }
        for title, ats in zip(titles, moments, strict=True)
    ]


def _draw_curves(runs: Sequence[ComparedRun]) -> bytes:
    distances = sorted({name for run in runs for name in run.curves if name.endswith("_validation")})
    panels = {**_CURVES, **{name: f"{name}, lower is better" for name in distances}}
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(11, 3.2 * rows), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(rows, 2, squeeze=False).flat, panels.items(), strict=False):
        for number, run in enumerate(runs):
            curve = run.curves.get(name, ())
            kimg, values = [step / 1000 for step, _ in curve], [value for _, value in curve]
            axes.plot(kimg, values, label=run.name, color=f"C{number}", marker="o" if len(curve) < 30 else None, ms=3)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("real images shown, thousands", fontsize=8)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(frameon=False, fontsize=8)
    for axes in figure.axes[len(panels) :]:
        axes.set_axis_off()
    file = io.BytesIO()
    # Letters stay letters, and equal runs give equal pages.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "runs"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _as_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
