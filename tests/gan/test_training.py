import copy

import numpy as np
import pytest
import torch

from kedro_dcgan.errors import ParameterError, TrainingError
from kedro_dcgan.gan.architectures import network_specs
from kedro_dcgan.gan.devices import Compute, choose_compute
from kedro_dcgan.gan.losses import discriminator_loss
from kedro_dcgan.gan.sampling import sample_latents
from kedro_dcgan.gan.training import batch_indices, epoch_order, start, train, train_step
from kedro_dcgan.images.pixels import to_model_range
from kedro_dcgan.parameters import TrainingParameters

CPU = Compute(torch.device("cpu"), "float32")


def parameters(seed=0, learning_rate=2e-3):
    network = {"width": 4, "learning_rate": learning_rate, "betas": (0.5, 0.999)}
    return TrainingParameters(
        epochs=1,
        batch_size=8,
        architecture="dcgan",
        latent_dim=6,
        latents="normal",
        generator=network,
        discriminator={**network, "batch_norm": True, "spectral_norm": False, "dropout": None},
        images_per_tick=16,
        grid_images=4,
        seed=seed,
        device="cpu",
        precision="float32",
    )


SPEC = network_specs(16, 1, parameters())[0]


def new_state(seed=0, learning_rate=2e-3, compute=CPU):
    training = parameters(seed, learning_rate)
    return start(*network_specs(16, 1, training), training, compute)


def batches(count, level=200):
    return [torch.full((8, 1, 16, 16), level, dtype=torch.uint8) for _ in range(count)]


def ticks(state, count, images_per_tick=16):
    return list(train(state, batches(count), images_per_tick, sample_latents(4, SPEC, seed=0), CPU))


def test_train_ticks_before_the_first_step_then_by_images_seen_then_at_the_end():
    seen = [tick.images_seen for tick in ticks(new_state(), count=5)]
    assert seen == [0, 16, 32, 40]


def test_train_is_lazy():
    state = new_state()
    running = train(state, batches(100), 16, sample_latents(4, SPEC, seed=0), CPU)
    assert next(running).record is None
    assert state.images_seen == 0
    assert next(running).record.images_seen == state.images_seen == 16


def test_equal_seeds_give_equal_weights_and_others_do_not():
    states = [new_state(seed) for seed in (0, 0, 1)]
    for state in states:
        ticks(state, count=4)
    first, again, other = (state.generator.state_dict() for state in states)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["layers.1.weight"], other["layers.1.weight"])


def test_train_learns_the_brightness_of_its_images():
    state = new_state()
    last = list(train(state, batches(150), 10_000, sample_latents(16, SPEC, seed=0), CPU))[-1]
    assert abs(last.fixed_samples.mean() - 200) < 30


def test_a_step_moves_both_networks_and_leaves_the_discriminator_trainable():
    state = new_state()
    before = copy.deepcopy([state.generator.state_dict(), state.discriminator.state_dict()])
    result = train_step(state, to_model_range(batches(1)[0]), CPU)
    for old, network in zip(before, (state.generator, state.discriminator), strict=True):
        assert not any(torch.equal(old[name], weight) for name, weight in network.named_parameters())
        assert all(weight.requires_grad for weight in network.parameters())
    assert result.shape == (4,)


def test_the_generator_step_gives_the_discriminator_no_gradient():
    stepped, by_hand, images = new_state(), new_state(), to_model_range(batches(1)[0])
    train_step(stepped, images, CPU)
    fakes = by_hand.generator(torch.randn(8, 6, generator=by_hand.latents_source)).detach()
    discriminator_loss(by_hand.discriminator(images), by_hand.discriminator(fakes)).backward()
    for weight, expected in zip(stepped.discriminator.parameters(), by_hand.discriminator.parameters(), strict=True):
        assert torch.allclose(weight.grad, expected.grad, atol=1e-6)


def test_bfloat16_keeps_weights_and_losses_in_float32():
    compute = Compute(torch.device("cpu"), "bfloat16")
    state = new_state(compute=compute)
    assert train_step(state, to_model_range(batches(1)[0]), compute).dtype == torch.float32
    assert {weight.dtype for weight in state.generator.parameters()} == {torch.float32}


def test_a_loss_that_is_not_finite_stops_training_with_the_remedy():
    state = new_state()
    running = train(state, batches(4), 16, sample_latents(4, SPEC, seed=0), CPU)
    next(running)
    with torch.no_grad():
        next(state.discriminator.parameters()).fill_(torch.nan)
    with pytest.raises(TrainingError, match=r"at 16 images\). Lower `training.generator.learning_rate`"):
        next(running)


def test_epoch_order_is_a_permutation_by_seed_and_epoch():
    assert sorted(epoch_order(10, 0, 0)) == list(range(10))
    assert epoch_order(50, 0, 1).tolist() == epoch_order(50, 0, 1).tolist()
    assert epoch_order(50, 0, 1).tolist() != epoch_order(50, 0, 2).tolist()


def test_batch_indices_show_each_image_once_a_pass():
    indices = list(batch_indices(count=10, batch_size=3, total_batches=7, seed=0))
    assert [len(batch) for batch in indices] == [3] * 7
    for one_pass in (indices[0:3], indices[3:6]):
        assert len(set(np.concatenate(one_pass))) == 9


def test_choose_compute_takes_what_is_there():
    assert choose_compute("cpu", "float32") == CPU
    assert choose_compute("auto", "auto").device.type in {"cpu", "cuda", "mps"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_choose_compute_refuses_a_device_that_is_not_there():
    with pytest.raises(ParameterError, match=r"`training.device` must be a device of this machine \(got 'cuda'\)"):
        choose_compute("cuda", "auto")
