"""What the numbers say in a sentence, by stated rules: each number is held against its floor, that of real images.

- quality: precision at least 80 % of the floor's and density at least half is `sharp`; at least 40 % and a quarter
  `partly sharp`; else `unlike real images`. (One odd real image with a large ball can spoil precision alone.)
- variety: coverage likewise, `varied`, `less varied than real images`, `all alike`; and, where classes are known, how
  many of them it covers;
- memory: a share of authentic images by more than 0.15 below that of held-out ones is `close to copies`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# Good and fair, as parts of the floor.
_SHARES, _DENSITIES = (0.8, 0.4), (0.5, 0.25)
_COPIES = 0.15


@dataclass(frozen=True)
class Findings:
    """Values and floors of `precision`, `density`, `coverage`, `authenticity`; classes covered, of all, if known."""

    values: Mapping[str, float]
    floors: Mapping[str, float]
    classes: tuple[int, int] | None = None


def verdict(findings: Findings) -> str:
    """Return the sentence."""
    if "precision" not in findings.values:
        return "too few images to say"
    quality = min(_grade(findings, "precision", _SHARES), _grade(findings, "density", _DENSITIES))
    variety = _grade(findings, "coverage", _SHARES)
    said = ("unlike real images", "partly sharp", "sharp")[quality]
    kinds = ("all alike", "less varied than real images", "varied")[variety]
    if findings.classes:
        covered, known = findings.classes
        kinds = f"covers {covered} of {known} classes" + ("" if variety == 2 else f", {kinds}")
        is_good = covered == known and variety == 2
    else:
        is_good = variety == 2
    sentence = f"{said} {'and' if (quality == 2) == is_good else 'but'} {kinds}"
    return f"{sentence}; close to copies of training images" if _copies(findings) else sentence


def _grade(findings: Findings, metric: str, grades: tuple[float, float]) -> int:
    part = findings.values[metric] / (findings.floors.get(metric) or 1.0)
    return sum(part >= grade for grade in grades)


def _copies(findings: Findings) -> bool:
    value, floor = (side.get("authenticity") for side in (findings.values, findings.floors))
    return value is not None and floor is not None and value < floor - _COPIES
