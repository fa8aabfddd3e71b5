"""The networks of other recipes, and all networks by the name of their architecture.

digits28     TensorFlow's DCGAN tutorial on MNIST: a dense stem, 5x5 kernels, dropout in the discriminator. At 28x28,
             one channel and width 64 it has the tutorial's 2,330,944 and 212,865 parameters.
notebook28   A notebook: 'valid' transposed convolutions 4 -> 11 -> 28, batch norm without gain and shift. Its
             discriminator is unfinished: we use two strided convolutions of 64 and 128 channels, as in digits28.
simpsons200  A Keras recipe for 200x200 faces: a dense stem and, in the discriminator, a dense layer of 8192. At
             200x200, three channels and width 32 it has the source's 8,339,395 and 655,635,009 parameters. In the light
             discriminator, one more convolution takes the place of the dense layer.

To add one: its two classes here, a line in `ARCHITECTURES`, and its name in `config/training.py`.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from kedro_dcgan.config import ArchitectureName, TrainingParameters
from kedro_dcgan.errors import ParameterError
from kedro_dcgan.model.layers import ConvTranspose2d, SameConv2d, SameConvTranspose2d
from kedro_dcgan.model.networks import (
    DcganDiscriminator,
    DcganGenerator,
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    activation,
    normalised,
)

# Keras' defaults.
_NORM: dict[str, Any] = {"eps": 1e-3, "momentum": 0.01}
_SIMPSONS_HIDDEN = 8192


class Digits28Generator(Generator):
    """A dense stem to a quarter of the size, then 5x5 transposed convolutions."""

    def __init__(self, config: GeneratorConfig) -> None:
        start, width = _start_size(config, divisor=4, usual=28), config.width
        units = 4 * width * start * start
        super().__init__(
            config,
            *(nn.Linear(config.input_dim, units, bias=False), nn.BatchNorm1d(units, **_NORM), nn.ReLU(inplace=True)),
            nn.Unflatten(1, (4 * width, start, start)),
            *(SameConvTranspose2d(4 * width, 2 * width, 5, 1, bias=False), nn.BatchNorm2d(2 * width, **_NORM)),
            nn.ReLU(inplace=True),
            *(SameConvTranspose2d(2 * width, width, 5, 2, bias=False), nn.BatchNorm2d(width, **_NORM)),
            nn.ReLU(inplace=True),
            SameConvTranspose2d(width, config.channels, 5, 2, bias=False),
            nn.Tanh(),
        )


class Digits28Discriminator(Discriminator):
    """Two 5x5 convolutions of stride 2 with LeakyReLU(0.3) and dropout, then a dense layer."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        rest, width = _start_size(config, divisor=4, usual=28), config.width
        super().__init__(
            config,
            *_convolutions(config, width, 2 * width, slope=0.3, dropout=0.3),
            nn.Flatten(),
            normalised(nn.Linear(2 * width * rest * rest, config.outputs), config),
        )


class Notebook28Generator(Generator):
    """Transposed convolutions 1 -> 4 -> 11 -> 28, for 28x28 only."""

    def __init__(self, config: GeneratorConfig) -> None:
        _start_size(config, divisor=28, usual=28)
        width = config.width
        super().__init__(
            config,
            nn.Unflatten(1, (config.input_dim, 1, 1)),
            *(ConvTranspose2d(config.input_dim, 2 * width, 4), nn.BatchNorm2d(2 * width, **_NORM, affine=False)),
            nn.ReLU(inplace=True),
            *(ConvTranspose2d(2 * width, width, 5, 2), nn.BatchNorm2d(width, **_NORM, affine=False)),
            nn.ReLU(inplace=True),
            ConvTranspose2d(width, config.channels, 8, 2),
            nn.Tanh(),
        )


class Notebook28Discriminator(Discriminator):
    """Two 5x5 convolutions 28 -> 14 -> 7 and a dense layer, for 28x28 only."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        _start_size(config, divisor=28, usual=28)
        width = config.width
        super().__init__(
            config,
            *_convolutions(config, width),
            normalised(SameConv2d(width, 2 * width, 5, 2), config),
            *([nn.BatchNorm2d(2 * width, **_NORM, affine=False)] if config.batch_norm else []),
            *activation(config),
            nn.Flatten(),
            normalised(nn.Linear(2 * width * 7 * 7, config.outputs), config),
        )


class Simpsons200Generator(Generator):
    """A dense stem to an eighth of the size, then 5x5 transposed convolutions behind LeakyReLU and batch norm."""

    def __init__(self, config: GeneratorConfig) -> None:
        start, width = _start_size(config, divisor=8, usual=200), config.width
        layers: list[nn.Module] = [
            nn.Linear(config.input_dim, 4 * width * start * start),
            nn.Unflatten(1, (4 * width, start, start)),
        ]
        for before, after in pairwise((4 * width, 2 * width, width, config.channels)):
            layers += [nn.LeakyReLU(0.2, inplace=True), nn.BatchNorm2d(before, **_NORM)]
            layers.append(SameConvTranspose2d(before, after, 5, 2))
        super().__init__(config, *layers, nn.Tanh())


class Simpsons200Discriminator(Discriminator):
    """Three 5x5 convolutions of stride 2, a dense layer of 8192, and the logit."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        rest, width = _start_size(config, divisor=8, usual=200), config.width
        super().__init__(
            config,
            *_convolutions(config, width, 2 * width, 4 * width),
            nn.Flatten(),
            normalised(nn.Linear(4 * width * rest * rest, _SIMPSONS_HIDDEN), config),
            *activation(config),
            normalised(nn.Linear(_SIMPSONS_HIDDEN, config.outputs), config),
        )


class Simpsons200LightDiscriminator(Discriminator):
    """Four 5x5 convolutions of stride 2 and the logit."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        width = config.width
        rest = -(-_start_size(config, divisor=8, usual=200) // 2)
        super().__init__(
            config,
            *_convolutions(config, width, 2 * width, 4 * width, 8 * width),
            nn.Flatten(),
            normalised(nn.Linear(8 * width * rest * rest, config.outputs), config),
        )


def _convolutions(
    config: DiscriminatorConfig, *widths: int, slope: float = 0.2, dropout: float = 0.0
) -> Iterator[nn.Module]:
    for before, after in pairwise((config.channels, *widths)):
        yield normalised(SameConv2d(before, after, 5, 2), config)
        yield from activation(config, slope, dropout)


def _start_size(config: GeneratorConfig | DiscriminatorConfig, divisor: int, usual: int) -> int:
    """Return `image_size / divisor`, where a stem starts or ends; if the divisor is `usual`, other sizes are errors."""
    size, is_fixed = config.image_size, divisor == usual
    if size % divisor or (is_fixed and size != usual):
        rule = f"{usual}" if is_fixed else f"a multiple of {divisor}"
        raise ParameterError(
            f"`preprocessing.image_size` must be {rule} for `training.architecture` {config.architecture} "
            f"(got {size}). Pass --params preprocessing.image_size={usual}."
        )
    return size // divisor


ARCHITECTURES: dict[ArchitectureName, tuple[type[Generator], type[Discriminator]]] = {
    "dcgan": (DcganGenerator, DcganDiscriminator),
    "digits28": (Digits28Generator, Digits28Discriminator),
    "notebook28": (Notebook28Generator, Notebook28Discriminator),
    "simpsons200": (Simpsons200Generator, Simpsons200Discriminator),
    "simpsons200_light": (Simpsons200Generator, Simpsons200LightDiscriminator),
}


def network_configs(
    image_size: int,
    channels: int,
    training: TrainingParameters,
    class_shares: Mapping[str, float] = MappingProxyType({}),
) -> tuple[GeneratorConfig, DiscriminatorConfig]:
    """Return the configs of the two networks that the parameters ask for, for images of this shape.

    With `class_shares`, by the names of the classes, they are conditional.
    """
    images, g, d = (training.architecture, image_size, channels), training.generator, training.discriminator
    classes, shares = tuple(class_shares), tuple(class_shares.values())
    return (
        GeneratorConfig(*images, training.latent_dim, g.width, training.latents, classes, shares),
        DiscriminatorConfig(*images, d.width, d.batch_norm, d.spectral_norm, d.dropout, len(classes)),
    )


def build_generator(config: GeneratorConfig) -> Generator:
    """Build a generator without trained weights; raise ParameterError for an unsupported image size."""
    # Layers draw their default weights from torch's global generator: restore its state.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return ARCHITECTURES[config.architecture][0](config)


def build_discriminator(config: DiscriminatorConfig) -> Discriminator:
    """Build a discriminator, as `build_generator` does."""
    # Spectral norm draws its vectors from torch's global generator, too.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return ARCHITECTURES[config.architecture][1](config)
