"""Specs to torch modules. Images are float32 NCHW in [-1, 1]; a discriminator gives logits, not probabilities."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from kedro_dcgan.model import specs
from kedro_dcgan.model.convolutions import Conv2d, ConvTranspose2d
from kedro_dcgan.model.layers import Dropout, SameConv2d, SameConvTranspose2d
from kedro_dcgan.model.specs import DiscriminatorSpec, GeneratorSpec, Layer

Shape = tuple[int, ...]


class Generator(nn.Module):
    """Latents `(N, latent_dim)` to images `(N, channels, size, size)` in [-1, 1]."""

    def __init__(self, spec: GeneratorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.layers = _build((spec.latent_dim,), spec.layers)

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents)


class Discriminator(nn.Module):
    """Images `(N, channels, size, size)` in [-1, 1] to logits `(N,)`; above 0 means real."""

    def __init__(self, spec: DiscriminatorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.layers = _build((spec.channels, spec.image_size, spec.image_size), spec.layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).flatten()


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw kernels from N(0, 0.02) and batch-norm gains from N(1, 0.02); biases and shifts are 0.

    Radford et al. 2015, section 4; the gains as in the authors' code.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(_kernel(module), 0.0, 0.02, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, 0.02, generator=generator)
            nn.init.zeros_(module.bias)


def _kernel(module: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> Tensor:
    # Under spectral norm `weight` is computed from this.
    return dict(module.named_parameters()).get("parametrizations.weight.original", module.weight)


def _build(shape: Shape, layers: Sequence[Layer]) -> nn.Sequential:
    """Build the layers; `shape` is that of one input, without the batch."""
    modules: list[nn.Module] = []
    # Torch draws weights, and the vectors of spectral norm, from its global source: that is left as it is.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        for layer in layers:
            modules.append(_module(layer, shape))
            shape = output_shape(layer, shape)
    return nn.Sequential(*modules)


def output_shape(layer: Layer, shape: Shape) -> Shape:
    """Return the shape of one output of a layer for inputs of `shape`, both without the batch."""
    match layer:
        case specs.Conv(channels, kernel, stride, padding):
            if padding == "same":
                return (channels, *(-(-size // stride) for size in shape[1:]))
            return (channels, *((size + 2 * padding - kernel) // stride + 1 for size in shape[1:]))
        case specs.ConvTranspose(channels, kernel, stride, padding):
            if padding == "same":
                return (channels, *(size * stride for size in shape[1:]))
            rest = kernel - 2 * padding + layer.output_padding
            return (channels, *((size - 1) * stride + rest for size in shape[1:]))
        case specs.Dense(units):
            return (units,)
        case specs.Reshape(channels, height, width):
            return (channels, height, width)
        case specs.Flatten():
            return (math.prod(shape),)
    return shape


def _module(layer: Layer, shape: Shape) -> nn.Module:
    match layer:
        case specs.Conv() | specs.ConvTranspose():
            return _convolution(layer, shape[0])
        case specs.Dense(units, bias, is_spectral):
            dense = nn.Linear(shape[0], units, bias)
            return spectral_norm(dense) if is_spectral else dense
        case specs.BatchNorm(affine, epsilon, momentum):
            of_images = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
            return of_images(shape[0], epsilon, momentum, affine)
        case specs.LeakyRelu(slope):
            return nn.LeakyReLU(slope, inplace=True)
        case specs.Dropout(rate):
            return Dropout(rate)
        case specs.Reshape(channels, height, width):
            return nn.Unflatten(1, (channels, height, width))
    return {specs.Relu: nn.ReLU(inplace=True), specs.Tanh: nn.Tanh(), specs.Flatten: nn.Flatten()}[type(layer)]


def _convolution(layer: specs.Conv | specs.ConvTranspose, channels: int) -> nn.Module:
    is_same = layer.padding == "same"
    common = (channels, layer.channels, layer.kernel, layer.stride, 0 if layer.padding == "same" else layer.padding)
    if isinstance(layer, specs.ConvTranspose):
        transposed = SameConvTranspose2d if is_same else ConvTranspose2d
        return transposed(*common, output_padding=layer.output_padding, bias=layer.bias)
    convolution = (SameConv2d if is_same else Conv2d)(*common, bias=layer.bias)
    return spectral_norm(convolution) if layer.spectral_norm else convolution
