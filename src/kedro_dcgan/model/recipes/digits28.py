"""The networks of TensorFlow's DCGAN tutorial on MNIST: a dense stem, 5x5 kernels, dropout in the discriminator.

At 28x28, one channel and width 64 they have the tutorial's 2,330,944 and 212,865 parameters.
"""

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.model.specs import (
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    DiscriminatorSpec,
    Dropout,
    Flatten,
    GeneratorSpec,
    LeakyRelu,
    Relu,
    Reshape,
    Tanh,
)

# Keras' defaults.
_NORM = BatchNorm(epsilon=1e-3, momentum=0.01)
_LEAKY = LeakyRelu(0.3)


def generator(image_size: int, channels: int, latent_dim: int, width: int) -> GeneratorSpec:
    """Return the generator; `image_size` must be a multiple of 4."""
    start = _quarter(image_size)
    layers = (
        *(Dense(start * start * 4 * width, bias=False), _NORM, Relu(), Reshape(4 * width, start, start)),
        *(ConvTranspose(2 * width, 5, 1, "same"), _NORM, Relu()),
        *(ConvTranspose(width, 5, 2, "same"), _NORM, Relu()),
        *(ConvTranspose(channels, 5, 2, "same"), Tanh()),
    )
    return GeneratorSpec(latent_dim, image_size, channels, layers)


def discriminator(image_size: int, channels: int, width: int) -> DiscriminatorSpec:
    """Return the discriminator; `image_size` must be a multiple of 4."""
    _quarter(image_size)
    layers = (
        *(Conv(width, 5, 2, "same", bias=True), _LEAKY, Dropout(0.3)),
        *(Conv(2 * width, 5, 2, "same", bias=True), _LEAKY, Dropout(0.3)),
        *(Flatten(), Dense(1)),
    )
    return DiscriminatorSpec(image_size, channels, layers)


def _quarter(image_size: int) -> int:
    if image_size % 4:
        raise ParameterError(
            "`preprocessing.image_size` must be a multiple of 4 for `training.architecture` digits28 "
            f"(got {image_size}). Pass --params preprocessing.image_size=28."
        )
    return image_size // 4
