"""Tiny sweeps for tests."""

from pathlib import Path

import numpy as np
import yaml
from recipes import tiny_training

from kedro_dcgan.config import SweepParameters
from kedro_dcgan.data.shards import PreparedImages, StoredShard

BASE = Path(__file__).parents[2] / "conf/base/parameters_sweep.yml"
SPACE = {"generator": {"learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}}, "loss": ["non_saturating", "hinge"]}


def sweep_parameters(**changes):
    """Return the parameters of conf/base with changes."""
    return SweepParameters.model_validate({**yaml.safe_load(BASE.read_text())["sweep"], **changes})


def tiny_sweep(**changes):
    """Return the parameters of a sweep whose trials see 96 images."""
    return sweep_parameters(
        **{"space": SPACE, "kimg": 0.096, "trials": 4, "validations": 3, "pruner": "none", **changes}
    )


def training(**changes):
    return tiny_training(**{"generator__learning_rate": 2e-3, "validation_samples": 8, **changes})


def pictures(count=80):
    """Return noise in memory: 64 images for training, 16 for validation."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 1, 16, 16), dtype=np.uint8)
    rows = {"train": np.arange(64), "validation": np.arange(64, count)}
    return PreparedImages(16, 1, "noise", [StoredShard("0", "", pixels)], rows)
