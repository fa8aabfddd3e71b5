import math

import pytest
import torch

from kedro_dcgan.evaluation.distances import FeatureMoments, Gaussian, frechet_distance, frechet_estimate


def gaussian(mean, covariance, count=1000):
    """The Gaussian of moments with exactly this mean and covariance."""
    total = mean * count
    return Gaussian.of_moments(FeatureMoments(count, total, covariance * (count - 1) + torch.outer(total, mean)))


def drawn(count, dimension, seed=0):
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spd(dimension, seed):
    factor = drawn(dimension, dimension, seed)
    return factor @ factor.T + torch.eye(dimension, dtype=torch.float64)


ZERO = torch.zeros(6, dtype=torch.float64)
SHIFT = torch.arange(6, dtype=torch.float64)


def test_equal_covariances_give_the_squared_distance_of_the_means():
    cov = spd(6, 0)
    assert math.isclose(frechet_distance(gaussian(ZERO, cov), gaussian(SHIFT, cov)), 55.0, rel_tol=1e-9)


def test_commuting_covariances_add_the_squared_differences_of_standard_deviations():
    a, b = torch.linspace(1, 6, 6, dtype=torch.float64), torch.linspace(9, 4, 6, dtype=torch.float64)
    expected = float((a.sqrt() - b.sqrt()).square().sum())
    assert math.isclose(frechet_distance(gaussian(ZERO, a.diag()), gaussian(ZERO, b.diag())), expected, rel_tol=1e-12)


def test_known_square_root_of_the_product():
    # With B = M A M, (A B)^(1/2) = A M and the distance is tr(A) + tr(B) - 2 tr(A M).
    a, m = spd(6, 1), spd(6, 2)
    b = m @ a @ m
    expected = float(a.trace() + b.trace() - 2 * (a @ m).trace())
    assert math.isclose(frechet_distance(gaussian(ZERO, a), gaussian(ZERO, b)), expected, rel_tol=1e-10)


def test_singular_covariances_are_exact():
    direction = torch.tensor([3.0, 4.0, 0, 0, 0, 0], dtype=torch.float64)
    a, b = torch.outer(direction, direction), 4 * torch.outer(direction, direction)
    assert math.isclose(frechet_distance(gaussian(ZERO, a), gaussian(ZERO, b)), 25.0, rel_tol=1e-9)


def test_svd_replaces_eigh_that_does_not_converge(monkeypatch):
    x, y = drawn(4, 30), drawn(3, 30, seed=1)
    moments = [FeatureMoments.of(side) for side in (x, y)]
    expected = frechet_distance(*map(Gaussian.of_moments, moments))

    def fail(_):
        raise torch.linalg.LinAlgError("failed to converge")

    monkeypatch.setattr(torch.linalg, "eigh", fail)
    assert frechet_distance(*map(Gaussian.of_moments, moments)) == pytest.approx(expected, rel=1e-12)


def test_identical_images_have_the_distance_of_the_means():
    identical = [
        Gaussian.of_moments(FeatureMoments.of(vector.expand(count, 6))) for vector, count in ((ZERO, 3), (SHIFT, 9))
    ]
    assert math.isclose(frechet_distance(*identical), 55.0, rel_tol=1e-12)


def test_distance_is_0_for_equal_gaussians_and_symmetric():
    a, b = gaussian(ZERO, spd(6, 3)), gaussian(SHIFT, spd(6, 4))
    assert 0 <= frechet_distance(a, a) < 1e-10
    assert math.isclose(frechet_distance(a, b), frechet_distance(b, a), rel_tol=1e-12)


@pytest.mark.parametrize(("count", "rank"), [(300, 64), (30, 64), (300, 10)])
def test_full_and_deficient_ranks_are_exact(count, rank):
    # y = x M with M symmetric and positive makes (A B)^(1/2) = A M, whatever the rank of A.
    x = drawn(count, rank) @ drawn(rank, 64, seed=1) / 8
    m = spd(64, 2) / 64
    a, b = (FeatureMoments.of(features) for features in (x, x @ m))
    expected = float((a.mean - b.mean).square().sum() + (a.covariance + b.covariance - 2 * a.covariance @ m).trace())
    found = frechet_distance(Gaussian.of_moments(a), Gaussian.of_moments(b))
    assert abs(found - expected) < 1e-12 * float((a.covariance + b.covariance).trace())
    # With few vectors the factor is the centred vectors.
    assert frechet_distance(Gaussian.of_features(x), Gaussian.of_features(x @ m)) == pytest.approx(found, abs=1e-9)


def test_distance_equals_scipys_matrix_square_root():
    linalg = pytest.importorskip("scipy.linalg")
    sides = [FeatureMoments.of(drawn(500, 16, seed) * (1 + seed)) for seed in (0, 1)]
    (a, b), root = sides, linalg.sqrtm(sides[0].covariance.numpy() @ sides[1].covariance.numpy()).real
    expected = float((a.mean - b.mean).square().sum() + (a.covariance + b.covariance).trace()) - 2 * root.trace()
    assert frechet_distance(*map(Gaussian.of_moments, sides)) == pytest.approx(expected, rel=1e-9)


def test_interval_matches_the_spread_over_samples():
    reference = Gaussian.of_features(drawn(2000, 4, seed=99))
    estimates = [
        frechet_estimate([*map(FeatureMoments.of, (drawn(400, 4, i) + 0.5).chunk(10))], reference) for i in range(60)
    ]
    distances = torch.tensor([estimate.value for estimate in estimates])
    half = torch.tensor([estimate.high - estimate.value for estimate in estimates]).mean() / 2.262
    assert half == pytest.approx(float(distances.std()), rel=0.25)
    whole = frechet_distance(Gaussian.of_features(drawn(400, 4, 0) + 0.5), reference)
    assert estimates[0].value == pytest.approx(whole, rel=1e-12)


def test_moments_of_batches_equal_those_of_all_vectors():
    features = drawn(101, 5) + 7
    streamed = FeatureMoments.of(torch.zeros(0, 5))
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
        Gaussian.of_features(torch.zeros(1, 5))


@pytest.mark.parametrize("few", [7, 12])
@pytest.mark.parametrize("others", [7, 12, 90])
def test_gaussian_of_features_equals_that_of_their_moments(few, others):
    a, b = drawn(few, 12), 2 * drawn(others, 12, seed=1) + 1
    of_features = frechet_distance(Gaussian.of_features(b), Gaussian.of_features(a))
    of_moments = [Gaussian.of_moments(FeatureMoments.of(vectors)) for vectors in (b, a)]
    assert math.isclose(of_features, frechet_distance(*of_moments), rel_tol=1e-9)
