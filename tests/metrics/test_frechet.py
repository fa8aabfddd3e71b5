import math

import pytest
import torch

from kedro_dcgan.metrics.frechet import FeatureMoments, FrechetReference, frechet_distance


def moments(mean, covariance, count=1000):
    """Moments with exactly this mean and covariance."""
    total = mean * count
    return FeatureMoments(count, total, covariance * (count - 1) + torch.outer(total, mean))


def spd(dimension, seed):
    factor = torch.randn(dimension, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return factor @ factor.T + torch.eye(dimension, dtype=torch.float64)


ZERO = torch.zeros(6, dtype=torch.float64)
SHIFT = torch.arange(6, dtype=torch.float64)


def test_equal_covariances_leave_the_squared_distance_of_the_means():
    cov = spd(6, 0)
    assert math.isclose(frechet_distance(moments(ZERO, cov), moments(SHIFT, cov)), 55.0, rel_tol=1e-9)


def test_commuting_covariances_add_the_squared_differences_of_deviations():
    a, b = torch.linspace(1, 6, 6, dtype=torch.float64), torch.linspace(9, 4, 6, dtype=torch.float64)
    expected = float((a.sqrt() - b.sqrt()).square().sum())
    assert math.isclose(frechet_distance(moments(ZERO, a.diag()), moments(ZERO, b.diag())), expected, rel_tol=1e-12)


def test_a_known_root_of_the_product():
    # With B = M A M, (A B)^(1/2) = A M and the distance is tr(A) + tr(B) - 2 tr(A M).
    a, m = spd(6, 1), spd(6, 2)
    b = m @ a @ m
    expected = float(a.trace() + b.trace() - 2 * (a @ m).trace())
    assert math.isclose(frechet_distance(moments(ZERO, a), moments(ZERO, b)), expected, rel_tol=1e-10)


def test_singular_covariances_are_exact():
    direction = torch.tensor([3.0, 4.0, 0, 0, 0, 0], dtype=torch.float64)
    a, b = torch.outer(direction, direction), 4 * torch.outer(direction, direction)
    assert math.isclose(frechet_distance(moments(ZERO, a), moments(ZERO, b)), 25.0, rel_tol=1e-9)


def test_equal_sides_have_distance_zero_and_order_does_not_matter():
    a, b = moments(ZERO, spd(6, 3)), moments(SHIFT, spd(6, 4))
    assert 0 <= frechet_distance(a, a) < 1e-10
    assert math.isclose(frechet_distance(a, b), frechet_distance(b, a), rel_tol=1e-12)


def test_streamed_moments_equal_those_of_all_vectors_at_once():
    features = torch.randn(101, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 7
    streamed = FeatureMoments.empty(5)
    for batch in features.split(17):
        streamed += FeatureMoments.of(batch)
    assert streamed.count == 101
    assert torch.allclose(streamed.mean, features.mean(dim=0), rtol=1e-12)
    assert torch.allclose(streamed.covariance, features.T.cov(), rtol=1e-9)
    assert streamed.covariance.dtype == torch.float64


def test_one_vector_has_no_covariance():
    with pytest.raises(ValueError, match="at least 2"):
        _ = FeatureMoments.of(torch.zeros(1, 5)).covariance
    with pytest.raises(ValueError, match="at least 2"):
        FrechetReference(torch.zeros(1, 5))
    with pytest.raises(ValueError, match="at least 2"):
        FrechetReference(torch.zeros(9, 5)).distance_of(torch.zeros(1, 5))


@pytest.mark.parametrize("reference", [7, 12, 90])
@pytest.mark.parametrize("others", [7, 12, 90])
def test_a_reference_gives_the_distance_of_the_moments_for_few_and_for_many_vectors(reference, others):
    source = torch.Generator().manual_seed(0)
    a = torch.randn(reference, 12, generator=source)
    b = 2 * torch.randn(others, 12, generator=source) + 1
    expected = frechet_distance(FeatureMoments.of(b), FeatureMoments.of(a))
    assert math.isclose(FrechetReference(a).distance_of(b), expected, rel_tol=1e-7)
    assert 0 <= FrechetReference(a).distance_of(a) < 1e-6
