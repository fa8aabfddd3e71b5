"""The networks of a 28x28 notebook: 'valid' transposed convolutions 4 -> 11 -> 28, batch norm without gain and shift.

The source left its discriminator unfinished. Two strided convolutions of 64 and 128 channels, as in digits28, are our
choice of widths.
"""

from typing import Any

from torch import nn

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.model.convolutions import ConvTranspose2d
from kedro_dcgan.model.layers import SameConv2d
from kedro_dcgan.model.networks import (
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    activation,
    normalised,
)

# Keras' defaults, but without gain and shift.
_NORM: dict[str, Any] = {"eps": 1e-3, "momentum": 0.01, "affine": False}


class Notebook28Generator(Generator):
    """Transposed convolutions 1 -> 4 -> 11 -> 28, for 28x28 only."""

    def __init__(self, config: GeneratorConfig) -> None:
        _require_28(config.image_size)
        width = config.width
        super().__init__(
            config,
            nn.Unflatten(1, (config.latent_dim, 1, 1)),
            *(ConvTranspose2d(config.latent_dim, 2 * width, 4), nn.BatchNorm2d(2 * width, **_NORM)),
            nn.ReLU(inplace=True),
            *(ConvTranspose2d(2 * width, width, 5, 2), nn.BatchNorm2d(width, **_NORM)),
            nn.ReLU(inplace=True),
            ConvTranspose2d(width, config.channels, 8, 2),
            nn.Tanh(),
        )


class Notebook28Discriminator(Discriminator):
    """Two 5x5 convolutions 28 -> 14 -> 7 and a dense layer, for 28x28 only."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        _require_28(config.image_size)
        width = config.width
        super().__init__(
            config,
            normalised(SameConv2d(config.channels, width, 5, 2), config),
            *activation(config),
            normalised(SameConv2d(width, 2 * width, 5, 2), config),
            *([nn.BatchNorm2d(2 * width, **_NORM)] if config.batch_norm else []),
            *activation(config),
            nn.Flatten(),
            normalised(nn.Linear(2 * width * 7 * 7, 1), config),
        )


def _require_28(image_size: int) -> None:
    if image_size != 28:
        raise ParameterError(
            f"`preprocessing.image_size` must be 28 for `training.architecture` notebook28 (got {image_size}). "
            "Pass --params preprocessing.image_size=28."
        )
