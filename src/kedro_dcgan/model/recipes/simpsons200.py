"""The networks of a Keras recipe for 200x200 faces: a dense stem and, in the discriminator, a dense layer of 8192.

At 200x200, three channels and width 32 they have the source's 8,339,395 and 655,635,009 parameters.
The light discriminator has the same convolutions and one more of them in place of the dense layer.
"""

from itertools import pairwise
from typing import Any

from torch import nn

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.model.layers import SameConv2d, SameConvTranspose2d
from kedro_dcgan.model.networks import (
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    activation,
    normalised,
)

# Keras' defaults.
_NORM: dict[str, Any] = {"eps": 1e-3, "momentum": 0.01}
_HIDDEN = 8192


class Simpsons200Generator(Generator):
    """A dense stem to an eighth of the size, then 5x5 transposed convolutions behind LeakyReLU and batch norm."""

    def __init__(self, config: GeneratorConfig) -> None:
        start, width = _eighth(config.image_size), config.width
        layers: list[nn.Module] = [
            nn.Linear(config.latent_dim, 4 * width * start * start),
            nn.Unflatten(1, (4 * width, start, start)),
        ]
        widths = (4 * width, 2 * width, width, config.channels)
        for before, after in pairwise(widths):
            layers += [nn.LeakyReLU(0.2, inplace=True), nn.BatchNorm2d(before, **_NORM)]
            layers.append(SameConvTranspose2d(before, after, 5, 2))
        super().__init__(config, *layers, nn.Tanh())


class Simpsons200Discriminator(Discriminator):
    """Three 5x5 convolutions of stride 2, a dense layer of 8192, and the logit."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        inputs = 4 * config.width * _eighth(config.image_size) ** 2
        super().__init__(
            config,
            *_convolutions(config, config.width, 2 * config.width, 4 * config.width),
            nn.Flatten(),
            normalised(nn.Linear(inputs, _HIDDEN), config),
            *activation(config),
            normalised(nn.Linear(_HIDDEN, 1), config),
        )


class Simpsons200LightDiscriminator(Discriminator):
    """Four 5x5 convolutions of stride 2 and the logit."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        width = config.width
        rest = -(-_eighth(config.image_size) // 2)
        super().__init__(
            config,
            *_convolutions(config, width, 2 * width, 4 * width, 8 * width),
            nn.Flatten(),
            normalised(nn.Linear(8 * width * rest * rest, 1), config),
        )


def _convolutions(config: DiscriminatorConfig, *widths: int) -> list[nn.Module]:
    layers, channels = list[nn.Module](), config.channels
    for width in widths:
        layers += [normalised(SameConv2d(channels, width, 5, 2), config), *activation(config)]
        channels = width
    return layers


def _eighth(image_size: int) -> int:
    if image_size % 8:
        raise ParameterError(
            "`preprocessing.image_size` must be a multiple of 8 for `training.architecture` simpsons200 "
            f"(got {image_size}). Pass --params preprocessing.image_size=200."
        )
    return image_size // 8
