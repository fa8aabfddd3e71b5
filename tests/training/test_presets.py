"""Every preset trains its networks with its options on noise, and has the values of its source."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from engine import CPU
from kedro.config import OmegaConfigLoader

from kedro_dcgan.config import read_parameters
from kedro_dcgan.data.shards import PreparedImages, StoredShard
from kedro_dcgan.settings import CONFIG_LOADER_ARGS
from kedro_dcgan.sweeps.space import require_searchable
from kedro_dcgan.training.data import Batch
from kedro_dcgan.training.loop import Training, TrainingCallbacks
from kedro_dcgan.training.plan import plan_training
from kedro_dcgan.training.state import create_state

CONF = Path(__file__).parents[2] / "conf"
PRESETS = ("base", "paper", "images64", "faces64", "digits28", "notebook28", "simpsons200", "experiment64")
# At its own size, simpsons200 has a dense layer of 655 million weights.
SIZES = {"simpsons200": 40}


def parameters_of(preset):
    loader = OmegaConfigLoader(str(CONF), env=preset, **CONFIG_LOADER_ARGS)
    return read_parameters(loader["parameters"], {})


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_trains(preset):
    parameters = parameters_of(preset)
    batch = {"batch_size": 4, "kimg": 0.012, "images_per_tick": 8, "device": "cpu", "precision": "float32"}
    training = parameters.training.model_copy(update=batch)
    size = SIZES.get(preset, parameters.preprocessing.image_size)
    shape = (16, parameters.preprocessing.channels, size, size)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    images = PreparedImages(size, shape[1], "noise", [StoredShard("0", "", pixels)], {"train": np.arange(16)})
    plan = plan_training(images, training)
    state = create_state(plan.generator, plan.discriminator, training, plan.compute)
    batches = [Batch(torch.from_numpy(pixels[4 * n : 4 * n + 4]), None) for n in range(3)]
    ticks = list(Training(state, training, CPU, TrainingCallbacks(torch.from_numpy(pixels))).ticks(batches, 12))
    assert [tick.images_seen for tick in ticks] == [0, 8, 12]
    assert ticks[-1].samples.shape == (training.grid_images, *shape[1:])
    assert not torch.equal(ticks[0].samples, ticks[-1].samples)
    assert all(np.isfinite(tick.record.generator_loss) for tick in ticks[1:])


ADAM = {
    "generator.learning_rate": 2e-4,
    "generator.betas": (0.5, 0.999),
    "discriminator.learning_rate": 2e-4,
    "discriminator.betas": (0.5, 0.999),
}
RECIPES = {
    "paper": {**ADAM, "batch_size": 128, "discriminator.batch_norm": True},
    "faces64": {**ADAM, "batch_size": 128, "epochs": 30, "discriminator.batch_norm": True},
    "digits28": {
        **{key: 1e-4 if key.endswith("rate") else (0.9, 0.999) for key in ADAM},
        "batch_size": 256,
        "epochs": 50,
        "grid_images": 16,
    },
    "notebook28": {**ADAM, "batch_size": 128, "latents": "uniform", "discriminator.batch_norm": True},
    "simpsons200": {**ADAM, "batch_size": 128, "epochs": 300, "real_label": 0.9, "discriminator.update": "separately"},
    "experiment64": {
        **ADAM,
        "discriminator.batch_norm": True,
        "discriminator.dropout": 0.3,
        "latents": "normal",
        "latent_dim": 100,
    },
}


@pytest.mark.parametrize("preset", RECIPES)
def test_preset_has_the_values_of_its_source(preset):
    training = parameters_of(preset).training
    for key, expected in RECIPES[preset].items():
        group, _, leaf = key.rpartition(".")
        assert getattr(getattr(training, group) if group else training, leaf) == expected, key
    # No source uses a gradient penalty or an EMA.
    assert training.penalties.r1 == 0
    assert training.ema.half_life is None


@pytest.mark.parametrize("preset", ["base", "images64"])
def test_a_sweep_may_start_from_our_recipes(preset):
    parameters = parameters_of(preset)
    require_searchable(parameters.sweep.space, parameters.training)
    assert parameters.sweep.space


@pytest.mark.parametrize("preset", PRESETS[1:])
def test_preset_contains_only_differences_from_base(preset):
    base = OmegaConfigLoader(str(CONF), env="base", base_env="base")["parameters"]
    for file in (CONF / preset).glob("*.yml"):
        assert not list(repeated(yaml.safe_load(file.read_text()), base))


def repeated(own, base):
    for key, value in own.items():
        if isinstance(value, dict):
            yield from repeated(value, base[key])
        # A preset with its own source has a licence of its own, whatever that of base.
        elif value == base[key] and key not in ("licence", "source_url"):
            yield key
