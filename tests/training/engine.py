"""Tiny trainings for tests: a state, batches, and a run to look at."""

import torch
from recipes import tiny_training

from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.loop import Training, TrainingCallbacks
from kedro_dcgan.training.state import create_state

# The networks are tiny: more than one thread only makes them wait for each other.
torch.set_num_threads(1)

CPU = Compute(torch.device("cpu"), "float32")
REAL = torch.randint(0, 256, (64, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def new_state(training=None, compute=CPU):
    training = training or tiny_training()
    return create_state(*network_configs(16, 1, training), training, compute)


def batches(count, begin=0):
    """Batches of 8 images, each of them another."""
    return [REAL[torch.arange(8 * n, 8 * n + 8) % 64] for n in range(begin, begin + count)]


def a_run(state, training=None, compute=CPU, **callbacks):
    return Training(state, training or tiny_training(), compute, TrainingCallbacks(REAL, **callbacks))


def ticks(state, count, training=None, **callbacks):
    """Train on so many batches from where the state is."""
    begin = state.images_seen // 8
    run = a_run(state, training, **callbacks)
    return list(run.ticks(batches(count, begin), total_images=8 * (begin + count)))


def weights_of(state):
    return {**state.generator.state_dict(), **{f"d.{k}": v for k, v in state.discriminator.state_dict().items()}}


def tensors_in(value):
    """All tensors of nested dicts and lists, in their order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in tensors_in(item)] if isinstance(value, list | tuple) else []
