"""Training parameters for tests: those of conf/base, with the changes of a test."""

from pathlib import Path

import yaml

from kedro_dcgan.config import TrainingParameters

BASE = Path(__file__).parents[1] / "conf/base/parameters_training.yml"

# Networks of a few hundred weights, trained by the paper's recipe, with a tick every second batch of 8.
TINY = {
    "batch_size": 8,
    "latent_dim": 6,
    "generator.width": 4,
    "generator.learning_rate": 2e-3,
    "discriminator.width": 4,
    "discriminator.learning_rate": 2e-3,
    "discriminator.initialisation": "normal",
    "discriminator.batch_norm": True,
    "penalties.r1": 0,
    "augmentation.differentiable": [],
    "ema.half_life": None,
    "images_per_tick": 16,
    "images_per_validation": None,
    "images_per_checkpoint": 32,
    "grid_images": 4,
    "device": "cpu",
    "precision": "float32",
}


def training_parameters(**changes):
    """Return the parameters of conf/base with changes; `__` in a name stands for a dot."""
    return changed(yaml.safe_load(BASE.read_text())["training"], changes)


def tiny_training(**changes):
    """Return the parameters of a tiny training with changes; `__` in a name stands for a dot."""
    values = yaml.safe_load(BASE.read_text())["training"]
    return changed(values, {**TINY, **{key.replace("__", "."): value for key, value in changes.items()}})


def changed(values, changes):
    for key, value in changes.items():
        *groups, leaf = key.replace("__", ".").split(".")
        place = values
        for group in groups:
            place = place[group]
        assert leaf in place, key
        place[leaf] = value
    return TrainingParameters.model_validate(values)
