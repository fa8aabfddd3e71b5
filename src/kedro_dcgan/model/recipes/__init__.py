"""Networks by the name of their architecture: the standard DCGAN and those of the recipes.

To add one: a module here with its two classes, a line in `ARCHITECTURES`, and its name in `config/training.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from kedro_dcgan.config import ArchitectureName, TrainingParameters
from kedro_dcgan.model.networks import (
    DcganDiscriminator,
    DcganGenerator,
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
)
from kedro_dcgan.model.recipes.digits28 import Digits28Discriminator, Digits28Generator
from kedro_dcgan.model.recipes.notebook28 import Notebook28Discriminator, Notebook28Generator
from kedro_dcgan.model.recipes.simpsons200 import (
    Simpsons200Discriminator,
    Simpsons200Generator,
    Simpsons200LightDiscriminator,
)


class Architecture(NamedTuple):
    """The classes of both networks."""

    generator: type[Generator]
    discriminator: type[Discriminator]


ARCHITECTURES: dict[ArchitectureName, Architecture] = {
    "dcgan": Architecture(DcganGenerator, DcganDiscriminator),
    "digits28": Architecture(Digits28Generator, Digits28Discriminator),
    "notebook28": Architecture(Notebook28Generator, Notebook28Discriminator),
    "simpsons200": Architecture(Simpsons200Generator, Simpsons200Discriminator),
    "simpsons200_light": Architecture(Simpsons200Generator, Simpsons200LightDiscriminator),
}


def network_configs(
    image_size: int, channels: int, training: TrainingParameters
) -> tuple[GeneratorConfig, DiscriminatorConfig]:
    """Return the configs of the two networks that the parameters ask for, for images of this shape."""
    name, options = training.architecture, training.discriminator
    generator = GeneratorConfig(
        name, image_size, channels, training.latent_dim, training.generator.width, training.latents
    )
    discriminator = DiscriminatorConfig(
        name, image_size, channels, options.width, options.batch_norm, options.spectral_norm, options.dropout
    )
    return generator, discriminator


def build_generator(config: GeneratorConfig) -> Generator:
    """Build a generator, whose weights are still to be drawn (`initialise`) or loaded.

    Raises:
        ParameterError: if the architecture does not support this image size.
    """
    with _torch_random_state_kept():
        return ARCHITECTURES[config.architecture].generator(config)


def build_discriminator(config: DiscriminatorConfig) -> Discriminator:
    """Build a discriminator, whose weights are still to be drawn (`initialise`) or loaded.

    Raises:
        ParameterError: if the architecture does not support this image size.
    """
    with _torch_random_state_kept():
        return ARCHITECTURES[config.architecture].discriminator(config)


@contextmanager
def _torch_random_state_kept() -> Iterator[None]:
    # Layers draw their first weights, and spectral norm its vectors, from torch's global generator.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield
