import math

import pytest
import torch

from kedro_dcgan.evaluation import distances as kernel
from kedro_dcgan.evaluation.reference import Comparison, FeatureSet


def drawn(count, seed, dimension=6, shift=0.0):
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def compared(x, y):
    return Comparison(FeatureSet.of(x, 1), FeatureSet.of(y, 1))


def measured(x, y):
    return compared(x, y).estimates()["kd"]


def by_definition(x, y):
    """Equation 4 of Bińkowski et al. 2018: pairs of different images within a set, all pairs between them."""

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a):
        return (kernel(a, a).sum() - kernel(a, a).diagonal().sum()) / (len(a) * (len(a) - 1))

    return float(within(x) + within(y) - 2 * kernel(x, y).mean())


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_kernel_distance_is_the_u_statistic_for_sets_of_different_sizes(shift):
    x, y = drawn(1100, 0, shift=shift), drawn(90, 1)
    assert measured(x, y).value == pytest.approx(by_definition(x, y), rel=1e-9)


def test_kernel_distance_is_unbiased_and_its_interval_has_95_percent_coverage():
    # E k(x, x') + E k(y, y') - 2 E k(x, y) for D = 1, x from N(1, 1), y from N(0, 1), with k = (x y + 1)^3:
    # the moments of N(1, 1) are 1, 2, 4, those of N(0, 1) 0, 1, 0, so it is 3 (1 - 0)^2 + 3 (2 - 1)^2 + (4 - 0)^2.
    truth = 3 * 1 + 3 * 1 + 16
    estimates = [measured(drawn(400, 2 * i, 1, 1.0), drawn(300, 2 * i + 1, 1)) for i in range(200)]
    mean = sum(estimate.value for estimate in estimates) / 200
    spread = math.sqrt(sum((estimate.value - mean) ** 2 for estimate in estimates) / 199)
    assert abs(mean - truth) < 4 * spread / math.sqrt(200)
    assert 0.90 < sum(estimate.low < truth < estimate.high for estimate in estimates) / 200 < 0.99


def test_subsets_have_the_u_statistic_of_their_members(monkeypatch):
    monkeypatch.setattr(kernel, "SUBSET_SIZE", 100)
    x, y = drawn(300, 0, shift=0.5), drawn(250, 1)
    comparison = compared(x, y)
    sums = (side.subset_sums for side in (comparison.generated, comparison.real))
    distances = kernel.subset_distances(*sums, comparison.kernel_sums)
    members = [kernel.subset_members(len(side)).bool() for side in (x, y)]
    assert all(side.sum(dim=0).tolist() == [100] * 100 for side in members)
    expected = [by_definition(x[members[0][:, i]], y[members[1][:, i]]) for i in range(100)]
    assert distances.tolist() == pytest.approx(expected, rel=1e-9)
    found = {name: estimate.value for name, estimate in comparison.subset_estimates().items()}
    assert found == {
        "kd_subsets_mean": pytest.approx(float(distances.mean())),
        "kd_subsets_deviation": pytest.approx(float(distances.std(correction=0))),
    }
    assert abs(found["kd_subsets_mean"] - measured(x, y).value) < found["kd_subsets_deviation"]


def test_few_images_have_no_subsets():
    assert compared(drawn(1001, 0), drawn(999, 1)).subset_estimates() == {}
