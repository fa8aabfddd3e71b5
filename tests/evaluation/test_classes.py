import math

import pytest
import torch

from kedro_dcgan.evaluation.classes import (
    ClassProbe,
    chance_divergence,
    compare_class,
    covered_classes,
    jensen_shannon,
)
from kedro_dcgan.evaluation.inception import inception_score


def clusters(count, seed=0):
    """Three distant clusters of points with their labels."""
    source = torch.Generator().manual_seed(seed)
    numbers = torch.randint(0, 3, (count,), generator=source)
    features = torch.randn(count, 5, generator=source) + 8 * torch.eye(3, 5)[numbers]
    return features, [("one", "three", "two")[number] for number in numbers]


def test_separable_classes_are_classified_and_counted():
    probe = ClassProbe(*clusters(300))
    assert probe.classes == ["one", "three", "two"]
    features, labels = clusters(200, seed=1)
    assert probe.accuracy(features, labels).value == 1
    expected = [labels.count(name) / 200 for name in probe.classes]
    assert probe.histogram(features).tolist() == pytest.approx(expected)
    assert probe.accuracy(features, ["one"] * 200).value == pytest.approx(expected[0])


def test_a_class_is_covered_from_a_tenth_of_its_real_share():
    shares = torch.tensor([0.5, 0.05, 0.049, 0.0, 0.0]), torch.tensor([0.1, 0.5, 0.5, 0.1, 0.0])
    # A class that is never generated is not covered, even if it is not in the data either.
    assert covered_classes(*shares).tolist() == [True, True, False, False, False]


def test_chance_divergence_grows_for_fewer_images():
    # To second order it is (C - 1) / (8 N ln 2) for C equally likely classes.
    even = torch.full((10,), 0.1, dtype=torch.float64)
    assert chance_divergence(even, 1000) == pytest.approx(9 / (8 * 1000 * math.log(2)), rel=0.1)
    assert chance_divergence(even, 100) > 5 * chance_divergence(even, 1000)


def test_jensen_shannon_is_0_for_equal_and_1_bit_for_disjoint_histograms():
    a, b = torch.tensor([0.5, 0.5, 0.0, 0.0]), torch.tensor([0.0, 0.0, 0.3, 0.7])
    assert jensen_shannon(a, a) == pytest.approx(0)
    assert jensen_shannon(a, b) == pytest.approx(1)
    # By hand: half of (1, 0) against (3/4, 1/4) and of (1/2, 1/2) against the same.
    by_hand = (math.log2(4 / 3) + 0.5 * math.log2(2 / 3) + 0.5 * math.log2(2)) / 2
    assert jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])) == pytest.approx(by_hand)


def test_inception_score_is_the_number_of_confident_classes():
    confident = torch.eye(4).repeat(25, 1)
    assert inception_score(confident).value == pytest.approx(4, rel=0.05)
    assert inception_score(confident, splits=1).value == pytest.approx(4)
    assert inception_score(torch.full((100, 4), 0.25)).value == pytest.approx(1)
    with pytest.raises(ValueError, match="10 splits"):
        inception_score(confident[:9])


def test_class_metrics_are_those_of_its_features():
    source = torch.Generator().manual_seed(0)
    real = torch.randn(4000, 3, generator=source, dtype=torch.float64)
    shifted = torch.randn(4000, 3, generator=source, dtype=torch.float64) / 2 + torch.tensor([3.0, 0, 0])
    found = compare_class(shifted, real, real)
    # |m - m'|^2 + 3 (1 - 1/2)^2 for covariances 1 and 1/4.
    assert found["fd"] == pytest.approx(9 + 3 / 4, rel=0.05)
    assert found["diversity"] == pytest.approx(0.5, rel=0.05)
    far = compare_class(real + 100, real, real)
    assert far["precision"] == far["recall"] == 0
    assert far["diversity"] == pytest.approx(1)
    same = compare_class(real[:2000], real[2000:], real)
    assert same["fd"] < 0.05
    assert same["precision"] == pytest.approx(1, abs=0.05)
    assert same["recall"] == pytest.approx(1, abs=0.05)


def test_metrics_of_few_images_are_left_out():
    features = torch.randn(200, 3)
    assert compare_class(features[:19], features, features) == dict.fromkeys(("fd", "precision", "recall", "diversity"))
    few_tests = compare_class(features, features[:99], features)
    assert few_tests["fd"] is None
    assert few_tests["precision"] is not None
    assert compare_class(features, features[:0], features)["diversity"] == 1
