"""The networks of a Keras recipe for 200x200 faces: a dense stem and, in the discriminator, a dense layer of 8192.

At 200x200, three channels and width 32 they have the source's 8,339,395 and 655,635,009 parameters.
The light discriminator has the same convolutions and one more of them in place of the dense layer.
"""

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.model.specs import (
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    DiscriminatorSpec,
    Flatten,
    GeneratorSpec,
    Layer,
    LeakyRelu,
    Reshape,
    Tanh,
)

# Keras' defaults.
_NORM = BatchNorm(epsilon=1e-3, momentum=0.01)
_HIDDEN = 8192


def generator(image_size: int, channels: int, latent_dim: int, width: int) -> GeneratorSpec:
    """Return the generator; `image_size` must be a multiple of 8."""
    start = _eighth(image_size)
    layers: list[Layer] = [Dense(start * start * 4 * width), Reshape(4 * width, start, start)]
    for out in (2 * width, width, channels):
        layers += [LeakyRelu(), _NORM, ConvTranspose(out, 5, 2, "same", bias=True)]
    return GeneratorSpec(latent_dim, image_size, channels, (*layers, Tanh()))


def discriminator(image_size: int, channels: int, width: int) -> DiscriminatorSpec:
    """Return the discriminator of the source."""
    head = (Flatten(), Dense(_HIDDEN), LeakyRelu(), Dense(1))
    return DiscriminatorSpec(image_size, channels, (*_trunk(image_size, width), *head))


def light_discriminator(image_size: int, channels: int, width: int) -> DiscriminatorSpec:
    """Return the discriminator with a convolutional head."""
    head = (Conv(8 * width, 5, 2, "same", bias=True), LeakyRelu(), Flatten(), Dense(1))
    return DiscriminatorSpec(image_size, channels, (*_trunk(image_size, width), *head))


def _trunk(image_size: int, width: int) -> tuple[Layer, ...]:
    _eighth(image_size)
    widths = (width, 2 * width, 4 * width)
    return tuple(layer for out in widths for layer in (Conv(out, 5, 2, "same", bias=True), LeakyRelu()))


def _eighth(image_size: int) -> int:
    if image_size % 8:
        raise ParameterError(
            "`preprocessing.image_size` must be a multiple of 8 for `training.architecture` simpsons200 "
            f"(got {image_size}). Pass --params preprocessing.image_size=200."
        )
    return image_size // 8
