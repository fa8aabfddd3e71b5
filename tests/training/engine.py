"""Tiny trainings for tests: states, batches and runs."""

import numpy as np
import torch
from recipes import tiny_training

from kedro_dcgan.data.shards import PreparedImages, StoredShard
from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.training.data import Batch
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.loop import Training, TrainingCallbacks
from kedro_dcgan.training.state import create_state

# The networks are tiny: more threads would only slow them down.
torch.set_num_threads(1)

CPU = Compute(torch.device("cpu"), "float32")
REAL = torch.randint(0, 256, (64, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
# The classes of these images, for conditional training.
LABELS = torch.arange(64) * 7 % 5 % 3
IMAGES = PreparedImages(
    16,
    1,
    "digest",
    [StoredShard("0", "", REAL.numpy())],
    {"train": np.arange(48), "validation": np.arange(48, 64), "test": np.arange(0)},
)
SHARES = {"cat": 0.4, "dog": 0.4, "owl": 0.2}


def new_state(training=None, compute=CPU):
    training = training or tiny_training()
    shares = SHARES if training.conditional is True else {}
    return create_state(*network_configs(16, 1, training, shares), training, compute)


def batches(count, begin=0):
    """Return `count` consecutive batches of 8 images, starting with batch `begin`."""
    rows = [torch.arange(8 * n, 8 * n + 8) % 64 for n in range(begin, begin + count)]
    return [Batch(REAL[of_batch], LABELS[of_batch]) for of_batch in rows]


def classes_of(batch, training):
    """Return the classes that the loop passes to a step."""
    return batch.classes if training.conditional is True else None


def new_run(state, training=None, compute=CPU, **callbacks):
    return Training(state, training or tiny_training(), compute, TrainingCallbacks(REAL, **callbacks))


def ticks(state, count, training=None, **callbacks):
    """Train on the next `count` batches; return the ticks."""
    begin = state.images_seen // 8
    run = new_run(state, training, **callbacks)
    return list(run.ticks(batches(count, begin), total_images=8 * (begin + count)))


def weights_of(state):
    return {**state.generator.state_dict(), **{f"d.{k}": v for k, v in state.discriminator.state_dict().items()}}


def tensors_in(value):
    """Return all tensors in nested dicts and lists, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in tensors_in(item)] if isinstance(value, list | tuple) else []
