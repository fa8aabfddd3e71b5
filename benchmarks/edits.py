"""Edits of the standard networks that the product does not offer, for comparisons (`claims.py`)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from kedro_dcgan.model.layers import Conv2d, ConvTranspose2d, SameConv2d
from kedro_dcgan.model.networks import (
    DcganDiscriminator,
    DcganGenerator,
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
)
from kedro_dcgan.model.recipes import ARCHITECTURES

# Changes a network after it is built.
Edit = Callable[[Generator | Discriminator], None]


def without_gain_and_shift(network: Generator | Discriminator) -> None:
    """Remove the weights of batch norm."""
    for index, layer in enumerate(network.layers):
        if isinstance(layer, nn.BatchNorm2d):
            network.layers[index] = nn.BatchNorm2d(layer.num_features, affine=False)


def norm_everywhere(network: Generator | Discriminator) -> None:
    """Add batch norm where the paper leaves it out: before the tanh, and behind D's first convolution."""
    if isinstance(network, Generator):
        network.layers.insert(len(network.layers) - 1, nn.BatchNorm2d(network.config.channels))
    else:
        network.layers.insert(1, nn.BatchNorm2d(network.config.width))


def pooling(network: Generator | Discriminator) -> None:
    """Replace strides by max pooling in D, and by nearest-neighbour upsampling in G; kernels keep their shapes."""
    for index, layer in enumerate(network.layers):
        if isinstance(layer, Conv2d | ConvTranspose2d) and layer.stride[0] == 2:
            has_bias = layer.bias is not None
            convolution = SameConv2d(layer.in_channels, layer.out_channels, layer.kernel_size[0], bias=has_bias)
            parts = (convolution, nn.MaxPool2d(2))
            if isinstance(network, Generator):
                parts = (nn.Upsample(scale_factor=2), convolution)
            network.layers[index] = nn.Sequential(*parts)


@contextmanager
def edited(edit: Edit | None) -> Iterator[None]:
    """Build all standard networks with an edit, as long as the context lasts."""
    if not edit:
        yield
        return

    class EditedGenerator(DcganGenerator):
        def __init__(self, config: GeneratorConfig) -> None:
            super().__init__(config)
            edit(self)

    class EditedDiscriminator(DcganDiscriminator):
        def __init__(self, config: DiscriminatorConfig) -> None:
            super().__init__(config)
            edit(self)

    before = ARCHITECTURES["dcgan"]
    ARCHITECTURES["dcgan"] = EditedGenerator, EditedDiscriminator
    try:
        yield
    finally:
        ARCHITECTURES["dcgan"] = before
