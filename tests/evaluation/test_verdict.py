from dataclasses import replace

import pytest

from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.protocol import MeasurementProtocol, MetricValue, verdict

FLOORS = {"precision": 0.9, "density": 1.0, "coverage": 0.9, "authenticity": 0.6}
PROTOCOL = MeasurementProtocol("efflite0_128", "57", 1280, "bicubic", "float32", 2000, 373, "test", 0, "digest")


def metric_values(values, floors):
    """Values of the test split, but authenticity of the train split."""
    found = []
    for metric, value in values.items():
        protocol = replace(PROTOCOL, split="train" if metric == "authenticity" else "test")
        floor = Estimate(floors[metric]) if metric in floors else None
        found.append(MetricValue(metric, protocol, Estimate(value), floor))
    return found


def verdict_of(precision, coverage, authenticity=0.6, classes=None, density=1.0):
    values = {"precision": precision, "density": density, "coverage": coverage, "authenticity": authenticity}
    return verdict(metric_values(values, FLOORS), classes)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((0.8, 0.8), "high fidelity (density 1.00), as diverse as the data (coverage 0.80)"),
        ((0.8, 0.1), "high fidelity (density 1.00), far less diverse than the data (coverage 0.10)"),
        ((0.5, 0.5), "medium fidelity (precision 0.50), less diverse than the data (coverage 0.50)"),
        ((0.1, 0.8), "low fidelity (precision 0.10), as diverse as the data (coverage 0.80)"),
        (
            (0.8, 0.8, 0.6, (6, 10)),
            "high fidelity (density 1.00), 6 of 10 classes, as diverse as the data (coverage 0.80)",
        ),
        (
            (0.8, 0.8, 0.44),
            "high fidelity (density 1.00), as diverse as the data (coverage 0.80), "
            "near-copies of training images (authenticity 0.44)",
        ),
        # 0.14 below the floor of authenticity is not enough.
        ((0.8, 0.8, 0.46), "high fidelity (density 1.00), as diverse as the data (coverage 0.80)"),
        # One real outlier, whose ball contains all samples, raises precision but not density.
        ((1.0, 0.01, 0.6, None, 0.2), "low fidelity (density 0.20), far less diverse than the data (coverage 0.01)"),
    ],
)
def test_verdict_grades_metrics_relative_to_their_floors(values, sentence):
    assert verdict_of(*values) == sentence


def test_verdict_without_floors_is_relative_to_1():
    values = {"precision": 0.75, "density": 0.9, "coverage": 0.85, "authenticity": 0.1}
    sentence = "medium fidelity (precision 0.75), as diverse as the data (coverage 0.85)"
    assert verdict(metric_values(values, {})) == sentence


def test_too_few_images_have_no_verdict():
    assert "too few images" in verdict(metric_values({"fd": 3.0}, {}))


def test_values_of_other_splits_do_not_affect_the_verdict():
    values = metric_values({"precision": 0.8, "density": 1.0, "coverage": 0.8}, {})
    other = [MetricValue("precision", replace(PROTOCOL, split="train"), Estimate(0.1))]
    assert verdict([*values, *other]) == verdict([*other, *values]) == verdict(values)
