"""Compare evaluations of the same protocol in a table."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kedro_dcgan.errors import ComparisonError
from kedro_dcgan.evaluation.protocol import MeasurementProtocol, require_comparable
from kedro_dcgan.reports.evaluation import METRICS, short


class Cell(NamedTuple):
    """A value with its interval, and whether it is significantly better than all others of its row."""

    text: str
    is_best: bool


class Row(NamedTuple):
    """The values of a metric, a cell for each evaluation."""

    name: str
    metric: str
    cells: list[Cell]


def read_evaluation(path: Path) -> dict[str, Any]:
    """Return an evaluation from its JSON file.

    Raises:
        ComparisonError: if the file is not an evaluation.
    """
    try:
        evaluation: dict[str, Any] = json.loads(path.read_text("utf-8"))
        is_valid = bool(evaluation["numbers"]) and all(map(_is_number, evaluation["numbers"]))
        protocols = [MeasurementProtocol.from_dict(fields) for fields in evaluation["protocols"]]
        is_valid = is_valid and all(isinstance(one.extractor, str) for one in protocols)
    except (ValueError, KeyError, TypeError, AttributeError):
        is_valid = False
    if not is_valid:
        raise ComparisonError(
            f"{path} must be an evaluation (it is not). Name a file like data/08_reporting/evaluation.json."
        )
    return evaluation


def _is_number(record: Mapping[str, Any]) -> bool:
    values = [record["value"], *(end for end in (record["low"], record["high"]) if end is not None)]
    is_named = isinstance(record["name"], str) and record["metric"] in METRICS
    return is_named and all(isinstance(value, int | float) and math.isfinite(value) for value in values)


def compare(evaluations: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a Markdown table with a column for each named evaluation and a row for each metric that all have.

    The best value of a row is bold if its interval does not overlap with any other.

    Raises:
        ComparisonError: if protocols differ, or two evaluations have no extractor in common.
    """
    lines = [f"| | {' | '.join(evaluations)} |", f"|---|{'---:|' * len(evaluations)}"]
    for row in compared_rows(evaluations):
        cells = [f"**{cell.text}**" if cell.is_best else cell.text for cell in row.cells]
        lines.append(f"| `{row.name}` | {' | '.join(cells)} |")
    verdicts = [str(one.get("verdict", "")) for one in evaluations.values()]
    return "\n".join([*lines, f"| verdict | {' | '.join(verdicts)} |"])


def compared_rows(evaluations: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Return a row for each metric that all named evaluations have.

    Raises:
        ComparisonError: as `compare`.
    """
    first, *others = evaluations
    for other in others:
        _require_same_protocols(first, evaluations[first], other, evaluations[other])
    by_name = [{record["name"]: record for record in one["numbers"]} for one in evaluations.values()]
    shared = [name for name in by_name[0] if all(name in records for records in by_name)]
    return [Row(name, by_name[0][name]["metric"], _cells([one[name] for one in by_name])) for name in shared]


def _require_same_protocols(first: str, ours: Mapping[str, Any], second: str, theirs: Mapping[str, Any]) -> None:
    """Compare the protocols of each extractor and split that both have; the others are left out of the table."""

    def by_extractor_and_split(evaluation: Mapping[str, Any]) -> dict[tuple[str, str], MeasurementProtocol]:
        protocols = [MeasurementProtocol.from_dict(fields) for fields in evaluation["protocols"]]
        return {(one.extractor.partition("_")[0], one.split): one for one in protocols}

    a, b = by_extractor_and_split(ours), by_extractor_and_split(theirs)
    if not a.keys() & b.keys():
        raise ComparisonError(
            f"{first} and {second} must have metrics of one extractor (they have none in common). "
            "Evaluate both in the same way: kedro run --pipelines=evaluate."
        )
    for key in a.keys() & b.keys():
        require_comparable(a[key], b[key])


def _cells(numbers: list[Mapping[str, Any]]) -> list[Cell]:
    best = _significantly_best(numbers)
    return [Cell(_text(number), index == best) for index, number in enumerate(numbers)]


def _text(number: Mapping[str, Any]) -> str:
    if number["low"] is None or number["high"] is None:
        return short(number["value"])
    return f"{short(number['value'])} [{short(number['low'])}, {short(number['high'])}]"


def _significantly_best(numbers: list[Mapping[str, Any]]) -> int | None:
    better = METRICS[numbers[0]["metric"]].better
    has_intervals = all(number["low"] is not None and number["high"] is not None for number in numbers)
    if len(numbers) < 2 or not better or not has_intervals:
        return None
    sign, low, high = (1, "low", "high") if better == "higher" else (-1, "high", "low")
    best = max(range(len(numbers)), key=lambda index: sign * numbers[index]["value"])
    others = [number for index, number in enumerate(numbers) if index != best]
    return best if all(sign * numbers[best][low] > sign * other[high] for other in others) else None
