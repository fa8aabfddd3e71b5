"""Several evaluations in one table, if they may be compared."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro_dcgan.errors import ComparisonError
from kedro_dcgan.evaluation.protocol import MeasurementProtocol, require_comparable
from kedro_dcgan.reports.evaluation import MEANINGS, short


@dataclass(frozen=True)
class Cell:
    """A number with its interval, and whether it is better than all others of its row by more than these."""

    text: str
    is_best: bool


def read_evaluation(path: Path) -> dict[str, Any]:
    """Return an evaluation from its JSON file.

    Raises:
        ComparisonError: if the file is no evaluation.
    """
    try:
        evaluation: dict[str, Any] = json.loads(path.read_text("utf-8"))
        is_one = all(map(_is_number, evaluation["numbers"])) and bool(evaluation["numbers"])
        protocols = [MeasurementProtocol.from_dict(fields) for fields in evaluation["protocols"]]
        is_one = is_one and all(isinstance(one.extractor, str) for one in protocols)
    except (ValueError, KeyError, TypeError, AttributeError):
        is_one = False
    if not is_one:
        raise ComparisonError(f"{path} must be an evaluation, such as data/08_reporting/evaluation.json (it is not).")
    return evaluation


def _is_number(record: Mapping[str, Any]) -> bool:
    ends = [end for end in (record["low"], record["high"]) if end is not None]
    values = [record["value"], *ends]
    is_named = isinstance(record["name"], str) and record["metric"] in MEANINGS
    return is_named and all(isinstance(value, int | float) and math.isfinite(value) for value in values)


def compare(evaluations: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a Markdown table of the numbers that all have: a column each, by the names they are given.

    The best of a row is bold where its interval does not overlap with any other's.

    Raises:
        ComparisonError: if two were measured in different ways, with what differs; or none has numbers of another.
    """
    lines = [f"| | {' | '.join(evaluations)} |", f"|---|{'---:|' * len(evaluations)}"]
    for name, _, cells in rows_of(evaluations):
        marked = [f"**{cell.text}**" if cell.is_best else cell.text for cell in cells]
        lines.append(f"| `{name}` | {' | '.join(marked)} |")
    verdicts = [str(one.get("verdict", "")) for one in evaluations.values()]
    return "\n".join([*lines, f"| verdict | {' | '.join(verdicts)} |"])


def rows_of(evaluations: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, list[Cell]]]:
    """Return name, metric and a cell an evaluation of each number that all have.

    Raises:
        ComparisonError: as `compare`.
    """
    records = {name: {record["name"]: record for record in one["numbers"]} for name, one in evaluations.items()}
    first, *others = evaluations
    _require_one_protocol(evaluations, first, others)
    shared = [name for name in records[first] if all(name in records[other] for other in others)]
    return [
        (name, records[first][name]["metric"], _cells([records[one][name] for one in evaluations])) for name in shared
    ]


def _require_one_protocol(evaluations: Mapping[str, Mapping[str, Any]], first: str, others: list[str]) -> None:
    # An extractor that only one of them had is no obstacle: its numbers are left out.
    def by_place(evaluation: Mapping[str, Any]) -> dict[tuple[str, str], MeasurementProtocol]:
        protocols = [MeasurementProtocol.from_dict(fields) for fields in evaluation["protocols"]]
        return {(one.extractor.partition("_")[0], one.split): one for one in protocols}

    ours = by_place(evaluations[first])
    for other in others:
        theirs = by_place(evaluations[other])
        if not ours.keys() & theirs.keys():
            raise ComparisonError(f"{first} and {other} must have numbers of one extractor (they have none in common).")
        for place in ours.keys() & theirs.keys():
            require_comparable(ours[place], theirs[place])


def _cells(numbers: list[Mapping[str, Any]]) -> list[Cell]:
    best = _clearly_best(numbers)
    return [Cell(_text(number), place == best) for place, number in enumerate(numbers)]


def _text(number: Mapping[str, Any]) -> str:
    if number["low"] is None or number["high"] is None:
        return short(number["value"])
    return f"{short(number['value'])} [{short(number['low'])}, {short(number['high'])}]"


def _clearly_best(numbers: list[Mapping[str, Any]]) -> int | None:
    better = MEANINGS[numbers[0]["metric"]][2]
    has_intervals = all(number["low"] is not None and number["high"] is not None for number in numbers)
    if len(numbers) < 2 or not better or not has_intervals:
        return None
    sign = 1 if better == "higher" else -1
    best = max(range(len(numbers)), key=lambda i: sign * numbers[i]["value"])
    low, high = ("low", "high") if better == "higher" else ("high", "low")
    others = [number for i, number in enumerate(numbers) if i != best]
    is_clear = all(sign * numbers[best][low] > sign * other[high] for other in others)
    return best if is_clear else None
