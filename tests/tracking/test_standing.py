"""Which registered version takes the champion's place."""

from dataclasses import replace

import pytest

from kedro_dcgan.tracking.model import Standing

CHAMPION = Standing("fd_x_1k_test", 40.0, 37.0, 43.0, "a", "{}")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"value": 35.0, "low": 31.0, "high": 39.0}, "not below the champion's 40.0 by more than"),
        # The halves of the intervals, 3 and 4, make 5: not 7.
        ({"value": 34.9, "low": 30.9, "high": 38.9}, None),
        ({"value": 41.0, "low": 40.9, "high": 41.1}, "not below"),
        ({"value": 10.0, "low": float("nan"), "high": float("nan")}, "not below"),
        ({"value": 10.0, "low": 9.0, "high": 11.0, "metric": "fd_x_2k_test"}, "by another metric"),
        ({"value": 10.0, "low": 9.0, "high": 11.0, "dataset_digest": "b"}, "on another dataset"),
        ({"value": 10.0, "low": 9.0, "high": 11.0, "protocol": "{1}"}, "by another protocol"),
    ],
)
def test_one_that_is_better_by_more_than_the_uncertainty_measured_in_the_same_way(changes, why):
    obstacle = replace(CHAMPION, **changes).obstacle(CHAMPION)
    assert (obstacle is None) if why is None else (why in obstacle)


def test_it_survives_the_registrys_tags():
    assert Standing.from_tags(CHAMPION.tags()) == CHAMPION
    assert Standing.from_tags({"metric": "fd", "value": "3"}) is None
