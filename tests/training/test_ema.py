import copy

import pytest
import torch
from recipes import tiny_training

from kedro_dcgan.model.networks import initialise
from kedro_dcgan.model.recipes import build_generator, network_configs
from kedro_dcgan.model.sampling import sample_inputs
from kedro_dcgan.training.ema import decay_of, recalibrate, update_average

CONFIG = network_configs(16, 1, tiny_training())[0]


def generator(seed=0):
    made = build_generator(CONFIG)
    initialise(made, torch.Generator().manual_seed(seed))
    return made


def test_decay_over_one_half_life_is_one_half():
    steps = 1000 // 8
    assert decay_of(8, images_seen=10**9, half_life=1000) ** steps == pytest.approx(0.5)


def test_half_life_ramps_up_to_the_configured_value():
    assert decay_of(8, images_seen=0, half_life=1000) == 0
    assert decay_of(8, images_seen=2000, half_life=1000) == pytest.approx(0.5 ** (8 / 100))
    assert decay_of(8, images_seen=20_000, half_life=1000) == decay_of(8, images_seen=10**9, half_life=1000)


def test_update_moves_the_average_towards_the_weights():
    average, weights = generator(0), generator(1)
    before = copy.deepcopy(average.state_dict())
    update_average(average, weights, decay=0.75)
    for name, value in average.named_parameters():
        expected = 0.75 * before[name] + 0.25 * weights.state_dict()[name]
        assert torch.allclose(value, expected, atol=1e-7)


def test_update_copies_batch_norm_statistics():
    average, weights = generator(0), generator(1)
    weights(sample_inputs(32, CONFIG, seed=0))
    update_average(average, weights, decay=0.75)
    assert all(torch.equal(a, b) for a, b in zip(average.buffers(), weights.buffers(), strict=True))


def test_recalibration_measures_the_inputs_of_each_batch_norm():
    made, latents = generator(), sample_inputs(64, CONFIG, seed=0)
    recalibrate(made, latents, batch_size=16)
    first = made.layers[:2](latents)  # the input of the first batch norm
    means = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in first.split(16)])
    variances = torch.stack([batch.var(dim=(0, 2, 3)) for batch in first.split(16)])
    norm = made.layers[2]
    assert torch.allclose(norm.running_mean, means.mean(dim=0), atol=1e-6)
    assert torch.allclose(norm.running_var, variances.mean(dim=0), atol=1e-6)


def test_recalibration_keeps_weights_mode_and_momentum():
    made = generator().eval()
    before = copy.deepcopy(dict(made.named_parameters()))
    recalibrate(made, sample_inputs(64, CONFIG, seed=0), batch_size=16)
    assert not made.training
    assert made.layers[2].momentum == 0.1
    assert all(torch.equal(before[name], value) for name, value in made.named_parameters())


def test_recalibration_does_not_depend_on_earlier_statistics():
    one, other, latents = generator(), generator(), sample_inputs(64, CONFIG, seed=0)
    other(sample_inputs(16, CONFIG, seed=5))
    for made in (one, other):
        recalibrate(made, latents, batch_size=16)
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), other.buffers(), strict=True))
