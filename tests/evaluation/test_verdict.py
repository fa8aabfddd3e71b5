from dataclasses import replace

import pytest

from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.protocol import MeasurementProtocol, MetricValue
from kedro_dcgan.evaluation.verdict import COLLAPSE, EXPLODED, LOW, UNDERTRAINED, ClassShare, judge

FLOORS = {"precision": 0.9, "density": 1.0, "coverage": 0.9}
PROTOCOL = MeasurementProtocol("efflite0_128", "57", 1280, "bicubic", "float32", 2000, 373, "test", 0, "digest")


def metric_values(values, floors):
    """Values of the test split."""
    return [
        MetricValue(metric, PROTOCOL, Estimate(value), Estimate(floors[metric]) if metric in floors else None)
        for metric, value in values.items()
    ]


def verdict_of(precision, coverage, classes=(), density=1.0, training_fault=None):
    values = {"precision": precision, "density": density, "coverage": coverage}
    return judge(metric_values(values, FLOORS), classes, training_fault)


def class_shares(generated, covered=None):
    """Shares of the classes 0, 1, …, which are equally frequent among real images."""
    covered = len(generated) if covered is None else covered
    return [ClassShare(str(n), share, 1 / len(generated), n < covered) for n, share in enumerate(generated)]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((0.8, 0.8), "high fidelity (density 1.00), as diverse as the data (coverage 0.80)"),
        ((0.8, 0.1), "high fidelity (density 1.00), far less diverse than the data (coverage 0.10)"),
        ((0.5, 0.5), "medium fidelity (precision 0.50), less diverse than the data (coverage 0.50)"),
        ((0.1, 0.8), "low fidelity (precision 0.10), as diverse as the data (coverage 0.80)"),
        (
            (0.8, 0.8, class_shares([0.1] * 10, covered=6)),
            "high fidelity (density 1.00), 6 of 10 classes, as diverse as the data (coverage 0.80)",
        ),
        # One real outlier, whose ball contains all samples, raises precision but not density.
        ((1.0, 0.05, (), 0.2), "low fidelity (density 0.20), far less diverse than the data (coverage 0.05)"),
    ],
)
def test_verdict_grades_metrics_relative_to_their_floors(values, sentence):
    assert verdict_of(*values).headline == sentence


def test_verdict_without_floors_is_relative_to_1():
    values = {"precision": 0.75, "density": 0.9, "coverage": 0.85}
    sentence = "medium fidelity (precision 0.75), as diverse as the data (coverage 0.85)"
    assert judge(metric_values(values, {})).headline == sentence


def test_too_few_images_have_no_verdict():
    found = judge(metric_values({"fd": 3.0}, {}))
    assert "too few images" in found.headline
    assert (found.fault, found.fidelity, found.diversity, found.copies) == (None, None, None, False)
    # A fault of the training is reported all the same.
    assert judge(metric_values({"fd": 3.0}, {}), (), EXPLODED).headline.startswith(EXPLODED)


def test_values_of_other_splits_do_not_affect_the_verdict():
    values = metric_values({"precision": 0.8, "density": 1.0, "coverage": 0.8}, {})
    other = [MetricValue("precision", replace(PROTOCOL, split="train"), Estimate(0.1))]
    assert judge([*values, *other]) == judge([*other, *values]) == judge(values)


def test_headline_contains_the_most_over_and_underrepresented_classes():
    shares = [0.1] * 5 + [0.081, 0.17, 0.2, 0.029, 0.259]
    headline = verdict_of(0.5, 0.52, class_shares(shares), density=0.19).headline
    assert headline == (
        "low fidelity (density 0.19), 10 of 10 classes, too many of class 9 (25.9 % against 10.0 %), "
        "too few of class 8 (2.9 % against 10.0 %), less diverse than the data (coverage 0.52)"
    )


@pytest.mark.parametrize(
    "shares",
    [
        [0.1] * 10,
        # A factor below 2.
        [0.19] + [0.09] * 9,
        # Less than 5 percentage points.
        [0.03] + [0.97 / 99] * 99,
        [0.0] + [1 / 99] * 99,
    ],
)
def test_small_imbalances_are_not_in_the_headline(shares):
    assert "of class" not in verdict_of(0.8, 0.8, class_shares(shares)).headline


def test_a_class_that_is_never_generated_is_named():
    headline = verdict_of(0.8, 0.8, class_shares([0.0] + [1 / 9] * 9, covered=10)).headline
    assert "too few of class 0 (0.0 % against 10.0 %)" in headline


@pytest.mark.parametrize("fault", [EXPLODED, COLLAPSE, UNDERTRAINED])
def test_fault_of_the_training_is_the_verdict(fault):
    found = verdict_of(0.8, 0.8, training_fault=fault)
    assert found.fault == fault
    assert found.headline.startswith(f"{fault}, high fidelity")


def test_realistic_samples_of_few_modes_are_a_mode_collapse_even_if_the_training_was_healthy():
    assert verdict_of(0.8, 0.04).fault == COLLAPSE
    assert verdict_of(0.8, 0.04).headline.startswith(f"{COLLAPSE}, high fidelity")
    assert verdict_of(0.8, 0.1).fault is None
    # Samples unlike the data cover nothing, but have not collapsed.
    unlike = verdict_of(0.1, 0.0)
    assert (unlike.fault, unlike.fidelity, unlike.diversity) == (UNDERTRAINED, LOW, LOW)


def copies_verdict(*shares):
    """The verdict on near-copies: in each space, their share of the samples and of real images, with intervals."""
    others = metric_values({"precision": 0.8, "density": 1.0, "coverage": 0.8}, FLOORS)
    train = replace(PROTOCOL, split="train")
    return judge([*(MetricValue("near_copies", train, Estimate(*a), Estimate(*b)) for a, b in shares), *others])


FEW, MANY, REAL = (0.05, 0.04, 0.06), (0.24, 0.2, 0.28), (0.05, 0.03, 0.08)


@pytest.mark.parametrize("shares", [[(MANY, REAL)], [(FEW, REAL), (MANY, REAL)], [(MANY, REAL), (FEW, REAL)]])
def test_near_copies_in_one_space_suffice(shares):
    found = copies_verdict(*shares)
    assert found.copies
    assert found.headline.endswith("near-copies of training images (24 % of the samples)")


@pytest.mark.parametrize(
    "shares",
    [
        [],
        [(FEW, REAL)],
        # Certainly more than among real images, but not much more.
        [((0.099, 0.09, 0.11), (0.05, 0.045, 0.055))],
        # The intervals overlap: the samples or the held-out images are few.
        [((0.24, 0.07, 0.4), REAL)],
        [(MANY, (0.05, 0.01, 0.25))],
    ],
)
def test_copies_must_be_frequent_and_certain(shares):
    found = copies_verdict(*shares)
    assert not found.copies
    assert "copies" not in found.headline
