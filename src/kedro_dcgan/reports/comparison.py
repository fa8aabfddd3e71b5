"""Compare evaluations of the same protocol, and runs with their parameters, training curves and samples."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from kedro_dcgan.errors import ComparisonError
from kedro_dcgan.evaluation.protocol import MeasurementProtocol, require_comparable
from kedro_dcgan.progress import short_images
from kedro_dcgan.reports.evaluation import METRICS, short
from kedro_dcgan.reports.pages import data_url, render_page, svg_url

# Plotted curves; the distance to the validation split is plotted, too, under a name that contains its protocol.
_CURVES = {
    "discriminator_loss": "discriminator loss",
    "generator_loss": "generator loss",
    "diversity": "diversity of the samples",
}
_LAST_VALUES = ("discriminator_loss", "generator_loss", "diversity", "images_per_second")
_TAGS = {
    "preset": "preset",
    "classes": "classes of the generator",
    "verdict": "training health",
    "hardware": "hardware",
    "git_commit": "commit",
    "git_dirty": "uncommitted changes",
    "dataset_digest": "dataset digest",
}
_LONGEST_TAG = 60


class Row(NamedTuple):
    """The values of a metric with intervals, one per evaluation, and the index of the best if it is significant."""

    name: str
    metric: str
    texts: list[str]
    best: int | None


@dataclass(frozen=True)
class ComparedRun:
    """A run: its parameters and tags, curves `(images_seen, value)` by name, and PNG grids by `images_seen`."""

    name: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    curves: Mapping[str, Sequence[tuple[int, float]]]
    evaluation: Mapping[str, Any]
    grids: Mapping[int, bytes]


def read_evaluation(path: Path) -> dict[str, Any]:
    """Return an evaluation from its JSON file.

    Raises:
        ComparisonError: if the file is not an evaluation.
    """

    def is_number(record: Mapping[str, Any]) -> bool:
        values = [record["value"], *(end for end in (record["low"], record["high"]) if end is not None)]
        is_named = isinstance(record["name"], str) and record["metric"] in METRICS
        return is_named and all(isinstance(value, int | float) and math.isfinite(value) for value in values)

    try:
        evaluation: dict[str, Any] = json.loads(path.read_text("utf-8"))
        protocols = [MeasurementProtocol.from_dict(fields) for fields in evaluation["protocols"]]
        is_valid = bool(evaluation["numbers"]) and all(map(is_number, evaluation["numbers"]))
        is_valid = is_valid and all(isinstance(one.extractor, str) for one in protocols)
    except (RecursionError, ValueError, KeyError, TypeError, AttributeError):
        is_valid = False
    if not is_valid:
        raise ComparisonError(
            f"{path} must be an evaluation (it is not). Name a file like data/08_reporting/evaluation.json."
        )
    return evaluation


def compare(evaluations: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a Markdown table with a column for each named evaluation and a row for each metric.

    A cell is empty if an evaluation lacks the metric (those of classes need a conditional generator). The best value of
    a row is bold if its interval does not overlap with any other.

    Raises:
        ComparisonError: if protocols differ, or two evaluations have no extractor in common.
    """
    lines = [f"| | {' | '.join(evaluations)} |", f"|---|{'---:|' * len(evaluations)}"]
    for row in compared_rows(evaluations):
        cells = [f"**{text}**" if index == row.best else text for index, text in enumerate(row.texts)]
        lines.append(f"| `{row.name}` | {' | '.join(cells)} |")
    verdicts = " | ".join(str(one.get("verdict", "")) for one in evaluations.values())
    return "\n".join([*lines, f"| verdict | {verdicts} |"])


def compared_rows(evaluations: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Return a row for each metric of the named evaluations; raise the errors of `compare`."""
    # Two evaluations must agree in the protocols of each extractor and split that both have.
    protocols: dict[str, dict[tuple[str, str], MeasurementProtocol]] = {}
    for name, evaluation in evaluations.items():
        stored = [MeasurementProtocol.from_dict(fields) for fields in evaluation["protocols"]]
        protocols[name] = {(one.extractor.partition("_")[0], one.split): one for one in stored}
    for first, other in itertools.combinations(evaluations, 2):
        common = protocols[first].keys() & protocols[other].keys()
        if not common:
            raise ComparisonError(
                f"{first} and {other} must have metrics of one extractor (they have none in common). "
                "Evaluate both in the same way: kedro run --pipelines=evaluate."
            )
        for key in common:
            require_comparable(protocols[first][key], protocols[other][key])

    by_name = [{record["name"]: record for record in one["numbers"]} for one in evaluations.values()]
    names = dict.fromkeys(name for records in by_name for name in records)
    return [_row([records.get(name) for records in by_name]) for name in names]


def _row(numbers: Sequence[Mapping[str, Any] | None]) -> Row:
    """Return the row of a metric; an evaluation without it has None in place of its record."""
    known = {index: number for index, number in enumerate(numbers) if number}
    first = next(iter(known.values()))
    return Row(first["name"], first["metric"], [_text(number) for number in numbers], _best(known))


def _text(number: Mapping[str, Any] | None) -> str:
    """Write a value with its interval."""
    if not number:
        return ""
    value, low, high = (short(number[key]) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]" if low and high else value


def _best(known: Mapping[int, Mapping[str, Any]]) -> int | None:
    """Return the key of the best value, if its interval does not overlap with any other."""
    better = METRICS[next(iter(known.values()))["metric"]].better
    if len(known) < 2 or not better or any(number[end] is None for number in known.values() for end in ("low", "high")):
        return None
    sign, low, high = (1, "low", "high") if better == "higher" else (-1, "high", "low")
    best = max(known, key=lambda index: sign * known[index]["value"])
    others = (number for index, number in known.items() if index != best)
    return best if all(sign * known[best][low] > sign * number[high] for number in others) else None


def write_runs_table(runs: Sequence[ComparedRun]) -> str:
    """Return metrics and differences as a Markdown table; raise the errors of `compare`."""
    metrics = compare({run.name: run.evaluation for run in runs})
    return "\n".join([metrics, *(f"| {name} | {' | '.join(values)} |" for name, values in _differences(runs))])


def write_runs_page(runs: Sequence[ComparedRun]) -> str:
    """Return a self-contained HTML page; raise the errors of `compare`."""
    rows = compared_rows({run.name: run.evaluation for run in runs})
    return render_page(
        "runs.html",
        names=[run.name for run in runs],
        verdicts=[run.evaluation.get("verdict", "") for run in runs],
        metrics=[row._asdict() | METRICS[row.metric]._asdict() for row in rows],
        differences=_differences(runs),
        samples=_samples(runs),
        curves=svg_url(plot_curves(runs)),
    )


def _differences(runs: Sequence[ComparedRun]) -> list[tuple[str, list[str]]]:
    """Return the length of the training, parameters that differ, final values and tags, each with a text per run."""
    ends = [max((curve[-1][0] for curve in run.curves.values() if curve), default=0) for run in runs]
    rows = [("kimg", [f"{end / 1000:g}" for end in ends])]
    for name in sorted({name for run in runs for name in run.parameters}):
        values = [run.parameters.get(name, "") for run in runs]
        if len(set(values)) > 1:
            rows.append((name, values))
    for name in _LAST_VALUES:
        curves = [run.curves.get(name, ()) for run in runs]
        rows.append((f"final {name.replace('_', ' ')}", [short(curve[-1][1]) if curve else "" for curve in curves]))
    tags = [(title, [run.tags.get(name, "")[:_LONGEST_TAG] for run in runs]) for name, title in _TAGS.items()]
    return [*rows, *((title, values) for title, values in tags if any(values))]


def _samples(runs: Sequence[ComparedRun]) -> list[dict[str, Any]]:
    """Return the grids at the last `images_seen` that all runs have, and at the end of each run."""
    ends = [max(run.grids, default=0) for run in runs]
    shared = set.intersection(*(set(run.grids) for run in runs))
    groups = {"Samples at the end of training": ends}
    if shared and len(set(ends)) > 1:
        groups = {"Samples at the same kimg": [max(shared)] * len(runs), **groups}
    return [
        {
            "title": title,
            "pictures": [
                {"name": run.name, "seen": short_images(seen), "url": data_url(run.grids[seen], "image/png")}
                for run, seen in zip(runs, images_seen, strict=True)
                if seen in run.grids
            ],
        }
        for title, images_seen in groups.items()
    ]


def plot_curves(runs: Sequence[ComparedRun]) -> Figure:
    """Plot a panel for each curve, with a line for each run."""
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
    return figure
