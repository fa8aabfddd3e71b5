import json
import math

import claims
import numpy as np
import pytest
import torch
from claims import CLAIMS, Arm, Arms, Motion, counted_ticks, ratio_of, verdict
from edits import edited, norm_everywhere, pooling, without_gain_and_shift
from torch import nn

from kedro_dcgan.data.shards import PreparedImages, StoredShard
from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.model.networks import DiscriminatorConfig, GeneratorConfig
from kedro_dcgan.model.recipes import build_discriminator, build_generator

CONFIGS = GeneratorConfig("dcgan", 32, 3, 7, 4), DiscriminatorConfig("dcgan", 32, 3, 4)


def networks(edit=None):
    with edited(edit):
        return build_generator(CONFIGS[0]), build_discriminator(CONFIGS[1])


def sizes_of(network):
    return sorted(weight.numel() for weight in network.parameters())


def kinds_of(network):
    return [type(module) for module in network.modules()]


@pytest.mark.parametrize("edit", [without_gain_and_shift, norm_everywhere, pooling])
def test_edited_networks_take_and_return_the_same_shapes(edit):
    generator, discriminator = networks(edit)
    images = generator(torch.randn(5, 7))
    assert images.shape == (5, 3, 32, 32)
    assert discriminator(images).shape == (5,)
    # Outside the context, networks are unchanged.
    assert all(
        repr(network.layers) != repr(plain.layers)
        for network, plain in zip((generator, discriminator), networks(), strict=True)
    )


def test_pooling_keeps_the_kernels_and_has_no_strides():
    for network, plain in zip(networks(pooling), networks(), strict=True):
        assert sizes_of(network) == sizes_of(plain)
        assert all(layer.stride == (1, 1) for layer in network.modules() if isinstance(layer, nn.Conv2d))
    assert sum(kind is nn.MaxPool2d for kind in kinds_of(networks(pooling)[1])) == 3
    assert sum(kind is nn.Upsample for kind in kinds_of(networks(pooling)[0])) == 3


def test_norms_lose_their_weights_or_stand_everywhere():
    for network in networks(without_gain_and_shift):
        norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
        assert norms
        assert not any(list(norm.parameters()) for norm in norms)
    generator, discriminator = networks(norm_everywhere)
    assert isinstance(generator.layers[-2], nn.BatchNorm2d)
    assert isinstance(discriminator.layers[1], nn.BatchNorm2d)
    for network, plain in zip((generator, discriminator), networks(), strict=True):
        assert kinds_of(network).count(nn.BatchNorm2d) == kinds_of(plain).count(nn.BatchNorm2d) + 1


def test_ratio_of_geometric_means():
    ratio = ratio_of([100, 200, 400], [50, 100, 200], is_paired=False)
    assert ratio.value == pytest.approx(0.5)
    # Welch: both logarithms have the variance ln(2)^2, so the standard error is ln(2) sqrt(2 / 3) with 4 degrees.
    assert math.log(ratio.high / ratio.value) == pytest.approx(2.7764 * math.log(2) * math.sqrt(2 / 3), rel=1e-4)
    paired = ratio_of([100, 200, 400], [50, 100, 210], is_paired=True)
    assert paired.low < paired.value < 0.52
    assert paired.high < ratio.high


@pytest.mark.parametrize(
    ("low", "high", "is_equal", "expected"),
    [
        (0.5, 0.9, False, "confirmed"),
        (0.9, 1.1, False, "undecided"),
        (1.1, 1.5, False, "contradicted"),
        (0.95, 1.05, True, "confirmed"),
        (0.95, 0.99, True, "confirmed"),
        (0.7, 0.9, True, "contradicted"),
        (1.15, 1.3, True, "contradicted"),
        (0.8, 1.05, True, "undecided"),
    ],
)
def test_verdicts(low, high, is_equal, expected):
    assert verdict(Estimate((low * high) ** 0.5, low, high), is_equal) == expected


def test_claims_compare_two_different_trainings_or_moments():
    for claim in CLAIMS.values():
        assert claim.control.name != claim.tested.name
        assert (claim.control.changes, claim.control.edit, claim.control.share) != (
            claim.tested.changes,
            claim.tested.edit,
            claim.tested.share,
        )


def test_motion_is_the_distance_between_samples_of_two_ticks():
    motion = Motion(lambda moment, samples: {"images": len(torch.cat(list(samples)))}, counted={0, 2})
    found = [motion(None, iter([torch.full((4, 1, 2, 2), value, dtype=torch.uint8)])) for value in (0, 3, 203)]
    assert found == [{"images": 4, "motion": None}, {"motion": 3}, {"images": 4, "motion": 200}]


def test_counted_ticks():
    assert list(counted_ticks(1)) == [7, 8, 9]
    assert list(counted_ticks(0.5)) == [2, 3, 4]
    assert list(counted_ticks(0.1)) == [0, 1, 2]


class Trained:
    """Stands in for a training: its distances grow with the seed and double from tick to tick."""

    def __init__(self):
        self.trained = []

    def __call__(self, side, images, recipe, total, evaluate, samples):
        self.trained.append((recipe.discriminator.dropout, recipe.seed, total))
        return [{"fd": 10**recipe.seed * 2**tick} for tick in range(10)]


def test_trainings_are_kept_and_read_at_their_share(tmp_path, monkeypatch):
    pixels = np.zeros((3, 1, 32, 32), dtype=np.uint8)
    images = PreparedImages(32, 1, "black", [StoredShard("0", "", pixels)], {"test": np.arange(3)})
    monkeypatch.setattr(claims, "Evaluator", lambda *_, **__: None)
    trained = Trained()
    monkeypatch.setattr(claims, "train_side", trained)
    for _ in range(2):
        arms = Arms(images, 1000, "paper", [], {7, 8, 9}, tmp_path)
        # The geometric means of three ticks: those of the middle one.
        assert arms.measure(Arm(share=0.5), "fd", seed=2) == pytest.approx(100 * 2**3)
        assert arms.measure(Arm(), "fd", seed=2) == pytest.approx(100 * 2**8)
        assert arms.measure(Arm("other", ("discriminator.dropout=0.3",)), "fd", seed=1) == pytest.approx(10 * 2**8)
    assert trained.trained == [(None, 2, 1000), (0.3, 1, 1000)]
    assert len((tmp_path / "trainings.jsonl").read_text().splitlines()) == 2
    assert json.loads((tmp_path / "trainings.jsonl").read_text().splitlines()[0])["rows"][0]["fd"] == 100
