"""The resolved training plan, known before training starts: networks, device, length, fingerprint, memory and FLOPs.

Equal fingerprints mean the same trajectory of weights, up to the order of sums. Length, checkpoints, device and threads
are not part of the fingerprint.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from kedro_dcgan.config import TrainingParameters, flatten
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.errors import ParameterError, TrainingError
from kedro_dcgan.limits import available_memory, usable_cores
from kedro_dcgan.model.describe import describe
from kedro_dcgan.model.networks import DiscriminatorConfig, GeneratorConfig
from kedro_dcgan.model.recipes import build_discriminator, build_generator, network_configs
from kedro_dcgan.training.devices import Compute, choose_compute

# Raise this by 1 whenever the code changes the weights of a training, or which generator it keeps: a training cannot
# resume under another version. `tests/training/test_trajectory.py` fails when the weights change.
TRAJECTORY_VERSION = 1

# These do not change the weights at a given number of images, or not more than the order of sums does.
_OUTSIDE = {"epochs", "kimg", "images_per_checkpoint", "checkpoints_kept", "resume", "device", "threads", "compile"}


# Parts of the messages of allocators. CUDA libraries raise plain RuntimeErrors.
_MESSAGES = ("allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


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
        ParameterError, DataError: if they do not fit this machine, or there are fewer images than a batch.
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
    return Plan(generator, discriminator, compute, batches, batches * size, json.loads(json.dumps(fingerprint)))


def require_networks(
    generator: GeneratorConfig, discriminator: DiscriminatorConfig, training: TrainingParameters
) -> None:
    """Raise ParameterError if a network does not exist for this image size, or if D has batch norm and a penalty."""
    with torch.device("meta"):
        build_generator(generator)
        has_batch_norm = build_discriminator(discriminator).has_batch_norm
    r1, is_wgan = training.penalties.r1, training.loss == "wgan_gp"
    if has_batch_norm and (r1 > 0 or is_wgan):
        penalty = "loss` wgan_gp" if is_wgan else f"penalties.r1` {r1:g}"
        other = "loss=non_saturating" if is_wgan else "penalties.r1=0"
        raise ParameterError(
            "`training.discriminator.batch_norm` must be false where the gradients are penalised (got true, with "
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


def differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Return the differences of two fingerprints, as `key was old, is new`."""
    changes = []
    for key in {**stored, **asked}:
        values = stored.get(key), asked.get(key)
        if values[0] != values[1]:
            before, now = (value if isinstance(value, str) else json.dumps(value) for value in values)
            changes.append(f"{key} was {before}, is {now}")
    return changes


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def require_memory(
    generator: GeneratorConfig, discriminator: DiscriminatorConfig, batch_size: int, device: torch.device
) -> None:
    """Raise ParameterError if training needs more memory (`training_bytes`) than the device has free."""
    total, free = training_bytes(generator, discriminator, batch_size, device), free_bytes(device)
    if total > free:
        copied = checkpoint_bytes(generator, discriminator) if device.type == "cpu" else 0
        of_discriminator = describe(discriminator, batch_size).training_bytes
        remedy = "generator.width`"
        if 2 * of_discriminator >= total - copied:
            # The dense layer of simpsons200 is the one network that does not fit on common machines.
            remedy = "discriminator.width`, or choose a lighter architecture, as simpsons200_light is to simpsons200"
        raise ParameterError(
            f"`training.architecture` must fit into the memory of {device.type}: training needs at least "
            f"{total / 1e9:.1f} GB, {of_discriminator / 1e9:.1f} of it for the discriminator"
            f"{f' and {copied / 1e9:.1f} to copy a checkpoint from' if copied else ''} (got {free / 1e9:.1f} GB free). "
            f"Lower `training.batch_size` or `training.{remedy}."
        )


def training_bytes(
    generator: GeneratorConfig, discriminator: DiscriminatorConfig, batch_size: int, device: torch.device
) -> int:
    """Return a lower bound of the memory that a training needs; on a CPU, with the copy that a checkpoint is from."""
    needs = (describe(config, batch_size).training_bytes for config in (generator, discriminator))
    return sum(needs) + (checkpoint_bytes(generator, discriminator) if device.type == "cpu" else 0)


def checkpoint_bytes(generator: GeneratorConfig, discriminator: DiscriminatorConfig) -> int:
    """Return the approximate size of a checkpoint: weights, Adam's moments, G's average and best, in float32."""
    of_generator, of_discriminator = (describe(config).parameters for config in (generator, discriminator))
    return 4 * (3 * (of_generator + of_discriminator) + 2 * of_generator)


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a device."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else available_memory()


def is_lack_of_memory(error: Exception) -> bool:
    """Return whether an allocator failed."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in _MESSAGES)


@contextmanager
def name_lack_of_memory(device: torch.device, training: TrainingParameters) -> Iterator[None]:
    """Turn any out-of-memory error into a TrainingError: to split the batch silently would be another training."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        size, parts = training.batch_size, training.gradient_accumulation
        more = next((n for n in range(parts + 1, size // 2 + 1) if size % n == 0), None)
        remedy = f"training.gradient_accumulation={more}" if more else f"training.batch_size={max(2, size // 2)}"
        raise TrainingError(
            f"training must fit into the memory of {device.type} (out of memory with `training.batch_size` {size} "
            f"in {parts} micro-batch{'es' if parts > 1 else ''}). Pass --params {remedy}, and training.resume=force to "
            "resume from the last checkpoint, which is intact."
        ) from error


def flops_per_image(
    generator: GeneratorConfig, discriminator: DiscriminatorConfig, training: TrainingParameters
) -> float:
    """Return the FLOPs (2 for each multiply-add) of convolutions and dense layers for one real image.

    A backward pass costs two forward passes: gradients of the weights, and of the inputs (but not for the first layer).
    D learns from a real and a fake image. G's update, one in `discriminator.steps`, needs no gradients of D's weights.
    A penalty on D's gradients costs about six forward passes: one, its gradient, and the gradients of both with respect
    to weights and inputs.
    """
    g_layers, d_layers = (
        [layer.flops for layer in describe(config).layers if layer.flops] for config in (generator, discriminator)
    )
    g, d = sum(g_layers), sum(d_layers)
    of_discriminator = g + 2 * (3 * d - d_layers[0])
    # With micro-batches, the fakes are generated again, because their graphs would take too much memory.
    again = g if training.gradient_accumulation > 1 else 0
    of_generator = again + 2 * d + 2 * g - g_layers[0]
    penalties = training.penalties
    penalised = (1 / penalties.r1_every if penalties.r1 else 0) + (1 if training.loss == "wgan_gp" else 0)
    return of_discriminator + penalised * 6 * d + of_generator / training.discriminator.steps
