"""The trainings and images of the doctor: the same on every machine, whatever `conf/` says.

`STANDARD` is the DCGAN of pytorch/examples, the preset `faces64`: 64x64 RGB, width 64, batches of 128, batch norm.
`TINY` has networks of a few thousand weights, for checks that take many steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shard_files import INDEX, ShardsIndex, read_prepared_images, write_prepared_images
from kedro_dcgan.data.shards import Classes, PreparedImages, ShardEntry, StoredShard
from kedro_dcgan.data.transforms import Crop, Preparation
from kedro_dcgan.model.networks import DiscriminatorConfig, GeneratorConfig
from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.storage import sha256_of
from kedro_dcgan.stored_files import write_json
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.fast.execution import Calibration, set_up
from kedro_dcgan.training.plan import Plan
from kedro_dcgan.training.state import TrainingState, create_state

_NETWORK = {"width": 64, "learning_rate": 2e-4, "betas": (0.5, 0.999)}
STANDARD = TrainingParameters.model_validate(
    {
        **{"budget": None, "budget_keeps": (), "epochs": 30, "kimg": None, "minutes": None},
        **{"batch_size": 128, "gradient_accumulation": 1, "architecture": "dcgan", "latent_dim": 100},
        **{"latents": "normal", "conditional": False, "class_sampling": "as_in_data", "wrong_class_weight": 0.2},
        **{"loss": "non_saturating", "real_label": 1.0, "generator": _NETWORK},
        "discriminator": {
            **_NETWORK,
            **{"initialisation": "normal", "batch_norm": True, "spectral_norm": False, "dropout": None},
            **{"update": "together", "steps": 1},
        },
        "penalties": {"r1": 0, "r1_every": 8, "gradient": 10},
        "augmentation": {"flip": False, "differentiable": ()},
        "ema": {"half_life": None, "recalibration": 512},
        **{"images_per_tick": 10_000, "images_per_validation": 50_000, "validation_samples": 500, "patience": None},
        **{"images_per_checkpoint": 50_000, "checkpoints_kept": 2, "resume": "auto", "grid_images": 64, "seed": 0},
        **{"device": "auto", "devices": 1, "sync_batch_norm": True, "precision": "auto", "threads": "auto"},
        **{"compile": "auto", "deterministic": False},
    }
)
TINY = STANDARD.with_values(
    {
        **{"batch_size": 8, "latent_dim": 8, "generator.width": 8, "discriminator.width": 8, "grid_images": 4},
        **{"images_per_tick": 10**6, "images_per_validation": None, "images_per_checkpoint": 10**6},
        **{"precision": "float32", "threads": 1, "compile": False},
    }
)
# To time: as long as the choices are made for, and with more batches than any machine trains on in that time.
TIMED, MANY_BATCHES = STANDARD.with_values({"minutes": 10}), 10**7
# Without batch norm, with a strong R1 penalty in every second step.
R1 = {
    "discriminator.batch_norm": False,
    "discriminator.initialisation": "he",
    "penalties.r1": 2.0,
    "penalties.r1_every": 2,
}
CLASS_SHARES = MappingProxyType({"cat": 0.4, "dog": 0.4, "owl": 0.2})


@dataclass(frozen=True)
class Subject:
    """What the doctor examines: a device, and the precisions that it has hardware for."""

    device: torch.device
    precisions: tuple[str, ...]

    def compute(self, precision: str = "float32") -> Compute:
        """Return the device in a precision."""
        return Compute(self.device, precision)


def new_state(
    training: TrainingParameters, compute: Compute, size: int = 64, calibration: Calibration | None = None
) -> TrainingState:
    """Build the networks of a training on RGB images; on grey ones for the architectures of digits."""
    state = create_state(*networks_of(training, size), training, compute)
    if calibration is not None:
        set_up(state, calibration)
    return state


def networks_of(training: TrainingParameters, size: int = 64) -> tuple[GeneratorConfig, DiscriminatorConfig]:
    """Return the configs of both networks of a training."""
    shares: Mapping[str, float] = CLASS_SHARES if training.conditional is True else {}
    return network_configs(size, channels_of(training), training, shares)


def channels_of(training: TrainingParameters) -> int:
    """Return 1 for the architectures of digits, else 3."""
    return 1 if training.architecture in ("digits28", "notebook28") else 3


def plan_of(training: TrainingParameters, compute: Compute, batches: int, size: int = 64) -> Plan:
    """Return a plan for a number of batches."""
    return Plan(*networks_of(training, size), compute, batches, batches * training.batch_size, {})


def noise(count: int, size: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Return uint8 images `(count, channels, size, size)` of noise."""
    return np.random.default_rng(seed).integers(0, 256, (count, channels, size, size), dtype=np.uint8)


def noise_dataset(count: int, size: int = 32) -> PreparedImages:
    """Return a train split of noise, with the classes of `CLASS_SHARES` in turn.

    The images differ in brightness, so that a training on the wrong ones ends with clearly different weights.
    """
    rows = {"train": np.arange(count)}
    brightness = np.linspace(0, 191, count).astype(np.uint8).reshape(-1, 1, 1, 1)
    shard = StoredShard("0", "", noise(count, size) // 4 + brightness)
    classes = Classes(tuple(CLASS_SHARES), {"train": np.arange(count) % len(CLASS_SHARES)})
    return PreparedImages(size, 3, "noise", [shard], rows, classes=classes)


def store_dataset(images: PreparedImages, folder: Path) -> PreparedImages:
    """Write a dataset as preprocessing does, and read it, so that other processes can."""
    shards, chosen = folder / "shards", folder / "images"
    shards.mkdir()
    np.save(shards / "00000.npy", images.shards[0].images)
    digest, count = sha256_of(shards / "00000.npy"), len(images.shards[0].images)
    # No record is read.
    entry = ShardEntry(file="00000.npy", count=count, sha256=digest, records="00000.parquet", records_sha256="0" * 64)
    preparation = Preparation(images.image_size, images.channels, "bicubic", Crop(), (0, 0, 0), 1, 10**6, 10**6)
    index = ShardsIndex(source="noise", preparation=preparation, inputs_per_shard=count, shards=(entry,))
    write_json(shards / INDEX, index.model_dump())
    stored = StoredShard(entry.file, digest, images.shards[0].images)
    facts = images.image_size, images.channels, images.digest
    write_prepared_images(PreparedImages(*facts, [stored], images.rows, classes=images.classes), chosen)
    return read_prepared_images(chosen, shards)
