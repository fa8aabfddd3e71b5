import copy
import dataclasses
import math

import numpy as np
import pytest
import r3gan
import torch
import trainings
from r3gan import R3gan, between
from recipes import tiny_training
from step_timing import Case
from trainings import SIDES, recipe_of, train_side

from kedro_dcgan.data.shards import Classes, PreparedImages, StoredShard
from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.fast.execution import Calibration
from kedro_dcgan.training.state import create_state

COMPUTE = Compute(torch.device("cpu"), "float32")
# R3GAN at the learning rate and size of a test.
R3GAN = {"discriminator.batch_norm": False, "ema.half_life": 100, "generator.betas": (0, 0.9), "penalties.r1": 1}


def pictures(count=96):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 1, 32, 32), dtype=np.uint8)
    return PreparedImages(32, 1, "noise", [StoredShard("0", "", pixels)], {"train": np.arange(count)})


def r3gan_step(total=1000):
    training = tiny_training(**R3GAN)
    state = create_state(*network_configs(32, 1, training), training, COMPUTE)
    return state, R3gan(state, training, COMPUTE, total)


def real_images(count=8):
    return torch.rand(count, 1, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def weights_of(network):
    return [weight.detach().clone() for weight in network.parameters()]


def uncalibrated(size, channels, training, shares):
    return Case(size, channels, training, Calibration("cpu", "this machine", "float32", 1), shares)


@pytest.mark.parametrize("side", SIDES)
def test_each_side_trains_and_is_evaluated_at_its_ticks(side, monkeypatch):
    # A benchmark of the machine takes longer than this training.
    monkeypatch.setattr(trainings, "calibrated", uncalibrated)
    moments = []

    def evaluate(moment, samples):
        images = torch.cat(list(samples))
        moments.append(moment)
        assert images.shape == (12, 1, 32, 32)
        assert images.dtype == torch.uint8
        assert images.float().std() > 0
        return {"kimg": moment.kimg}

    changes = ["generator.width=4", "discriminator.width=4", "latent_dim=6"]
    training = recipe_of(side, "smoke", [*changes, "batch_size=32"], total=128, ticks=2)
    # pytorch/examples has batches of 64.
    rows = train_side(side, pictures(), training, 128, evaluate, samples=12)
    assert [row["kimg"] for row in rows] == [0.064, 0.128]
    assert [(moment.side, moment.is_last) for moment in moments] == [(side, False), (side, True)]
    assert 0 <= moments[0].seconds < moments[1].seconds


def test_our_recipe_can_be_conditional(monkeypatch):
    monkeypatch.setattr(trainings, "calibrated", uncalibrated)
    classes = Classes(("even", "odd"), {"train": np.arange(96) % 2})
    images = dataclasses.replace(pictures(), classes=classes)
    changes = ["generator.width=4", "discriminator.width=4", "latent_dim=6", "batch_size=32", "conditional=true"]
    seen = []
    monkeypatch.setattr(trainings, "generate", lambda network, inputs: seen.append(network.config) or iter(()))
    train_side("ours", images, recipe_of("ours", "smoke", changes, total=64), 64, lambda *_: {}, samples=12)
    assert seen[0].classes == ("even", "odd")
    assert seen[0].class_shares == (0.5, 0.5)


def test_published_recipes_keep_the_networks_of_the_preset():
    for side in ("sn-dcgan", "wgan-gp", "diffaugment", "r3gan"):
        recipe = recipe_of(side, "images64", ["penalties.r1_every=4"], 1000)
        assert (recipe.batch_size, recipe.generator.width, recipe.discriminator.width) == (64, 64, 64)
        assert recipe.penalties.r1_every == 4
        assert recipe.images_per_tick == 100
    spectral, critic = recipe_of("sn-dcgan", "base", [], 1000), recipe_of("wgan-gp", "base", [], 1000)
    assert (spectral.loss, spectral.discriminator.spectral_norm, spectral.penalties.r1) == ("hinge", True, 0)
    assert (spectral.generator.learning_rate, spectral.generator.betas) == (2e-4, (0.5, 0.999))
    assert (critic.loss, critic.discriminator.steps, critic.penalties.gradient) == ("wgan_gp", 5, 10)
    assert (critic.discriminator.learning_rate, critic.discriminator.betas) == (1e-4, (0, 0.9))
    assert recipe_of("diffaugment", "base", [], 1000).augmentation.names == ("colour", "translation", "cutout")


def test_r3gan_depends_only_on_differences_of_logits():
    shifted, plain = r3gan_step(), r3gan_step()
    forward = shifted[0].discriminator.forward
    shifted[0].discriminator.forward = lambda images: forward(images) + 3
    for _, step in (shifted, plain):
        step(real_images())
    for network in ("discriminator", "generator"):
        for left, right in zip(*(weights_of(getattr(state, network)) for state, _ in (shifted, plain)), strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=1e-5)


def test_r3gan_penalises_real_and_fake_images_with_a_falling_gamma(monkeypatch):
    seen = []
    penalty = r3gan.r1_penalty
    monkeypatch.setattr(
        r3gan,
        "r1_penalty",
        lambda network, images, gamma: seen.append((images, gamma)) or penalty(network, images, gamma),
    )
    state, step = r3gan_step(total=16)
    before = copy.deepcopy(state.generator)
    step(real_images())
    (real, first), (fake, again) = seen
    assert torch.equal(real, real_images())
    assert first == again == 1
    latents = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(fake, before(latents))
    step(real_images())
    # Half of the training: the mean of gamma and a tenth of it.
    assert seen[2][1] == pytest.approx(0.55)


def test_r3gan_follows_its_schedules():
    assert [between(2, 1, share) for share in (0, 0.5, 1)] == pytest.approx([2, 1.5, 1])
    state, step = r3gan_step(total=800)
    step(real_images())
    # The EMA starts as a copy of G.
    for average, weight in zip(weights_of(state.ema_generator), weights_of(state.generator), strict=True):
        assert torch.equal(average, weight)
    state.images_seen = 800
    before = weights_of(state.ema_generator)
    step(real_images())
    for optimiser in (state.generator_optimiser, state.discriminator_optimiser):
        (group,) = optimiser.param_groups
        assert group["lr"] == pytest.approx(2e-3 / 4)
        assert group["betas"][1] == pytest.approx(0.99)
    # At the end, the half-life is 800 / 40 images.
    decay = 0.5 ** (8 / 20)
    for average, old, weight in zip(weights_of(state.ema_generator), before, weights_of(state.generator), strict=True):
        torch.testing.assert_close(average, decay * old + (1 - decay) * weight)
    assert math.isclose(state.images_seen, 808)
