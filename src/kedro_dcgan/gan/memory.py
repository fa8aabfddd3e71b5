"""Whether the networks fit into memory: told before the work starts where possible, and in one line where not."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.errors import ParameterError, TrainingError
from kedro_dcgan.limits import available_memory
from kedro_dcgan.model.describe import describe
from kedro_dcgan.model.specs import DiscriminatorSpec, GeneratorSpec


def require_memory(
    generator: GeneratorSpec, discriminator: DiscriminatorSpec, batch_size: int, device: torch.device
) -> None:
    """Refuse networks whose training needs more memory than the device has free.

    What is counted is the least that they need (see `NetworkDescription.training_bytes`) and, in the memory that
    holds it too, the copy that a checkpoint is written from.

    Raises:
        ParameterError: with what they need, what is free, and what would need less.
    """
    needs = {spec: describe(spec, batch_size).training_bytes for spec in (generator, discriminator)}
    copied = checkpoint_bytes(generator, discriminator) if device.type == "cpu" else 0
    total, free = training_bytes(generator, discriminator, batch_size, device), free_bytes(device)
    if total > free:
        network = "generator" if needs[generator] > needs[discriminator] else "discriminator"
        raise ParameterError(
            f"`training.architecture` must fit into the memory of {device.type}: training needs at least "
            f"{total / 1e9:.1f} GB, {needs[discriminator] / 1e9:.1f} of it for the discriminator"
            f"{f' and {copied / 1e9:.1f} to copy a checkpoint from' if copied else ''} (got {free / 1e9:.1f} GB free). "
            f"Lower `training.batch_size` or `training.{network}.width`{_LIGHT if network == 'discriminator' else ''}."
        )


def training_bytes(
    generator: GeneratorSpec, discriminator: DiscriminatorSpec, batch_size: int, device: torch.device
) -> int:
    """Return the least that a training needs of a device's memory, as `require_memory` counts it."""
    needs = (describe(spec, batch_size).training_bytes for spec in (generator, discriminator))
    return sum(needs) + (checkpoint_bytes(generator, discriminator) if device.type == "cpu" else 0)


# The dense layer of simpsons200 is the one case that common machines cannot hold.
_LIGHT = ", or choose a lighter architecture, as simpsons200_light is to simpsons200"


def checkpoint_bytes(generator: GeneratorSpec, discriminator: DiscriminatorSpec) -> int:
    """Return about how large a checkpoint is: weights and Adam's moments, and G's average and best, in float32."""
    of_generator, of_discriminator = (describe(spec).parameters for spec in (generator, discriminator))
    return 4 * (3 * (of_generator + of_discriminator) + 2 * of_generator)


def free_bytes(device: torch.device) -> int:
    """Return how many bytes may be allocated on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()


# What the several allocators say. (Those of CUDA have an error of their own, but its libraries have not.)
_SAID = ("allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


def is_lack_of_memory(error: Exception) -> bool:
    """Tell whether an allocator has failed."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in _SAID)


@contextmanager
def name_lack_of_memory(device: torch.device, training: TrainingParameters) -> Iterator[None]:
    """Turn the several errors of a full memory into one line.

    Raises:
        TrainingError: with what would need less. Nothing is changed silently: another batch is another training.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        size, parts = training.batch_size, training.gradient_accumulation
        more = next((n for n in range(parts + 1, size // 2 + 1) if size % n == 0), None)
        remedy = f"training.gradient_accumulation={more}" if more else f"training.batch_size={max(2, size // 2)}"
        raise TrainingError(
            f"training must fit into the memory of {device.type} (it ran out of it, with `training.batch_size` {size} "
            f"in {parts} part{'s' if parts > 1 else ''}). Pass --params {remedy}, and training.resume=force to go on "
            "from what was saved before, which is as it was."
        ) from error
