"""The networks of a 28x28 notebook: 'valid' transposed convolutions 4 -> 11 -> 28, batch norm without gain and shift.

The source left its discriminator unfinished: two strided convolutions of 64 and 128 channels, as in
digits28, are our choice of widths.
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
    LeakyRelu,
    Relu,
    Reshape,
    Tanh,
)

# Keras' defaults but for gain and shift.
_NORM = BatchNorm(affine=False, epsilon=1e-3, momentum=0.01)


def generator(image_size: int, channels: int, latent_dim: int, width: int) -> GeneratorSpec:
    """Return the generator, for 28x28 only."""
    _require_28(image_size)
    layers = (
        *(Reshape(latent_dim, 1, 1), ConvTranspose(2 * width, 4, bias=True), _NORM, Relu()),
        *(ConvTranspose(width, 5, 2, bias=True), _NORM, Relu()),
        *(ConvTranspose(channels, 8, 2, bias=True), Tanh()),
    )
    return GeneratorSpec(latent_dim, image_size, channels, layers)


def discriminator(image_size: int, channels: int, width: int) -> DiscriminatorSpec:
    """Return the discriminator, for 28x28 only: 28 -> 14 -> 7."""
    _require_28(image_size)
    layers = (
        *(Conv(width, 5, 2, "same", bias=True), LeakyRelu()),
        *(Conv(2 * width, 5, 2, "same", bias=True), _NORM, LeakyRelu()),
        *(Flatten(), Dense(1)),
    )
    return DiscriminatorSpec(image_size, channels, layers)


def _require_28(image_size: int) -> None:
    if image_size != 28:
        raise ParameterError(
            f"`preprocessing.image_size` must be 28 for `training.architecture` notebook28 (got {image_size}). "
            "Pass --params preprocessing.image_size=28."
        )
