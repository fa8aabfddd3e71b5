"""When a registered version replaces the champion."""

from dataclasses import replace

import pytest

from kedro_dcgan.tracking.registry import PrimaryMetric

CHAMPION = PrimaryMetric("fd_x_1k_test", 40.0, 37.0, 43.0, "a", "{}")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": 35.0, "low": 31.0, "high": 39.0}, "uncertainty"),
        # Half-widths of 3 and 4 give an uncertainty of 5, not 7.
        ({"value": 34.9, "low": 30.9, "high": 38.9}, None),
        ({"value": 41.0, "low": 40.9, "high": 41.1}, "uncertainty"),
        ({"value": 10.0, "low": float("nan"), "high": float("nan")}, "uncertainty"),
        ({"value": 10.0, "low": 9.0, "high": 11.0, "metric": "fd_x_2k_test"}, "another metric"),
        ({"value": 10.0, "low": 9.0, "high": 11.0, "dataset_digest": "b"}, "another dataset"),
        ({"value": 10.0, "low": 9.0, "high": 11.0, "protocol": "{1}"}, "another protocol"),
    ],
)
def test_a_comparable_version_replaces_the_champion_if_it_is_significantly_better(changes, reason):
    found = replace(CHAMPION, **changes).reason_not_champion(CHAMPION)
    assert (found is None) if reason is None else (reason in found)


def test_primary_metric_survives_a_round_trip_through_tags():
    assert PrimaryMetric.from_tags(CHAMPION.tags()) == CHAMPION
    assert PrimaryMetric.from_tags({"metric": "fd", "value": "3"}) is None
