"""The networks of TensorFlow's DCGAN tutorial on MNIST: a dense stem, 5x5 kernels, dropout in the discriminator.

At 28x28, one channel and width 64 they have the tutorial's 2,330,944 and 212,865 parameters.
"""

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


class Digits28Generator(Generator):
    """A dense stem to a quarter of the size, then 5x5 transposed convolutions."""

    def __init__(self, config: GeneratorConfig) -> None:
        start, width = _quarter(config.image_size), config.width
        units = 4 * width * start * start
        super().__init__(
            config,
            *(nn.Linear(config.latent_dim, units, bias=False), nn.BatchNorm1d(units, **_NORM), nn.ReLU(inplace=True)),
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
        start, width = _quarter(config.image_size), config.width
        super().__init__(
            config,
            normalised(SameConv2d(config.channels, width, 5, 2), config),
            *activation(config, slope=0.3, dropout=0.3),
            normalised(SameConv2d(width, 2 * width, 5, 2), config),
            *activation(config, slope=0.3, dropout=0.3),
            nn.Flatten(),
            normalised(nn.Linear(2 * width * start * start, 1), config),
        )


def _quarter(image_size: int) -> int:
    if image_size % 4:
        raise ParameterError(
            "`preprocessing.image_size` must be a multiple of 4 for `training.architecture` digits28 "
            f"(got {image_size}). Pass --params preprocessing.image_size=28."
        )
    return image_size // 4
