import copy

import pytest
import torch
from engine import CPU, REAL, new_state, weights_of
from recipes import tiny_training

from kedro_dcgan.model.sampling import draw_latents, to_model_range
from kedro_dcgan.training.data import Draws, source_at
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.losses import LOSSES
from kedro_dcgan.training.step import Pairs, Step, variant_at

IMAGES = to_model_range(REAL[:8])
NO_NORM = {"discriminator__batch_norm": False}
LOSS = LOSSES["non_saturating"]


def run_steps(training, steps=1, compute=CPU):
    """Return the state after some steps, and the values of each step."""
    state = new_state(training, compute)
    step = Step(state, training, compute)
    return state, [step(IMAGES) for _ in range(steps)]


def test_step_updates_both_networks_and_keeps_discriminator_trainable():
    before = copy.deepcopy(weights_of(new_state()))
    state, (values,) = run_steps(tiny_training())
    for name, network in (("", state.generator), ("d.", state.discriminator)):
        assert not any(torch.equal(before[name + key], weight) for key, weight in network.named_parameters())
        assert all(weight.requires_grad for weight in network.parameters())
    assert values.shape == (6,)
    assert state.images_seen == 8


def test_step_matches_the_algorithm_of_the_dcgan_paper():
    reference, (state, values) = new_state(), run_steps(tiny_training())
    g, d = reference.generator, reference.discriminator
    fakes = g(draw_latents(8, g.config, source_at(0, 0)))
    d_loss = LOSS.real(d(IMAGES), 1.0).mean() + LOSS.fake(d(fakes.detach())).mean()
    reference.discriminator_optimiser.zero_grad()
    d_loss.backward()
    reference.discriminator_optimiser.step()
    g_loss = LOSS.generator(d(fakes)).mean()
    reference.generator_optimiser.zero_grad()
    g_loss.backward()
    reference.generator_optimiser.step()
    expected = weights_of(reference)
    assert all(torch.allclose(expected[name], value, atol=1e-6) for name, value in weights_of(state).items())
    assert values[0][:2].tolist() == pytest.approx([d_loss.item(), g_loss.item()])


def test_generator_update_adds_no_gradient_to_discriminator():
    state, _ = run_steps(tiny_training())
    reference = new_state()
    fakes = reference.generator(draw_latents(8, reference.generator.config, source_at(0, 0))).detach()
    real_logits, fake_logits = reference.discriminator(IMAGES), reference.discriminator(fakes)
    (LOSS.real(real_logits, 1.0).mean() + LOSS.fake(fake_logits).mean()).backward()
    for weight, expected in zip(state.discriminator.parameters(), reference.discriminator.parameters(), strict=True):
        assert torch.allclose(weight.grad, expected.grad, atol=1e-6)


def test_separate_updates_take_one_optimiser_step_each_for_real_and_fake():
    reference, (state, _) = new_state(), run_steps(tiny_training(discriminator__update="separately"))
    d, g = reference.discriminator, reference.generator
    fakes = g(draw_latents(8, g.config, source_at(0, 0))).detach()
    for loss in (lambda: LOSS.real(d(IMAGES), 1.0).mean(), lambda: LOSS.fake(d(fakes)).mean()):
        reference.discriminator_optimiser.zero_grad()
        loss().backward()
        reference.discriminator_optimiser.step()
    for weight, expected in zip(state.discriminator.parameters(), d.parameters(), strict=True):
        assert torch.allclose(weight, expected, atol=1e-6)


def test_generator_updates_once_per_n_discriminator_updates():
    training = tiny_training(discriminator__steps=3)
    before = copy.deepcopy(new_state(training).generator.state_dict())
    for steps, moved in ((1, False), (2, False), (3, True)):
        state, values = run_steps(training, steps)
        assert torch.equal(before["layers.1.weight"], state.generator.state_dict()["layers.1.weight"]) != moved
        assert torch.isfinite(torch.stack(values)).all()


@pytest.mark.parametrize("changes", [{}, {"loss": "hinge"}, {"loss": "least_squares"}, {"penalties__r1": 1.0}])
def test_accumulated_gradients_equal_full_batch_gradients(changes):
    # Without batch norm, the discriminator's loss is a mean over independent images.
    fakes = to_model_range(REAL[8:16])
    discriminator_gradients, image_gradients = [], []
    for parts in (1, 4):
        training = tiny_training(**NO_NORM, **changes, gradient_accumulation=parts)
        step = Step(new_state(training), training, CPU)
        batch = list(map(Pairs, IMAGES.chunk(parts), fakes.chunk(parts), [None] * parts))
        step._update_discriminator(variant_at(0, training), batch, Draws(source_at(0, 0), CPU))
        discriminator_gradients.append([weight.grad for weight in step._state.discriminator.parameters()])
        images = fakes.clone().requires_grad_(True)
        with_classes = [(part, None) for part in images.chunk(parts)]
        Step(new_state(training), training, CPU)._update_generator(with_classes, Draws(source_at(0, 0), CPU))
        image_gradients.append(images.grad)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*discriminator_gradients, strict=True))
    assert all(gradient.abs().max() > 1e-5 for gradient in discriminator_gradients[0])
    assert torch.allclose(*image_gradients, atol=1e-8)
    assert image_gradients[0].abs().max() > 0


def test_lazy_r1_is_scaled_by_its_interval():
    losses = {}
    for every, gamma in ((1, 4.0), (2, 2.0), (1, 0.0)):
        training = tiny_training(**NO_NORM, penalties__r1=gamma, penalties__r1_every=every)
        losses[every, gamma] = [float(values[0]) for values in run_steps(training, 2)[1]]
    assert losses[1, 4.0][0] == pytest.approx(losses[2, 2.0][0])
    assert losses[1, 4.0][0] > losses[1, 0.0][0]


def test_adaptive_r1_penalises_with_its_current_weight_and_adapts_it_to_the_probabilities():
    adaptive = tiny_training(**NO_NORM, penalties__r1="auto", penalties__r1_every=1)
    for gamma in (1.0, 4.0):
        state = new_state(adaptive)
        state.adaptive_r1.gamma.fill_(gamma)
        values = Step(state, adaptive, CPU)(IMAGES)
        constant, (expected,) = run_steps(tiny_training(**NO_NORM, penalties__r1=gamma, penalties__r1_every=1))
        assert torch.equal(values, expected)
        assert all(torch.equal(weights_of(constant)[name], weight) for name, weight in weights_of(state).items())
        # D has just begun, and cannot tell real from fake images.
        assert float(values[4] - values[5]) < 0.1
        assert float(state.adaptive_r1.gamma) < gamma


@pytest.mark.parametrize("changes", [{"penalties__r1": 1.0, **NO_NORM}, {"loss": "wgan_gp", **NO_NORM}, {}])
def test_discriminator_sees_only_augmented_images(monkeypatch, changes):
    # Real and fake images, in both updates and in the gradient penalties.
    monkeypatch.setattr("kedro_dcgan.training.step.augment", lambda images, names, draws: images * 0 + 0.5)
    training = tiny_training(**changes)
    state, seen = new_state(training), []
    state.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    Step(state, training, CPU)(IMAGES)
    # Without batch norm, real and fake images share one pass.
    assert [len(images) for images in seen] == ([16, 8, 8] if changes else [8, 8, 8])
    assert all((images == 0.5).all() for images in seen)


@pytest.mark.parametrize("changes", [{}, {"penalties__r1": 1.0}, {"loss": "wgan_gp"}, {"gradient_accumulation": 2}])
def test_joint_pass_on_real_and_fake_equals_separate_passes(monkeypatch, changes):
    training = tiny_training(**NO_NORM, ema__half_life=100, **changes)
    together, values = run_steps(training, 3)
    monkeypatch.setattr("kedro_dcgan.model.networks.MAX_JOINT_IMAGES", 0)
    apart, expected = run_steps(training, 3)
    for name, weight in weights_of(apart).items():
        assert torch.allclose(weights_of(together)[name].float(), weight.float(), rtol=1e-3, atol=1e-5), name
    assert torch.allclose(torch.stack(values), torch.stack(expected), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "is_joint"),
    [({}, True), ({"dropout": 0.3}, False), ({"spectral_norm": True}, False)],
)
def test_real_and_fake_pass_separately_if_a_layer_depends_on_the_batch(changes, is_joint):
    training = tiny_training(**NO_NORM, **{f"discriminator__{name}": value for name, value in changes.items()})
    state, seen = new_state(training), []
    state.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    Step(state, training, CPU)(IMAGES)
    assert seen == ([16, 8] if is_joint else [8, 8, 8])


def test_label_smoothing_adds_a_tenth_of_the_mean_logit_to_the_loss():
    plain, smooth = (float(run_steps(tiny_training(real_label=label))[1][0][0]) for label in (1.0, 0.9))
    logit = float(new_state().discriminator(IMAGES).detach().mean())
    assert smooth - plain == pytest.approx(0.1 * logit, abs=1e-6)


@pytest.mark.parametrize("steps", [1, 5])
def test_ema_half_life_is_in_images_for_any_update_interval(steps, monkeypatch):
    training = tiny_training(ema__half_life=100, discriminator__steps=steps)
    state = new_state(training)
    # G is updated in the last step of a cycle.
    state.images_seen = 8 * (10**6 * steps + steps - 1)
    step = Step(state, training, CPU)
    monkeypatch.setattr(step, "train", lambda *_: torch.zeros(6))
    for average, weight in zip(state.ema_generator.parameters(), state.generator.parameters(), strict=True):
        average.fill_(1.0)
        weight.data.fill_(0.0)
    step(IMAGES)
    assert float(next(state.ema_generator.parameters()).mean()) == pytest.approx(0.5 ** (8 * steps / 100))


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "hinge", "discriminator__spectral_norm": True, **NO_NORM},
        {"loss": "wgan_gp", **NO_NORM, "discriminator__steps": 2},
        {"loss": "least_squares", "real_label": 0.9},
        {"latents": "uniform", "discriminator__dropout": 0.3},
        {"augmentation__flip": True, "augmentation__differentiable": ["colour", "translation", "cutout"]},
        {"discriminator__update": "separately", "gradient_accumulation": 2, "ema__half_life": 100},
    ],
)
def test_equal_seeds_give_equal_weights_with_every_option(changes):
    runs = [run_steps(tiny_training(**changes, seed=seed), steps=4) for seed in (0, 0, 1)]
    first, again, other = (weights_of(state) for state, _ in runs)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["layers.1.weight"], other["layers.1.weight"])
    assert torch.isfinite(torch.stack(runs[0][1])).all()


def test_bfloat16_keeps_weights_losses_ema_and_adam_moments_in_float32():
    compute = Compute(torch.device("cpu"), "bfloat16")
    training = tiny_training(ema__half_life=100)
    state, (values,) = run_steps(training, compute=compute)
    assert values.dtype == torch.float32
    for module in (state.generator, state.discriminator, state.ema_generator):
        assert {tensor.dtype for tensor in module.state_dict().values()} <= {torch.float32, torch.int64}
    moments = [moment for record in state.generator_optimiser.state.values() for moment in record.values()]
    assert {moment.dtype for moment in moments} == {torch.float32}


def test_ema_updates_only_when_the_generator_updates():
    training = tiny_training(discriminator__steps=2, ema__half_life=100)
    # After 40 steps, the average differs from the generator.
    averages = [run_steps(training, steps)[0].ema_generator.state_dict() for steps in (40, 41, 42)]
    first, between, second = (average["layers.1.weight"] for average in averages)
    assert torch.equal(first, between)
    assert not torch.equal(between, second)
