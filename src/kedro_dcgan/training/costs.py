"""The memory and the FLOPs that a training needs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.errors import ParameterError, TrainingError
from kedro_dcgan.limits import available_memory
from kedro_dcgan.model.describe import describe
from kedro_dcgan.model.networks import DiscriminatorConfig, GeneratorConfig

# Parts of the messages of allocators. CUDA libraries raise plain RuntimeErrors.
_MESSAGES = ("allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


def require_memory(
    generator: GeneratorConfig,
    discriminator: DiscriminatorConfig,
    batch_size: int,
    device: torch.device,
    precision: str = "auto",
) -> None:
    """Raise ParameterError if training needs more memory (`training_bytes`) than the device has free."""
    total, free = training_bytes(generator, discriminator, batch_size, device, precision), free_bytes(device)
    if total > free:
        of_generator, of_discriminator = (
            describe(config, batch_size).training_bytes for config in (generator, discriminator)
        )
        remedy = "generator.width`"
        if of_discriminator >= of_generator:
            # On common machines, only simpsons200 does not fit, because of its dense layer.
            remedy = "discriminator.width`, or choose a lighter architecture (simpsons200_light for simpsons200)"
        raise ParameterError(
            f"`training.architecture` must fit into the memory of {device.type}: training needs at least "
            f"{total / 1e9:.1f} GB, {of_discriminator / 1e9:.1f} of it for the discriminator (got {free / 1e9:.1f} GB "
            f"free). Lower `training.batch_size` or `training.{remedy}."
        )


def training_bytes(
    generator: GeneratorConfig,
    discriminator: DiscriminatorConfig,
    batch_size: int,
    device: torch.device,
    precision: str = "auto",
) -> int:
    """Return a lower bound of the memory that a training needs in a precision; `auto` may choose bfloat16.

    On a CPU, a checkpoint copies weights and Adam's moments after the activations are freed: the larger one counts.
    """
    both = [describe(config, batch_size) for config in (generator, discriminator)]
    in_float32 = sum(one.activation_bytes for one in both)
    activations = in_float32 if precision == "float32" else in_float32 // 2
    copied = 4 * 3 * sum(one.parameters for one in both) if device.type == "cpu" else 0
    return sum(one.training_bytes for one in both) - in_float32 + max(activations, copied)


def checkpoint_bytes(generator: GeneratorConfig, discriminator: DiscriminatorConfig) -> int:
    """Return the approximate size of a checkpoint: weights, Adam's moments, G's EMA and best weights, in float32."""
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
    """Turn out-of-memory errors into a TrainingError; never split the batch silently, which changes training."""
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
    A penalty on D's gradients costs about six forward passes: the forward pass, its gradient, and the gradients of both
    with respect to weights and inputs.
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
    penalised = (1 / penalties.r1_every if penalties.has_r1 else 0) + (1 if training.loss == "wgan_gp" else 0)
    return of_discriminator + penalised * 6 * d + of_generator / training.discriminator.steps
