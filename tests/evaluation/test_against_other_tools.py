"""Metrics agree with torch-fidelity, torchmetrics and prdc on the same features."""

import numpy as np
import prdc
import pytest
import torch
from torch import nn
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance

from kedro_dcgan.evaluation import distances as kernel
from kedro_dcgan.evaluation.distances import FeatureMoments, Gaussian, frechet_distance
from kedro_dcgan.evaluation.reference import Comparison, FeatureSet


def features(count, seed, shift=0.0, dimension=64):
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed)) + shift


GENERATED, REAL = features(500, 0, shift=0.2), features(400, 1)


def test_frechet_distance_equals_torch_fidelity():
    moments = [FeatureMoments.of(side) for side in (GENERATED, REAL)]
    statistics = [{"mu": one.mean.numpy(), "sigma": one.covariance.numpy()} for one in moments]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(*map(Gaussian.of_moments, moments)) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_equals_torchmetrics():
    class Flat(nn.Module):
        num_features = 64

        def forward(self, images):
            return images.flatten(1).double()

    theirs = FrechetInceptionDistance(Flat(), normalize=True, input_img_size=(1, 8, 8), antialias=False)
    theirs.set_dtype(torch.float64)
    sides = [(side.double() * 1000).round().remainder(256).to(torch.uint8) for side in (GENERATED, REAL)]
    theirs.normalize = False
    for side, is_real in zip(sides, (False, True), strict=True):
        theirs.update(side.reshape(-1, 1, 8, 8), real=is_real)
    ours = frechet_distance(*(Gaussian.of_features(side.double()) for side in sides))
    assert ours == pytest.approx(float(theirs.compute()), rel=1e-6)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_precision_recall_density_and_coverage_equal_prdc(shift):
    generated = features(300, 2, shift, dimension=16)
    real = features(350, 3, dimension=16)
    expected = prdc.compute_prdc(real.double().numpy(), generated.double().numpy(), nearest_k=5)
    found = Comparison(FeatureSet.of(generated), FeatureSet.of(real)).estimates()
    assert {name: found[name].value for name in expected} == pytest.approx(expected, abs=1e-12)


def test_kernel_distance_of_subsets_equals_torch_fidelity(monkeypatch):
    monkeypatch.setattr(kernel, "SUBSET_SIZE", 100)
    comparison = Comparison(FeatureSet.of(GENERATED), FeatureSet.of(REAL))
    members = [kernel.subset_members(len(side)).bool() for side in (GENERATED, REAL)]
    theirs = []
    for i in range(kernel.SUBSETS):
        a, b = (side[chosen[:, i]].double() for side, chosen in zip((GENERATED, REAL), members, strict=True))
        options = {"kid_subsets": 1, "kid_subset_size": 100, "rng_seed": 0, "verbose": False}
        theirs.append(kid_features_to_metric(a, b, **options)["kernel_inception_distance_mean"])
    found = {name: estimate.value for name, estimate in comparison.subset_estimates().items()}
    assert found["kd_subsets_mean"] == pytest.approx(np.mean(theirs), rel=1e-6)
    assert found["kd_subsets_deviation"] == pytest.approx(np.std(theirs), rel=1e-6)
