"""Whether the networks fit into memory, told before the work starts instead of by a killed process."""

import psutil
import torch

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.gan.describe import describe
from kedro_dcgan.gan.specs import DiscriminatorSpec, GeneratorSpec


def require_memory(
    generator: GeneratorSpec, discriminator: DiscriminatorSpec, batch_size: int, device: torch.device
) -> None:
    """Refuse networks whose training needs more memory than the device has free.

    What is counted (see `NetworkDescription.training_bytes`) is the least that they need.

    Raises:
        ParameterError: with what they need, what is free, and what would need less.
    """
    needs = {spec: describe(spec, batch_size).training_bytes for spec in (generator, discriminator)}
    total, free = sum(needs.values()), free_bytes(device)
    if total > free:
        network = "generator" if needs[generator] > needs[discriminator] else "discriminator"
        raise ParameterError(
            f"`training.architecture` must fit into the memory of {device.type}: training needs at least "
            f"{total / 1e9:.1f} GB, {needs[discriminator] / 1e9:.1f} of it for the discriminator (got "
            f"{free / 1e9:.1f} GB free). Lower `training.batch_size` or `training.{network}.width`"
            f"{_LIGHT if network == 'discriminator' else ''}."
        )


# The dense layer of simpsons200 is the one case that common machines cannot hold.
_LIGHT = ", or choose a lighter architecture, as simpsons200_light is to simpsons200"


def free_bytes(device: torch.device) -> int:
    """Return how many bytes may be allocated on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
