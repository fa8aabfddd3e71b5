from contextlib import nullcontext

import pytest
import torch
from engine import CPU
from recipes import tiny_training, training_parameters
from torch.utils.flop_counter import FlopCounterMode

from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.training.costs import flops_per_image
from kedro_dcgan.training.state import create_state
from kedro_dcgan.training.step import Step


def test_standard_step_takes_2_275_gflop_per_image():
    # Multiply-adds of all layers. G's update computes no weight gradients of D, and both updates share the fakes.
    training = training_parameters(generator__width=64, discriminator__width=64, penalties__r1=0)
    assert flops_per_image(*network_configs(64, 3, training), training) == pytest.approx(2 * 1137.3e6, rel=1e-4)


@pytest.mark.parametrize(
    ("size", "changes"),
    [
        (16, {}),
        (16, {"discriminator__steps": 2}),
        (16, {"gradient_accumulation": 2}),
        (16, {"discriminator__update": "separately", "discriminator__batch_norm": False}),
        (28, {"architecture": "digits28"}),
        (28, {"architecture": "notebook28"}),
    ],
)
def test_flops_match_the_torch_flop_counter_in_real_steps(size, changes):
    training = tiny_training(**changes)
    configs = network_configs(size, 1, training)
    step = Step(create_state(*configs, training, CPU), training, CPU)
    with FlopCounterMode(display=False) as counted:
        for _ in range(2):
            step(torch.zeros(8, 1, size, size))
    assert counted.get_total_flops() / 16 == pytest.approx(flops_per_image(*configs, training), rel=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        {"penalties__r1": 1.0, "penalties__r1_every": 2},
        {"penalties__r1": "auto", "penalties__r1_every": 2},
        {"loss": "wgan_gp"},
    ],
)
def test_flops_of_penalties_are_close_to_the_torch_flop_counter(changes):
    training = tiny_training(**changes, discriminator__batch_norm=False)
    configs = network_configs(32, 1, training)
    step, counted = Step(create_state(*configs, training, CPU), training, CPU), FlopCounterMode(display=False)
    counted.mod_tracker = NoModules()
    with counted:
        for _ in range(2):
            step(torch.zeros(8, 1, 32, 32))
    assert counted.get_total_flops() / 16 == pytest.approx(flops_per_image(*configs, training), rel=2e-3)


class NoModules(nullcontext):
    """Disables the counts by module: their hooks fail with second derivatives."""

    parents = frozenset({"Global"})
