import copy

import pytest
import torch
from engine import CPU, REAL, new_state, weights_of
from recipes import tiny_training

from kedro_dcgan.model.sampling import draw_latents, to_model_range
from kedro_dcgan.training.data import Draws, source_at
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.losses import LOSSES
from kedro_dcgan.training.step import Step, variant_at

IMAGES = to_model_range(REAL[:8])
NO_NORM = {"discriminator__batch_norm": False}
LOSS = LOSSES["non_saturating"]


def stepped(training, steps=1, compute=CPU):
    state = new_state(training, compute)
    step = Step(state, training, compute)
    return state, [step(IMAGES) for _ in range(steps)]


def test_a_step_moves_both_networks_and_leaves_the_discriminator_trainable():
    before = copy.deepcopy(weights_of(new_state()))
    state, (values,) = stepped(tiny_training())
    for name, network in (("", state.generator), ("d.", state.discriminator)):
        assert not any(torch.equal(before[name + key], weight) for key, weight in network.named_parameters())
        assert all(weight.requires_grad for weight in network.parameters())
    assert values.shape == (6,)
    assert state.images_seen == 8


def test_a_step_is_the_algorithm_of_the_paper_written_out():
    by_hand, (stepped_state, values) = new_state(), stepped(tiny_training())
    g, d = by_hand.generator, by_hand.discriminator
    fakes = g(draw_latents(8, g.config, source_at(0, 0)))
    d_loss = LOSS.real(d(IMAGES), 1.0) + LOSS.fake(d(fakes.detach()))
    by_hand.discriminator_optimiser.zero_grad()
    d_loss.backward()
    by_hand.discriminator_optimiser.step()
    g_loss = LOSS.generator(d(fakes))
    by_hand.generator_optimiser.zero_grad()
    g_loss.backward()
    by_hand.generator_optimiser.step()
    expected = weights_of(by_hand)
    assert all(torch.allclose(expected[name], value, atol=1e-6) for name, value in weights_of(stepped_state).items())
    assert values[0][:2].tolist() == pytest.approx([d_loss.item(), g_loss.item()])


def test_the_generators_update_gives_the_discriminators_weights_no_gradient():
    state, _ = stepped(tiny_training())
    by_hand = new_state()
    fakes = by_hand.generator(draw_latents(8, by_hand.generator.config, source_at(0, 0))).detach()
    (LOSS.real(by_hand.discriminator(IMAGES), 1.0) + LOSS.fake(by_hand.discriminator(fakes))).backward()
    for weight, expected in zip(state.discriminator.parameters(), by_hand.discriminator.parameters(), strict=True):
        assert torch.allclose(weight.grad, expected.grad, atol=1e-6)


def test_separate_updates_are_two_updates():
    by_hand, (state, _) = new_state(), stepped(tiny_training(discriminator__update="separately"))
    d, g = by_hand.discriminator, by_hand.generator
    fakes = g(draw_latents(8, g.config, source_at(0, 0))).detach()
    for loss in (lambda: LOSS.real(d(IMAGES), 1.0), lambda: LOSS.fake(d(fakes))):
        by_hand.discriminator_optimiser.zero_grad()
        loss().backward()
        by_hand.discriminator_optimiser.step()
    for weight, expected in zip(state.discriminator.parameters(), d.parameters(), strict=True):
        assert torch.allclose(weight, expected, atol=1e-6)


def test_the_generator_waits_for_its_turn():
    training = tiny_training(discriminator__steps=3)
    before = copy.deepcopy(new_state(training).generator.state_dict())
    for steps, moved in ((1, False), (2, False), (3, True)):
        state, values = stepped(training, steps)
        assert torch.equal(before["layers.1.weight"], state.generator.state_dict()["layers.1.weight"]) != moved
        assert torch.isfinite(torch.stack(values)).all()


@pytest.mark.parametrize("changes", [{}, {"loss": "hinge"}, {"loss": "least_squares"}, {"penalties__r1": 1.0}])
def test_accumulated_gradients_are_those_of_the_whole_batch(changes):
    # Without batch norm in the discriminator each image counts for itself.
    fakes = to_model_range(REAL[8:16])
    of_discriminator, of_generators_images = [], []
    for parts in (1, 4):
        training = tiny_training(**NO_NORM, **changes, gradient_accumulation=parts)
        step = Step(new_state(training), training, CPU)
        step._update_discriminator(
            variant_at(0, training), IMAGES.chunk(parts), fakes.chunk(parts), Draws(source_at(0, 0), CPU)
        )
        of_discriminator.append([weight.grad for weight in step._state.discriminator.parameters()])
        images = fakes.clone().requires_grad_(True)
        Step(new_state(training), training, CPU)._update_generator(images.chunk(parts), Draws(source_at(0, 0), CPU))
        of_generators_images.append(images.grad)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*of_discriminator, strict=True))
    assert all(gradient.abs().max() > 1e-5 for gradient in of_discriminator[0])
    assert torch.allclose(*of_generators_images, atol=1e-8)
    assert of_generators_images[0].abs().max() > 0


def test_r1_comes_every_so_many_steps_and_is_so_many_times_stronger():
    losses = {}
    for every, gamma in ((1, 4.0), (2, 2.0), (1, 0.0)):
        training = tiny_training(**NO_NORM, penalties__r1=gamma, penalties__r1_every=every)
        losses[every, gamma] = [float(values[0]) for values in stepped(training, 2)[1]]
    assert losses[1, 4.0][0] == pytest.approx(losses[2, 2.0][0])
    assert losses[1, 4.0][0] > losses[1, 0.0][0]


@pytest.mark.parametrize("changes", [{"penalties__r1": 1.0, **NO_NORM}, {"loss": "wgan_gp", **NO_NORM}, {}])
def test_the_discriminator_sees_no_image_that_is_not_augmented(monkeypatch, changes):
    # Real ones and fakes, in its own update, in the generator's, and where its gradients are penalised.
    monkeypatch.setattr("kedro_dcgan.training.step.augment", lambda images, names, draws: images * 0 + 0.5)
    training = tiny_training(**changes)
    state, seen = new_state(training), []
    state.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    Step(state, training, CPU)(IMAGES)
    # Without batch norm, one pass for real and fake images.
    assert [len(images) for images in seen] == ([16, 8, 8] if changes else [8, 8, 8])
    assert all((images == 0.5).all() for images in seen)


@pytest.mark.parametrize("changes", [{}, {"penalties__r1": 1.0}, {"loss": "wgan_gp"}, {"gradient_accumulation": 2}])
def test_one_pass_on_real_and_fake_images_gives_what_two_give(monkeypatch, changes):
    training = tiny_training(**NO_NORM, ema__half_life=100, **changes)
    together, values = stepped(training, 3)
    monkeypatch.setattr("kedro_dcgan.training.step._MAX_JOINT_MICRO_BATCH", 0)
    apart, expected = stepped(training, 3)
    for name, weight in weights_of(apart).items():
        assert torch.allclose(weights_of(together)[name].float(), weight.float(), rtol=1e-3, atol=1e-5), name
    assert torch.allclose(torch.stack(values), torch.stack(expected), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "is_alone"),
    [({}, True), ({"dropout": 0.3}, False), ({"spectral_norm": True}, False)],
)
def test_where_an_image_is_not_judged_alone_each_side_has_its_pass(changes, is_alone):
    training = tiny_training(**NO_NORM, **{f"discriminator__{name}": value for name, value in changes.items()})
    state, seen = new_state(training), []
    state.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    Step(state, training, CPU)(IMAGES)
    assert seen == ([16, 8] if is_alone else [8, 8, 8])


def test_smoothed_labels_cost_a_tenth_of_the_logit():
    plain, smooth = (float(stepped(tiny_training(real_label=label))[1][0][0]) for label in (1.0, 0.9))
    logit = float(new_state().discriminator(IMAGES).detach().mean())
    assert smooth - plain == pytest.approx(0.1 * logit, abs=1e-6)


@pytest.mark.parametrize("steps", [1, 5])
def test_the_half_life_of_the_ema_is_in_images_however_often_it_moves(steps, monkeypatch):
    training = tiny_training(ema__half_life=100, discriminator__steps=steps)
    state = new_state(training)
    # The last step of a cycle, in which G is updated.
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
    runs = [stepped(tiny_training(**changes, seed=seed), steps=4) for seed in (0, 0, 1)]
    first, again, other = (weights_of(state) for state, _ in runs)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["layers.1.weight"], other["layers.1.weight"])
    assert torch.isfinite(torch.stack(runs[0][1])).all()


def test_bfloat16_keeps_weights_losses_averages_and_moments_in_float32():
    compute = Compute(torch.device("cpu"), "bfloat16")
    training = tiny_training(ema__half_life=100)
    state, (values,) = stepped(training, compute=compute)
    assert values.dtype == torch.float32
    for module in (state.generator, state.discriminator, state.ema_generator):
        assert {tensor.dtype for tensor in module.state_dict().values()} <= {torch.float32, torch.int64}
    moments = [moment for record in state.generator_optimiser.state.values() for moment in record.values()]
    assert {moment.dtype for moment in moments} == {torch.float32}


def test_the_average_moves_in_the_generators_turns_alone():
    training = tiny_training(discriminator__steps=2, ema__half_life=100)
    # So many that the average has a past, and is not the generator itself.
    averages = [stepped(training, steps)[0].ema_generator.state_dict() for steps in (40, 41, 42)]
    first, between, second = (average["layers.1.weight"] for average in averages)
    assert torch.equal(first, between)
    assert not torch.equal(between, second)
