"""The verdict on a generator: one fault, if it has one, and a headline that contains the worst fact about it.

The console, the page, `generator.json`, the registry and MLflow all show this verdict.

- Fidelity is `high` from 80 % of the precision and 50 % of the density of real images, `medium` from 40 % and 25 %,
  else `low`. The worse of the two decides: a single outlier with a large ball inflates precision, not density.
- Diversity follows from coverage, with the limits of precision. Below 5 %, the samples cover nothing: the modes have
  collapsed, or, with low fidelity, the generator is undertrained, whatever the training reported.
- A class is too frequent or too rare if its share differs from that of real images by a factor of at least 2 and by at
  least 5 percentage points. The headline names the class with the largest factor in each direction.
- It copies training images if its share of near-copies, in pixels or in features, is more than 5 percentage points
  above that of held-out images, and their intervals do not overlap. Such a generator never becomes champion by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kedro_dcgan.evaluation.protocol import MetricValue

EXPLODED, COLLAPSE, UNDERTRAINED = "exploded", "mode collapse", "undertrained"
COPIES_NOTICE = "This generator copies training images. Compare its samples with them before you publish any."
# A generator with one of these faults never becomes champion by itself.
UNUSABLE = (EXPLODED, COLLAPSE)

LOW, MEDIUM, HIGH = range(3)
# Minimum values for the grades high and medium, relative to the floor.
_GRADES = {"precision": (0.8, 0.4), "density": (0.5, 0.25), "coverage": (0.8, 0.4)}
_COLLAPSED_COVERAGE, _MORE_COPIES = 0.05, 0.05
_LEAST_FACTOR, _LEAST_DIFFERENCE = 2.0, 0.05


@dataclass(frozen=True)
class ClassShare:
    """The share of a class, 0 to 1, among the generated and among the real images, and whether it is generated."""

    name: str
    generated: float
    real: float
    is_covered: bool


@dataclass(frozen=True)
class Verdict:
    """The headline; the fault of the generator (`EXPLODED`, `COLLAPSE`, `UNDERTRAINED`), if any; and the grades.

    `fidelity` and `diversity` are `LOW`, `MEDIUM` or `HIGH`, and None with too few images. `copies`: near-copies of
    training images were found.
    """

    headline: str
    fault: str | None = None
    fidelity: int | None = None
    diversity: int | None = None
    copies: bool = False


def judge(
    values: Sequence[MetricValue], classes: Sequence[ClassShare] = (), training_fault: str | None = None
) -> Verdict:
    """Return the verdict on measured metrics, relative to their floors (those of real images, 1 if unknown)."""
    chosen = {one.metric: one for one in values if one.protocol.split == "test"}
    measured = {metric: one.estimate.value for metric, one in chosen.items()}
    floors = {metric: one.floor.value for metric, one in chosen.items() if one.floor}
    if "precision" not in measured:
        parts = [training_fault, "too few images for a verdict"]
        return Verdict(", ".join(filter(None, parts)), training_fault)

    # Grade fidelity and diversity.
    relative = {metric: value / (floors.get(metric) or 1.0) for metric, value in measured.items()}
    grades = {name: sum(relative[name] >= minimum for minimum in minima) for name, minima in _GRADES.items()}
    decisive = "precision" if grades["precision"] < grades["density"] else "density"
    fidelity, diversity, fault = grades[decisive], grades["coverage"], training_fault
    if fault is None and relative["coverage"] < _COLLAPSED_COVERAGE:
        fault = UNDERTRAINED if fidelity == LOW else COLLAPSE
    copied = max((one.estimate.value for one in values if one.metric == "near_copies" and _is_excess(one)), default=0.0)

    # Write the headline, the fault first.
    parts = [fault, f"{('low', 'medium', 'high')[fidelity]} fidelity ({decisive} {measured[decisive]:.2f})"]
    if classes:
        parts += [f"{sum(one.is_covered for one in classes)} of {len(classes)} classes", *_imbalances(classes)]
    compared = ("far less diverse than", "less diverse than", "as diverse as")[diversity]
    parts.append(f"{compared} the data (coverage {measured['coverage']:.2f})")
    if copied:
        parts.append(f"near-copies of training images ({100 * copied:.0f} % of the samples)")
    return Verdict(", ".join(filter(None, parts)), fault, fidelity, diversity, bool(copied))


def _is_excess(copies: MetricValue) -> bool:
    """Return whether a share of near-copies is well and certainly above that of real images."""
    real, share = copies.floor, copies.estimate
    return real is not None and share.value > real.value + _MORE_COPIES and share.low > real.high


def _imbalances(classes: Sequence[ClassShare]) -> list[str]:
    """Return the most overrepresented and the most underrepresented class, in words."""
    found = []
    for word, sign in (("many", 1), ("few", -1)):
        apart = [
            (max(one.generated, one.real) / max(min(one.generated, one.real), 1e-9), one)
            for one in classes
            if sign * (one.generated - one.real) >= _LEAST_DIFFERENCE
        ]
        factor, worst = max(apart, key=lambda pair: pair[0], default=(0.0, None))
        if worst and factor >= _LEAST_FACTOR:
            found.append(
                f"too {word} of class {worst.name} ({100 * worst.generated:.1f} % against {100 * worst.real:.1f} %)"
            )
    return found
