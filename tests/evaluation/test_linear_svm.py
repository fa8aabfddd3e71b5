"""The linear SVM on features: separable and random labels, the choice of C, and constant features."""

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from kedro_dcgan.evaluation import linear_svm
from kedro_dcgan.evaluation.linear_svm import COSTS, can_classify, svm_accuracy


def clusters(count, distance, classes=3, dimension=20, seed=0):
    """Return features around a centre for each class, and labels."""
    source = np.random.default_rng(seed)
    labels = source.integers(0, classes, count)
    centres = distance * np.eye(classes, dimension)
    return (source.normal(size=(count, dimension)) + centres[labels]).astype(np.float32), labels


def split(features, labels, train=150):
    return features[:train], labels[:train], features[train:], labels[train:]


def test_separable_classes_are_separated():
    result = svm_accuracy(*split(*clusters(250, 12.0)))
    assert result.accuracy.value == 1
    # The interval of Wilson for 100 of 100.
    assert result.accuracy.low == pytest.approx(1 / (1 + 1.96**2 / 100), abs=1e-3)
    assert result.dimension == 20


def test_random_labels_are_classified_by_chance():
    features, _ = clusters(1000, 3.0)
    labels = np.random.default_rng(1).integers(0, 4, 1000)
    accuracy = svm_accuracy(*split(features, labels, 500)).accuracy
    assert accuracy.low < 0.25 < accuracy.high


@pytest.mark.parametrize("dimension", [20, 149, 400])
def test_accuracy_is_that_of_scikit_learn_with_the_chosen_cost(dimension):
    train, labels, test, test_labels = split(*clusters(300, 2.5, dimension=dimension))
    result = svm_accuracy(train, labels, test, test_labels)
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    svm = LinearSVC(C=result.cost, random_state=0, tol=1e-6, max_iter=10_000).fit((train - mean) / deviation, labels)
    assert result.accuracy.value == pytest.approx(svm.score((test - mean) / deviation, test_labels), abs=0.01)
    assert 0.5 < result.accuracy.value < 1
    assert result.dimension == dimension


def test_cost_is_the_best_on_held_out_training_images(monkeypatch):
    fits = []

    def predict(train, labels, others, cost):
        fits.append((len(train), len(others), cost))
        # The second candidate and the last one are right, the others wrong.
        return labels_of[len(others)] if cost in (COSTS[1], COSTS[3]) else np.full(len(others), 9)

    train, labels, test, test_labels = split(*clusters(190, 1.0))
    held_out = linear_svm._held_out(labels)
    labels_of = {int(held_out.sum()): labels[held_out], len(test): test_labels}
    monkeypatch.setattr(linear_svm, "_predict", predict)
    assert svm_accuracy(train, labels, test, test_labels).cost == COSTS[1]
    # Each candidate is fitted to four fifths; the chosen one to all. The test images choose nothing.
    assert fits == [(120, 30, cost) for cost in COSTS] + [(150, 40, COSTS[1])]


def test_a_fifth_of_each_class_is_held_out():
    labels = np.array([0] * 50 + [1] * 100 + [2] * 25)
    held_out = linear_svm._held_out(labels)
    assert [int(held_out[labels == number].sum()) for number in range(3)] == [10, 20, 5]
    assert np.array_equal(held_out, linear_svm._held_out(labels))
    assert not np.array_equal(np.flatnonzero(held_out)[:10], np.arange(4, 50, 5))


def test_constant_features_do_not_matter():
    train, labels, test, test_labels = split(*clusters(250, 2.0))
    expected = svm_accuracy(train, labels, test, test_labels)
    # The mean of many equal float32 numbers is not exactly this number. On the test images it differs.
    constant = np.full((len(train), 1), 0.1, dtype=np.float32), np.full((len(test), 1), 0.101, dtype=np.float32)
    wider = np.hstack([train, constant[0]]), np.hstack([test, constant[1]])
    result = svm_accuracy(wider[0], labels, wider[1], test_labels)
    assert result.accuracy == expected.accuracy


def test_scale_of_features_does_not_matter():
    train, labels, test, test_labels = split(*clusters(250, 2.0))
    scales = np.float32(2.0) ** np.arange(-10, 10)
    expected = svm_accuracy(train, labels, test, test_labels)
    assert svm_accuracy(train * scales, labels, test * scales, test_labels) == expected


@pytest.mark.parametrize(
    ("labels", "is_enough"),
    [
        ([0] * 20, False),
        ([0, 1], False),
        ([0, 1] * 3, True),
        ([], False),
        ([0] * 4 + [1], False),
        ([0] * 20 + [1] * 20, True),
    ],
)
def test_two_classes_must_remain(labels, is_enough):
    assert can_classify(np.array(labels, dtype=np.int64)) == is_enough
