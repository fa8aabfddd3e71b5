import math

import torch

from kedro_dcgan.gan.losses import discriminator_loss, generator_loss


def test_losses_at_chance_level():
    undecided = torch.zeros(4)
    assert math.isclose(discriminator_loss(undecided, undecided), 2 * math.log(2), rel_tol=1e-6)
    assert math.isclose(generator_loss(undecided), math.log(2), rel_tol=1e-6)


def test_losses_are_those_of_the_probabilities():
    real, fake = torch.tensor([0.3, -1.2]), torch.tensor([0.7, -0.4])
    expected = -(real.sigmoid().log().mean() + (1 - fake.sigmoid()).log().mean())
    assert torch.allclose(discriminator_loss(real, fake), expected)
    assert torch.allclose(generator_loss(fake), -fake.sigmoid().log().mean())


def test_losses_stay_finite_where_the_sigmoid_saturates():
    assert generator_loss(torch.tensor([-1000.0])) == 1000
    assert discriminator_loss(torch.tensor([1000.0]), torch.tensor([-1000.0])) == 0
