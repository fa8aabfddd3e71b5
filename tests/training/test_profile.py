import pytest
from engine import CPU, REAL, new_state
from recipes import tiny_training

from kedro_dcgan.training.costs import flops_per_image
from kedro_dcgan.training.fast.profile import matrix_rate, profile_step


def test_profile_covers_all_parts_of_a_step_and_trains_like_the_loop():
    training = tiny_training(ema__half_life=100)
    state = new_state(training)
    found = profile_step(state, training, CPU, iter(lambda: REAL[:8], None), steps=4)
    parts = ["data", "fakes", "discriminator", "generator", "ranks", "optimisers", "average", "logging", "the rest"]
    assert list(found.milliseconds) == parts
    assert all(value > 0 for value in found.milliseconds.values())
    assert found.milliseconds["discriminator"] > found.milliseconds["average"]
    flops = flops_per_image(state.generator.config, state.discriminator.config, training)
    assert found.flops_per_second == pytest.approx(found.images_per_second * flops)
    assert state.images_seen == 8 * (3 + 4 + 4)


def test_matmul_rate_does_not_depend_on_the_measured_time():
    rates = [matrix_rate(CPU, size=256, seconds=seconds) for seconds in (0.2, 0.4)]
    assert rates[0] == pytest.approx(rates[1], rel=2)
    assert 1e8 < rates[0] < 1e13
