"""Which registered version becomes champion."""

import pytest
from mlflow.exceptions import MlflowException, RestException

from kedro_dcgan.tracking import _beats_champion

TAGS = {"metric": "fd_x_1k_test", "value": "30.5", "dataset_digest": "a", "protocol": "{}"}


class Registry:
    """One champion, or what happens when one asks for it."""

    def __init__(self, found):
        self._found = found

    def get_model_version_by_alias(self, name, alias):
        if isinstance(self._found, Exception):
            raise self._found
        return type("Version", (), {"tags": self._found})


@pytest.mark.parametrize(
    ("champion", "moves"),
    [
        ({"value": "40"}, True),
        ({"value": "30"}, False),
        ({"value": "40", "metric": "fd_x_2k_test"}, False),
        ({"value": "40", "dataset_digest": "b"}, False),
        ({"value": "40", "protocol": "{1}"}, False),
    ],
)
def test_it_moves_to_a_better_one_that_was_measured_in_the_same_way(champion, moves):
    assert _beats_champion(Registry(TAGS | champion), "dcgan", TAGS) == moves


def test_the_first_is_champion():
    none = RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such model"})
    assert _beats_champion(Registry(none), "dcgan", TAGS)


def test_it_does_not_move_where_the_server_cannot_be_asked():
    with pytest.raises(MlflowException, match="API request failed"):
        _beats_champion(Registry(MlflowException("API request failed")), "dcgan", TAGS)
