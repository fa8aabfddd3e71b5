"""The standard DCGAN (Radford et al. 2015, arXiv 1511.06434, figure 1; 4x4 kernels), for any size of images."""

from kedro_dcgan.model.specs import (
    BatchNorm,
    Conv,
    ConvTranspose,
    DiscriminatorSpec,
    GeneratorSpec,
    Layer,
    LeakyRelu,
    Relu,
    Reshape,
    Tanh,
)

MAX_WIDTH_FACTOR = 16


def generator(image_size: int, channels: int, latent_dim: int, width: int) -> GeneratorSpec:
    """Return the generator: a projection to 4 to 7 pixels, then stages that double the size.

    Each is a 4x4 transposed convolution of stride 2 with batch norm and ReLU, the last one plain with
    tanh. The channels halve from stage to stage and end at `width` before the image.
    """
    first, *rest = _sizes(image_size)
    factors = [min(2**level, MAX_WIDTH_FACTOR) for level in reversed(range(len(rest)))]
    widths = [width * factor for factor in factors]
    layers: list[Layer] = [Reshape(latent_dim, 1, 1), ConvTranspose(widths[0], first)]
    for before, size, out in zip([first, *rest], rest, [*widths[1:], channels], strict=False):
        layers += [BatchNorm(), Relu(), ConvTranspose(out, 4, 2, 1, output_padding=size - 2 * before)]
    return GeneratorSpec(latent_dim, image_size, channels, (*layers, Tanh()))


def discriminator(image_size: int, channels: int, width: int) -> DiscriminatorSpec:
    """Return the discriminator, the generator's mirror image.

    4x4 convolutions of stride 2 with LeakyReLU(0.2), batch norm in all but the first, and a last
    convolution over what is left of the image that gives one logit.
    """
    last, *halvings = _sizes(image_size)
    layers: list[Layer] = []
    for level in range(len(halvings)):
        convolution = Conv(width * min(2**level, MAX_WIDTH_FACTOR), 4, 2, 1)
        layers += [convolution, *([BatchNorm()] if level else []), LeakyRelu()]
    return DiscriminatorSpec(image_size, channels, (*layers, Conv(1, last)))


def _sizes(image_size: int) -> list[int]:
    # From 4 to 7 pixels up to the image; an odd size is one more than twice the one before.
    sizes = [image_size]
    while sizes[0] > 7:
        sizes.insert(0, sizes[0] // 2)
    return sizes
