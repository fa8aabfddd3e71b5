import math

import pytest
import torch

from kedro_dcgan.evaluation.intervals import jackknife, mean_estimate, proportion_estimate


def test_interval_of_a_mean_is_students():
    estimate = mean_estimate(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    # 3.182 is Student's quantile for 3 degrees of freedom.
    error = math.sqrt(5 / 3) / 2
    assert (estimate.value, estimate.high - estimate.value) == pytest.approx((2.5, 3.182 * error), rel=0.01)
    many = mean_estimate(torch.tensor([0.0, 1.0]).repeat(50_000))
    assert many.high - many.value == pytest.approx(1.959964 * 0.5 / math.sqrt(100_000), rel=1e-3)
    assert estimate.low + estimate.high == pytest.approx(5)
    assert mean_estimate(torch.tensor([1.0])).high == math.inf


def test_interval_of_a_proportion_is_wilsons_and_stays_within_0_and_1():
    # Wilson's own formula at 0 of n: from 0 to z^2 / (n + z^2).
    none = proportion_estimate(torch.zeros(10, dtype=torch.bool))
    assert (none.value, none.low) == (0, 0)
    assert none.high == pytest.approx(1.959964**2 / (10 + 1.959964**2))
    # A published example: 81 of 263, 0.255 to 0.366 (Newcombe 1998, table I, method 3).
    some = proportion_estimate(torch.arange(263) < 81)
    assert (some.low, some.high) == pytest.approx((0.2553, 0.3662), abs=1e-4)


def test_jackknife_error_of_a_mean_is_its_standard_error():
    values = torch.randn(10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    total = float(values.sum())
    estimate = jackknife(total / 10, [(total - float(value)) / 9 for value in values])
    students = 2.262157  # 9 degrees of freedom
    assert estimate.value == total / 10
    assert estimate.high - estimate.value == pytest.approx(students * float(values.std()) / math.sqrt(10), rel=1e-3)
