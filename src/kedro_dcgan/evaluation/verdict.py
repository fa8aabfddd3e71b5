"""The verdict: one sentence about an evaluation, by fixed rules. Metrics are relative to their floors, real images.

- Fidelity is `high` from 80 % of the precision and 50 % of the density of real images, `medium` from 40 % and 25 %,
  else `low`. The worse of the two metrics decides: a single outlier with a large ball inflates precision, not density.
- Diversity follows from coverage, with the grades of precision. With labels, the covered classes are counted, too.
- Near-copies of training images are reported if authenticity is more than 0.15 below that of held-out images.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# Minima of the upper and the middle grade, in parts of the floor.
_SHARE_GRADES, _DENSITY_GRADES = (0.8, 0.4), (0.5, 0.25)
_AUTHENTICITY_MARGIN = 0.15
_FIDELITY = ("low", "medium", "high")
_DIVERSITY = ("far less diverse than", "less diverse than", "as diverse as")


@dataclass(frozen=True)
class Findings:
    """Values and floors of `precision`, `density`, `coverage` and `authenticity`; covered and all classes, if known."""

    values: Mapping[str, float]
    floors: Mapping[str, float]
    classes: tuple[int, int] | None = None


def verdict(findings: Findings) -> str:
    """Return the sentence, with the values of the metrics that decide it."""
    values = findings.values
    if "precision" not in values:
        return "too few images for a verdict"
    by_precision = _grade(findings, "precision", _SHARE_GRADES)
    by_density = _grade(findings, "density", _DENSITY_GRADES)
    decisive = "precision" if by_precision < by_density else "density"
    parts = [f"{_FIDELITY[min(by_precision, by_density)]} fidelity ({decisive} {values[decisive]:.2f})"]
    if findings.classes:
        parts.append("{} of {} classes".format(*findings.classes))
    diversity = _DIVERSITY[_grade(findings, "coverage", _SHARE_GRADES)]
    parts.append(f"{diversity} the data (coverage {values['coverage']:.2f})")
    floor = findings.floors.get("authenticity", 0.0)
    if values.get("authenticity", floor) < floor - _AUTHENTICITY_MARGIN:
        parts.append(f"near-copies of training images (authenticity {values['authenticity']:.2f})")
    return ", ".join(parts)


def _grade(findings: Findings, metric: str, minima: tuple[float, float]) -> int:
    ratio = findings.values[metric] / (findings.floors.get(metric) or 1.0)
    return sum(ratio >= minimum for minimum in minima)
