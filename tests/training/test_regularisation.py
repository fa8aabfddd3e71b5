import math

import pytest
import torch
from engine import CPU
from recipes import tiny_training
from torch import nn

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.training.data import Draws
from kedro_dcgan.training.plan import require_networks
from kedro_dcgan.training.regularisation import AdaptiveR1, gradient_penalty, r1_penalty

IMAGES = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Linear(nn.Module):
    """D(x) = w x, whose gradient is w everywhere."""

    def __init__(self, norm):
        super().__init__()
        self.weight = nn.Parameter(torch.full((16,), norm / 4))

    def forward(self, images):
        return images.flatten(1) @ self.weight


class Quadratic(nn.Module):
    """D(x) = |x|^2 / 2, whose gradient is x."""

    def forward(self, images):
        return images.flatten(1).square().sum(dim=1) / 2


def test_r1_of_a_linear_discriminator_is_half_gamma_times_its_squared_norm():
    assert r1_penalty(Linear(norm=3.0), IMAGES, gamma=10.0).item() == pytest.approx(10 / 2 * 9)


def test_r1_is_evaluated_at_the_real_images():
    expected = IMAGES.flatten(1).square().sum(dim=1).mean().item()
    assert r1_penalty(Quadratic(), IMAGES, gamma=2.0).item() == pytest.approx(expected)


def test_r1_is_differentiable():
    discriminator = Linear(norm=3.0)
    r1_penalty(discriminator, IMAGES, gamma=10.0).backward()
    # The derivative of gamma / 2 |w|^2 is gamma w.
    assert torch.allclose(discriminator.weight.grad, 10 * discriminator.weight)


@pytest.mark.parametrize(
    ("confidence", "exponent"), [(1.0, 1), (0.66, 1), (0.625, 0.5), (0.6, 0), (0.595, -0.1), (0.575, -0.5)]
)
def test_adaptive_r1_changes_by_a_factor_of_e_in_2000_images_at_most(confidence, exponent):
    r1 = AdaptiveR1()
    r1.confidence.fill_(confidence)
    for _ in range(100):
        r1.adapt(torch.tensor([confidence, 1 - confidence]), 20)
    assert r1.gamma.item() == pytest.approx(math.exp(exponent), rel=1e-3)


def test_confidence_of_adaptive_r1_is_a_running_mean_over_real_and_fake_images():
    r1 = AdaptiveR1()
    r1.confidence.fill_(0.5)
    r1.adapt(torch.tensor([0.9, 0.3]), 50)
    assert r1.confidence.item() == pytest.approx(0.5 + 50 / 500 * (0.8 - 0.5))
    # A step of more images than it averages over replaces it.
    r1.adapt(torch.tensor([0.6, 0.4]), 10_000)
    assert r1.confidence.item() == pytest.approx(0.6)


@pytest.mark.parametrize(("confidence", "bound"), [(1.0, 100.0), (0.5, 0.5)])
def test_adaptive_r1_stays_within_its_bounds(confidence, bound):
    r1 = AdaptiveR1()
    for _ in range(1000):
        r1.adapt(torch.tensor([confidence, 1 - confidence]), 100)
    assert r1.gamma.item() == pytest.approx(bound)


@pytest.mark.parametrize(("norm", "expected"), [(1.0, 0.0), (3.0, 40.0), (0.0, 10.0)])
def test_gradient_penalty_is_zero_for_gradient_norm_one(norm, expected):
    draws = Draws(torch.Generator().manual_seed(0), CPU)
    penalty = gradient_penalty(Linear(norm), IMAGES, -IMAGES, 10.0, draws)
    assert penalty.item() == pytest.approx(expected, abs=1e-5)


def test_gradient_penalty_is_evaluated_between_real_and_fake_images():
    # At share * x, the gradient of |x|^2 / 2 has the norm share * |x|.
    share = torch.rand(5, 1, 1, 1, generator=torch.Generator().manual_seed(7)).flatten()
    expected = (share * IMAGES.flatten(1).norm(dim=1) - 1).square().mean().item()
    draws = Draws(torch.Generator().manual_seed(7), CPU)
    penalty = gradient_penalty(Quadratic(), IMAGES, torch.zeros_like(IMAGES), 1.0, draws)
    assert penalty.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("changes", [{"loss": "wgan_gp"}, {"penalties__r1": 1.0}, {"penalties__r1": "auto"}])
def test_penalty_with_batch_norm_is_rejected(changes):
    training = tiny_training(**changes)
    with pytest.raises(ParameterError, match=r"`training\.discriminator\.batch_norm`.*false"):
        require_networks(*network_configs(16, 1, training), training)
    without = tiny_training(**changes, discriminator__batch_norm=False)
    require_networks(*network_configs(16, 1, without), without)
