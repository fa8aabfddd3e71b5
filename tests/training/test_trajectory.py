"""Short trainings end with the stored bits; a change must raise `TRAJECTORY_VERSION`."""

import json
import platform

import pytest
import torch
from trajectories import CASES, STORED, run_portably

from kedro_dcgan.training.plan import TRAJECTORY_VERSION

EXPECTED = json.loads(STORED.read_text())
REMEDY = (
    "The weights have changed. If that is intended, raise TRAJECTORY_VERSION in training/plan.py and run "
    "python tests/training/trajectories.py --write; note in the CHANGELOG that trainings cannot resume."
)


@pytest.fixture(scope="module")
def found():
    return json.loads(run_portably())


def test_stored_digests_have_the_current_trajectory_version():
    assert EXPECTED["trajectory_version"] == TRAJECTORY_VERSION
    assert set(EXPECTED["cases"]) == set(CASES)


@pytest.mark.skipif(
    EXPECTED["torch"] != torch.__version__.partition("+")[0] or platform.machine() != "x86_64",
    reason=f"the digests are of torch {EXPECTED['torch']} on x86-64",
)
@pytest.mark.parametrize("name", CASES)
def test_short_trainings_end_with_the_stored_bits(name, found):
    expected, case = EXPECTED["cases"][name], found["cases"][name]
    assert case["weights"] == expected["weights"], REMEDY
    assert (case["kept"], case["validation"]) == (expected["kept"], expected["validation"]), REMEDY
