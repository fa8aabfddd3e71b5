"""Inception equals torch-fidelity's, with random weights, because the real ones are a download."""

import hashlib

import pytest
import torch
import torch_fidelity.feature_extractor_inceptionv3 as fidelity
import torch_fidelity.interpolate_compat_tensorflow as tf1
from torch import nn

import kedro_dcgan.evaluation.inception as module
from kedro_dcgan.errors import ModelError
from kedro_dcgan.evaluation.inception import InceptionFeatures, build_network, resize


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights that keep the scale of activations."""
    source = torch.Generator().manual_seed(0)
    network = build_network()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=source)
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1, generator=source)
            layer.running_var.uniform_(0.5, 1.5, generator=source)
            nn.init.uniform_(layer.weight, 0.5, 1.5, generator=source)
    path = tmp_path_factory.mktemp("weights") / module.WEIGHTS_NAME
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def accepted(weights, monkeypatch):
    monkeypatch.setattr(module, "WEIGHTS_PREFIX", hashlib.sha256(weights.read_bytes()).hexdigest()[:8])
    return weights


def images(size=64, channels=3, count=4):
    source = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=source)


@pytest.mark.parametrize("size", [28, 32, 64, 200, 299, 320])
def test_resize_equals_tensorflow_1(size):
    pixels = images(size, count=2).float()
    expected = tf1.interpolate_bilinear_2d_like_tensorflow1x(pixels, size=(299, 299), align_corners=False)
    assert (resize(pixels, 299) - expected).abs().max() < 1e-3


def test_features_equal_torch_fidelity(accepted):
    theirs = fidelity.FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(accepted))
    (expected,) = theirs(images())
    found = InceptionFeatures(accepted)(images())
    assert found.shape == (4, 2048)
    assert (found - expected).norm() / expected.norm() < 2e-6
    assert expected.std() > 0.01


def test_features_do_not_depend_on_the_batch_and_grey_is_repeated(accepted):
    extract, grey = InceptionFeatures(accepted), images(channels=1)
    together = extract(grey)
    assert torch.allclose(together, extract(grey.repeat(1, 3, 1, 1)), rtol=1e-5)
    assert torch.allclose(together, torch.cat([extract(image[None]) for image in grey]), rtol=1e-4, atol=1e-5)


def test_wrong_and_missing_weights_are_rejected(weights, tmp_path):
    with pytest.raises(ModelError, match="SHA-256 6726825d"):
        InceptionFeatures(weights)
    with pytest.raises(ModelError, match=r"none\.pth.*fetch-weights"):
        InceptionFeatures(tmp_path / "none.pth")
