"""A training that is stopped after any step and resumed ends with the same bits."""

import io
from dataclasses import asdict

import pytest
import torch
from engine import new_state, tensors_in, ticks
from recipes import tiny_training

from kedro_dcgan.errors import TrainingError

STEPS = 12
RECIPES = {
    "plain": {},
    "dropout and ema": {"discriminator__dropout": 0.3, "ema__half_life": 100},
    "spectral norm, hinge and R1": {
        "discriminator__spectral_norm": True,
        "discriminator__batch_norm": False,
        "loss": "hinge",
        "penalties__r1": 1.0,
        "penalties__r1_every": 3,
    },
    "augmentation, two updates of D, micro-batches": {
        "augmentation__flip": True,
        "augmentation__differentiable": ["colour", "translation", "cutout"],
        "discriminator__steps": 2,
        "gradient_accumulation": 2,
    },
    "adaptive R1": {"discriminator__batch_norm": False, "penalties__r1": "auto", "penalties__r1_every": 2},
    "classes": {"conditional": True, "ema__half_life": 100, "discriminator__batch_norm": False, "penalties__r1": 1.0},
    "wgan_gp, uniform latents": {"loss": "wgan_gp", "latents": "uniform", "discriminator__batch_norm": False},
}


def validate(generator):
    # The value grows, so the first measured generator is the best.
    return float(next(generator.parameters()).detach().square().sum())


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state.state_dict(), file)
    return torch.load(io.BytesIO(file.getvalue()), weights_only=True)


def without_times(state):
    return [{**asdict(record), "images_per_second": 0, "gigaflops_per_second": 0} for record in state.records]


def test_adaptive_r1_is_recorded_and_restored_if_the_checkpoint_has_it():
    adaptive = tiny_training(**RECIPES["adaptive R1"])
    constant = tiny_training(**RECIPES["adaptive R1"] | {"penalties__r1": 1.0})
    first, second = new_state(adaptive), new_state(constant)
    ticks(first, 4, adaptive)
    assert first.records[-1].r1 == pytest.approx(float(first.adaptive_r1.gamma))
    assert first.records[-1].r1 != 1
    resumed = new_state(adaptive)
    resumed.load_state_dict(through_a_file(first))
    assert torch.equal(resumed.adaptive_r1.gamma, first.adaptive_r1.gamma)
    assert torch.equal(resumed.adaptive_r1.confidence, first.adaptive_r1.confidence)
    # With resume=force, from an adaptive to a constant weight and back: it starts again.
    second.load_state_dict(through_a_file(first))
    ticks(second, 2, constant)
    assert second.records[-1].r1 is None
    third = new_state(adaptive)
    third.load_state_dict(through_a_file(second))
    assert float(third.adaptive_r1.gamma) == 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_resumed_training_ends_with_the_same_bits(recipe):
    training = tiny_training(**RECIPES[recipe], images_per_validation=32)
    whole = new_state(training)
    ticks(whole, STEPS, training, validate=validate)
    assert whole.best.images_seen < whole.images_seen
    for stop in range(1, STEPS):
        first = new_state(training)
        torch.manual_seed(stop)  # the global random state does not matter
        list(
            ticks(first, STEPS, training, validate=validate, should_stop=lambda f=first, s=stop: f.images_seen == 8 * s)
        )
        assert first.images_seen == 8 * stop
        second = new_state(training)
        second.load_state_dict(through_a_file(first))
        ticks(second, STEPS - stop, training, validate=validate)
        expected, got = whole.state_dict(), second.state_dict()
        assert without_times(whole) == without_times(second)
        assert second.best.images_seen == whole.best.images_seen
        assert len(tensors_in(expected)) == len(tensors_in(got)) > 30
        assert all(torch.equal(one, other) for one, other in zip(tensors_in(expected), tensors_in(got), strict=True))


def test_changed_hyperparameters_apply_after_resuming():
    before = new_state()
    ticks(before, 2)
    changed = tiny_training(generator__learning_rate=1e-5, discriminator__betas=(0.0, 0.9), ema__half_life=50)
    state = new_state(changed)
    state.load_state_dict(through_a_file(before))
    assert state.generator_optimiser.param_groups[0]["lr"] == 1e-5
    assert state.discriminator_optimiser.param_groups[0]["betas"] == (0.0, 0.9)
    moments = [tensors_in(one.generator_optimiser.state_dict()["state"]) for one in (before, state)]
    assert all(torch.equal(old, new) for old, new in zip(*moments, strict=True))
    # A new average starts with the generator's weights.
    averaged = state.ema_generator.state_dict()
    assert all(torch.equal(value, averaged[name]) for name, value in before.generator.state_dict().items())


def test_checkpoint_with_other_shapes_is_rejected_in_one_line():
    state, message = new_state(tiny_training(generator__width=6)), r"^the networks must be those of the checkpoint \("
    with pytest.raises(TrainingError, match=message) as caught:
        state.load_state_dict(through_a_file(new_state()))
    assert "\n" not in str(caught.value)


def test_resumed_optimiser_state_keeps_its_memory_format():
    before, after = new_state(), new_state()
    ticks(before, 1)
    after.load_state_dict(through_a_file(before))
    strides = [
        [moment.stride() for record in one.discriminator_optimiser.state.values() for moment in record.values()]
        for one in (before, after)
    ]
    assert strides[0] == strides[1]


def test_state_dict_is_not_changed_by_further_training():
    state = new_state()
    ticks(state, 2)
    taken = state.state_dict()
    before = [tensor.clone() for tensor in tensors_in(taken)]
    ticks(state, 2)
    assert all(torch.equal(one, other) for one, other in zip(before, tensors_in(taken), strict=True))
