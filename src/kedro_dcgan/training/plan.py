"""The resolved training plan, known before training starts: networks, device, length and fingerprint.

Equal fingerprints mean the same trajectory of weights, up to rounding. Length, checkpoints, device and threads
are not part of the fingerprint.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch

from kedro_dcgan.config import MOST_CLASSES, TrainingParameters, flatten
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.errors import ParameterError
from kedro_dcgan.limits import usable_cores
from kedro_dcgan.model.networks import DiscriminatorConfig, GeneratorConfig
from kedro_dcgan.model.recipes import build_discriminator, build_generator, network_configs
from kedro_dcgan.training.devices import Compute, choose_compute

# Raise this by 1 whenever the code changes the weights of a training, or which generator it keeps: a training cannot
# resume under another version. `tests/training/test_trajectory.py` fails when the weights change.
TRAJECTORY_VERSION = 1

# These do not change the weights at a given number of images, except by rounding (order of sums).
_NO_EFFECT = {
    "budget", "budget_keeps", "epochs", "kimg", "minutes", "patience", "images_per_checkpoint", "checkpoints_kept",
    "resume", "device", "threads", "compile",
}  # fmt: skip
# Only the fingerprints of conditional trainings have these, so that others of earlier versions stay valid.
_OF_CLASSES = ("class_sampling", "wrong_class_weight")


@dataclass(frozen=True)
class Plan:
    """A training as configured. The precision of `compute` is preliminary if a benchmark will choose it."""

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    compute: Compute
    total_batches: int
    total_images: int
    fingerprint: Mapping[str, Any]

    @property
    def training_id(self) -> str:
        """The SHA-256 of the fingerprint, shortened."""
        return _digest(dict(self.fingerprint))


def plan_training(images: PreparedImages, training: TrainingParameters) -> Plan:
    """Resolve the parameters for these images.

    Raises:
        ParameterError, DataError: if they do not fit this machine, or there are fewer images than in a batch.
    """
    size = training.batch_size
    images.require("train", size, f"one batch of `training.batch_size` {size}", "Lower it, or add images.")
    shares = class_shares(images, training)
    generator, discriminator = network_configs(images.image_size, images.channels, training, shares)
    require_networks(generator, discriminator, training)
    compute = compute_of(training)
    batches = training.total_batches(images.count("train"))
    excluded = {*_NO_EFFECT, "conditional", *_OF_CLASSES, *(["devices"] if training.sync_batch_norm else [])}
    fingerprint = {
        **{f"training.{key}": value for key, value in flatten(training).items() if key not in excluded},
        "images": images.digest,
        "generator": _digest(_described(generator)),
        "discriminator": _digest(_described(discriminator)),
        "trajectory_version": TRAJECTORY_VERSION,
        "torch": torch.__version__,
    }
    if shares and images.classes:
        fingerprint |= {f"training.{key}": getattr(training, key) for key in _OF_CLASSES}
        fingerprint["labels"] = images.classes.digest()
    # JSON turns tuples into lists: equal fingerprints must also be equal after they were stored.
    return Plan(generator, discriminator, compute, batches, batches * size, json.loads(json.dumps(fingerprint)))


def discriminator_beside(generator: GeneratorConfig, fingerprint: Mapping[str, Any]) -> DiscriminatorConfig | None:
    """Return the config of the discriminator of a fingerprint; None if its training is of another generator network.

    The fingerprint has only the hashes of both configs, which check the parameters that are read from it.
    """
    values: dict[str, Any] = {
        field.name: fingerprint[key]
        for field in fields(DiscriminatorConfig)
        if (key := f"training.discriminator.{field.name}") in fingerprint
    }
    images = generator.architecture, generator.image_size, generator.channels
    config = DiscriminatorConfig(*images, **values, classes=len(generator.classes)) if "width" in values else None
    is_same = config is not None and fingerprint.get("discriminator") == _digest(_described(config))
    return config if is_same and fingerprint.get("generator") == _digest(_described(generator)) else None


def require_networks(
    generator: GeneratorConfig, discriminator: DiscriminatorConfig, training: TrainingParameters
) -> None:
    """Raise ParameterError for an unsupported image size, or if D has batch norm and a gradient penalty."""
    with torch.device("meta"):
        build_generator(generator)
        has_batch_norm = build_discriminator(discriminator).has_batch_norm
    penalties, is_wgan = training.penalties, training.loss == "wgan_gp"
    if has_batch_norm and (penalties.has_r1 or is_wgan):
        penalty = "loss` wgan_gp" if is_wgan else f"penalties.r1` {penalties.r1}"
        other = "loss=non_saturating" if is_wgan else "penalties.r1=0"
        raise ParameterError(
            "`training.discriminator.batch_norm` must be false with a gradient penalty (got true, with "
            f"`training.{penalty}). Pass --params training.discriminator.batch_norm=false, or training.{other}."
        )


def compute_of(training: TrainingParameters) -> Compute:
    """Return the device and precision of each rank; raise ParameterError if this machine cannot run all ranks."""
    compute, cores = choose_compute(training.device, training.precision), usable_cores()
    # Each thread of all ranks needs a core, and each rank a device. `external` ranks may be on other machines.
    devices = training.devices if isinstance(training.devices, int) else 1
    if isinstance(training.threads, int) and training.threads * devices > cores:
        raise ParameterError(
            f"`training.threads` times `training.devices` must be at most {cores}, the usable cores (got "
            f"{training.threads} x {devices}). Use auto."
        )
    kind = compute.device.type
    present = {"cuda": torch.cuda.device_count(), "cpu": cores}.get(kind, 1)
    if devices > present:
        what = "usable cores" if kind == "cpu" else f"{kind.upper()} devices of this machine"
        raise ParameterError(f"`training.devices` must be at most {present}, the {what} (got {devices}). Lower it.")
    require_shares(training, devices)
    return compute


def require_shares(training: TrainingParameters, ranks: int) -> None:
    """Raise ParameterError unless each rank gets micro-batches of equal size, of at least two images."""
    parts = ranks * training.gradient_accumulation
    share, rest = divmod(training.batch_size, parts)
    if rest or share < 2:
        raise ParameterError(
            f"`training.batch_size` must give each of {ranks} devices x `training.gradient_accumulation` "
            f"{training.gradient_accumulation} = {parts} micro-batches the same number of images, at least 2 (got "
            f"{training.batch_size}). Pass --params training.batch_size={parts * max(2, share)}."
        )


def differences(stored: Mapping[str, Any], planned: Mapping[str, Any]) -> list[str]:
    """Return the differences between two fingerprints, as `key was old, is new`."""
    changes = []
    for key in {**stored, **planned}:
        values = stored.get(key), planned.get(key)
        if values[0] != values[1]:
            before, now = (value if isinstance(value, str) else json.dumps(value) for value in values)
            changes.append(f"{key} was {before}, is {now}")
    return changes


def class_shares(images: PreparedImages, training: TrainingParameters) -> dict[str, float]:
    """Return the share of each class in the training images, by name; nothing unless the training is conditional.

    Raises:
        ParameterError: if these images have no classes to train on.
    """
    if training.conditional is not True:
        return {}
    fault, remedy, classes, counts = "", "Add some", images.classes, np.array(images.class_counts())
    if not classes:
        fault = "not every image has a label, or an earlier version prepared them"
        remedy = "Put each class into its own folder or set ingestion.labels, run kedro run --pipelines=preprocessing"
    elif len(classes.names) < 2:
        fault, remedy = f"all have the label {classes.names[0]}", "Add images of other classes"
    elif len(classes.names) > MOST_CLASSES:
        fault, remedy = f"{len(classes.names):,} classes; at most {MOST_CLASSES:,} are possible", "Merge classes"
    elif not counts.all():
        name, others = classes.names[int(counts.argmin())], int((counts == 0).sum()) - 1
        fault = f"the train split has no image of class {name}{f' and {others:,} others' if others else ''}"
    if fault or not classes:
        raise ParameterError(
            f"`training.conditional` must be false for these images ({fault}). {remedy}, or pass --params "
            "training.conditional=false."
        )
    return dict(zip(classes.names, (counts / counts.sum()).tolist(), strict=True))


def _described(config: GeneratorConfig | DiscriminatorConfig) -> dict[str, Any]:
    """Return a config as a dictionary; without classes, that of earlier versions."""
    return {name: value for name, value in asdict(config).items() if value or not name.startswith("class")}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
