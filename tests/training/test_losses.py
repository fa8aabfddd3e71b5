import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from kedro_dcgan.training.losses import LOSSES, accuracies

REAL, FAKE = torch.tensor([0.3, -1.2]), torch.tensor([0.7, -0.4])


def test_non_saturating_loss_at_chance_level():
    loss, undecided = LOSSES["non_saturating"], torch.zeros(4)
    assert math.isclose(loss.real(undecided, 1.0).mean() + loss.fake(undecided).mean(), 2 * math.log(2), rel_tol=1e-6)
    assert math.isclose(loss.generator(undecided).mean(), math.log(2), rel_tol=1e-6)


@pytest.mark.parametrize("label", [1.0, 0.9])
def test_non_saturating_loss_is_cross_entropy_with_the_labels(label):
    loss = LOSSES["non_saturating"]
    assert torch.allclose(loss.real(REAL, label).mean(), cross_entropy(REAL, torch.full((2,), label)))
    assert torch.allclose(loss.fake(FAKE).mean(), cross_entropy(FAKE, torch.zeros(2)))
    assert torch.allclose(loss.generator(FAKE).mean(), cross_entropy(FAKE, torch.ones(2)))


def test_non_saturating_loss_is_finite_where_the_sigmoid_saturates():
    loss = LOSSES["non_saturating"]
    assert loss.generator(torch.tensor([-1000.0])).mean() == 1000
    assert loss.real(torch.tensor([1000.0]), 1.0).mean() + loss.fake(torch.tensor([-1000.0])).mean() == 0


def test_hinge_loss_is_zero_beyond_the_margin():
    loss = LOSSES["hinge"]
    assert loss.real(torch.tensor([1.0, 5.0, 0.0]), 1.0).mean() == pytest.approx(1 / 3)
    assert loss.fake(torch.tensor([-1.0, -5.0, 1.0])).mean() == pytest.approx(2 / 3)
    assert loss.generator(FAKE).mean() == pytest.approx(-0.15)


def test_least_squares_loss_is_half_the_squared_distance_to_the_labels():
    loss = LOSSES["least_squares"]
    assert loss.real(torch.tensor([1.0, 0.0]), 1.0).mean() == pytest.approx(0.25)
    assert loss.real(torch.tensor([0.9]), 0.9).mean() == 0
    assert loss.fake(torch.tensor([0.0, 2.0])).mean() == pytest.approx(1.0)
    assert loss.generator(torch.tensor([1.0, 3.0])).mean() == pytest.approx(1.0)


def test_wasserstein_loss_is_the_difference_of_mean_logits():
    loss = LOSSES["wgan_gp"]
    assert loss.real(REAL, 1.0).mean() + loss.fake(FAKE).mean() == pytest.approx(float(FAKE.mean() - REAL.mean()))
    assert loss.generator(FAKE).mean() == -FAKE.mean()


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_prefers_correct_logits(name):
    loss, real, fake = LOSSES[name], torch.tensor([1.0]), torch.tensor([0.0])
    assert loss.real(real, 1.0).mean() + loss.fake(fake).mean() < loss.real(fake, 1.0).mean() + loss.fake(real).mean()
    assert loss.generator(real).mean() < loss.generator(fake).mean()


def test_accuracies_are_fractions_on_the_correct_side_of_the_boundary():
    real, fake = torch.tensor([0.6, 0.4, 2.0, -1.0]), torch.tensor([0.3, 0.7, -2.0, -3.0])
    assert [float(share) for share in accuracies(LOSSES["non_saturating"], real, fake)] == [0.75, 0.5]
    assert [float(share) for share in accuracies(LOSSES["least_squares"], real, fake)] == [0.5, 0.75]
    # Only differences between a critic's outputs are meaningful.
    assert [float(share) for share in accuracies(LOSSES["wgan_gp"], real + 100, fake + 100)] == [0.75, 0.5]
