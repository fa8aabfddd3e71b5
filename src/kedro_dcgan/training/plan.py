"""The resolved training plan, known before training starts: networks, device, length, and fingerprint.

Equal fingerprints mean the same trajectory of weights, up to the order of sums. Length, checkpoints, device and threads
are not part of the fingerprint.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from kedro_dcgan.config import TrainingParameters, flatten
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.errors import ParameterError
from kedro_dcgan.limits import usable_cores
from kedro_dcgan.model.networks import DiscriminatorConfig, GeneratorConfig
from kedro_dcgan.model.recipes import build_discriminator, build_generator, network_configs
from kedro_dcgan.training.devices import Compute, choose_compute

# Raise this by 1 whenever the code changes the weights of a training, or which generator it keeps: a training cannot
# resume under another version. `tests/training/test_trajectory.py` fails when the weights change.
TRAJECTORY_VERSION = 1

# These do not change the weights at a given number of images, or not more than the order of sums does.
_OUTSIDE = {"epochs", "kimg", "images_per_checkpoint", "checkpoints_kept", "resume", "device", "threads", "compile"}


@dataclass(frozen=True)
class Plan:
    """A training as configured. If precisions will be timed, that of `compute` is preliminary."""

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
        ParameterError: if networks or hardware cannot be as configured.
        DataError: if the train split holds fewer images than a batch.
    """
    size = training.batch_size
    images.require("train", size, f"one batch of `training.batch_size` {size}", "Lower it, or add images.")
    generator, discriminator = network_configs(images.image_size, images.channels, training)
    require_networks(generator, discriminator, training)
    compute = compute_of(training)
    batches = training.total_batches(images.count("train"))
    outside = _OUTSIDE | {"devices"} if training.sync_batch_norm else _OUTSIDE
    fingerprint = {
        **{f"training.{key}": value for key, value in flatten(training).items() if key not in outside},
        "images": images.digest,
        "generator": _digest(asdict(generator)),
        "discriminator": _digest(asdict(discriminator)),
        "trajectory_version": TRAJECTORY_VERSION,
        "torch": torch.__version__,
    }
    # JSON turns tuples into lists: equal fingerprints must also be equal after they were stored.
    plain = json.loads(json.dumps(fingerprint))
    return Plan(generator, discriminator, compute, batches, batches * size, plain)


def require_networks(
    generator: GeneratorConfig, discriminator: DiscriminatorConfig, training: TrainingParameters
) -> None:
    """Raise ParameterError if a network does not exist for this image size, or if D has batch norm and a penalty."""
    with torch.device("meta"):
        build_generator(generator)
        has_batch_norm = build_discriminator(discriminator).has_batch_norm
    if has_batch_norm and (training.penalties.r1 > 0 or training.loss == "wgan_gp"):
        which, other = f"penalties.r1` {training.penalties.r1:g}", "penalties.r1=0"
        if training.loss == "wgan_gp":
            which, other = "loss` wgan_gp", "loss=non_saturating"
        raise ParameterError(
            "`training.discriminator.batch_norm` must be false where the gradients are penalised (got true, with "
            f"`training.{which}). Pass --params training.discriminator.batch_norm=false, or training.{other}."
        )


def compute_of(training: TrainingParameters) -> Compute:
    """Return the device and precision of each rank; raise ParameterError if this machine cannot run them."""
    compute = choose_compute(training.device, training.precision)
    require_hardware(training, compute.device, usable_cores())
    if isinstance(training.devices, int):
        require_shares(training, training.devices)
    return compute


def require_hardware(training: TrainingParameters, device: torch.device, cores: int) -> None:
    """Raise ParameterError unless each thread of all ranks has a core, and each rank a device (on a CPU, a core)."""
    # The user starts `external` ranks, also on other machines.
    devices = training.devices if isinstance(training.devices, int) else 1
    if isinstance(training.threads, int) and training.threads * devices > cores:
        raise ParameterError(
            f"`training.threads` times `training.devices` must be at most {cores}, the usable cores (got "
            f"{training.threads} x {devices}). Use auto."
        )
    present = {"cuda": torch.cuda.device_count(), "cpu": cores}.get(device.type, 1)
    if devices > present:
        what = "usable cores" if device.type == "cpu" else f"{device.type.upper()} devices of this machine"
        raise ParameterError(f"`training.devices` must be at most {present}, the {what} (got {devices}). Lower it.")


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


def differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Return the differences of two fingerprints, as `key was old, is new`."""

    def plain(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    changed = (key for key in {**stored, **asked} if stored.get(key) != asked.get(key))
    return [f"{key} was {plain(stored.get(key))}, is {plain(asked.get(key))}" for key in changed]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
