"""Ranks, each on its rows of the batches, train the same weights as one process."""

import pytest
import torch
from engine import CPU, batches, classes_of, new_state, weights_of
from recipes import tiny_training
from torch import distributed, multiprocessing

from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.training.devices import Compute, Ranks
from kedro_dcgan.training.distributed.layers import spread_over_ranks
from kedro_dcgan.training.step import Step

STEPS = 4
NO_NORM = {"discriminator__batch_norm": False}
OPTIONS = {
    "batch norm over all ranks": {},
    "ema and label smoothing": {"ema__half_life": 100, "real_label": 0.9},
    "dropout": {"discriminator__dropout": 0.5},
    "augmentation": {"augmentation__flip": True, "augmentation__differentiable": ["colour", "translation", "cutout"]},
    "micro-batches": {"gradient_accumulation": 2, "augmentation__flip": True, "discriminator__dropout": 0.5},
    "separate updates": {"discriminator__update": "separately", "discriminator__steps": 2},
    "adaptive r1": {**NO_NORM, "penalties__r1": "auto", "penalties__r1_every": 1},
    "r1 and spectral norm": {**NO_NORM, "discriminator__spectral_norm": True, "penalties__r1": 2.0},
    "wgan_gp": {**NO_NORM, "loss": "wgan_gp"},
    "classes": {**NO_NORM, "conditional": True, "penalties__r1": 2.0, "gradient_accumulation": 2},
}


def train(training, compute):
    """Train some steps on the rows of this rank."""
    state = new_state(training, compute)
    spread_over_ranks(state, training, compute.ranks)
    step, parts = Step(state, training, compute), training.gradient_accumulation
    values = []
    for batch in batches(STEPS):
        images, classes = to_model_range(batch.images), classes_of(batch, training)
        rows = None if classes is None else compute.ranks.rows_of(classes, parts)
        values.append(step(compute.ranks.rows_of(images, parts), rows))
    return state, torch.stack(values)


def train_as_rank(number, count, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=count)
    compute = Compute(torch.device("cpu"), "float32", Ranks(number, count))
    for name, changes in OPTIONS.items():
        state, values = train(tiny_training(**changes), compute)
        torch.save({**weights_of(state), "values": values}, f"{folder}/{name}-{number}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(train_as_rank, (2, str(folder)), nprocs=2)
    return folder


@pytest.mark.parametrize("name", OPTIONS)
def test_two_ranks_train_the_same_weights_as_one_process(results, name):
    state, values = train(tiny_training(**OPTIONS[name]), CPU)
    alone = {**weights_of(state), "values": values}
    first, second = (torch.load(results / f"{name}-{number}.pt", weights_only=True) for number in (0, 1))
    assert list(first) == list(alone)
    assert all(torch.equal(first[key], second[key]) for key in first)
    # Only the order of summation differs.
    for key, expected in alone.items():
        assert torch.allclose(first[key].float(), expected.float(), rtol=1e-3, atol=1e-4), key
