import pytest

from kedro_dcgan.evaluation.verdict import Findings, verdict

FLOORS = {"precision": 0.9, "density": 1.0, "coverage": 0.9, "authenticity": 0.6}


def said(precision, coverage, authenticity=0.6, classes=None, density=1.0):
    values = {"precision": precision, "density": density, "coverage": coverage, "authenticity": authenticity}
    return verdict(Findings(values, FLOORS, classes))


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ((0.8, 0.8), "sharp and varied"),
        ((0.8, 0.1), "sharp but all alike"),
        ((0.5, 0.5), "partly sharp and less varied than real images"),
        ((0.1, 0.8), "unlike real images but varied"),
        ((0.8, 0.8, 0.6, (10, 10)), "sharp and covers 10 of 10 classes"),
        ((0.8, 0.8, 0.6, (6, 10)), "sharp but covers 6 of 10 classes"),
        ((0.8, 0.8, 0.4), "sharp and varied; close to copies of training images"),
    ],
)
def test_numbers_are_judged_by_their_floors(found, sentence):
    assert said(*found) == sentence


def test_one_odd_real_image_in_whose_ball_everything_lies_makes_nothing_sharp():
    assert said(1.0, 0.01, density=0.2) == "unlike real images and all alike"


def test_without_floors_shares_are_judged_by_1_and_without_neighbours_nothing_is_said():
    assert (
        verdict(Findings({"precision": 0.75, "density": 0.9, "coverage": 0.85, "authenticity": 0.1}, {}))
        == "partly sharp but varied"
    )
    assert verdict(Findings({"fd": 3.0}, {})) == "too few images to say"
