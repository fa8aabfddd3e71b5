"""Specs to torch modules. Images are float32 NCHW in [-1, 1]; a discriminator gives logits, not probabilities."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from kedro_dcgan.gan.specs import DiscriminatorSpec, GeneratorSpec, Stage

_CONVOLUTIONS = {"conv": nn.Conv2d, "conv_transpose": nn.ConvTranspose2d}
_ACTIVATIONS = {
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(0.2, inplace=True),
    "tanh": nn.Tanh,
    "none": None,
}


class Generator(nn.Module):
    """Latents `(N, latent_dim)` to images `(N, channels, size, size)` in [-1, 1]."""

    def __init__(self, spec: GeneratorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.stages = _build(spec.latent_dim, spec.stages)

    def forward(self, latents: Tensor) -> Tensor:
        return self.stages(latents[:, :, None, None])  # (N, latent_dim, 1, 1) -> (N, C, H, W)


class Discriminator(nn.Module):
    """Images `(N, channels, size, size)` in [-1, 1] to logits `(N,)`; above 0 means real."""

    def __init__(self, spec: DiscriminatorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.stages = _build(spec.channels, spec.stages)

    def forward(self, images: Tensor) -> Tensor:
        return self.stages(images).flatten()  # (N, 1, 1, 1) -> (N,)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw convolutions from N(0, 0.02) and batch-norm gains from N(1, 0.02); shifts are 0.

    Radford et al. 2015, section 4; the gains as in the authors' code.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02, generator=generator)
            nn.init.zeros_(module.bias)


def _build(in_channels: int, stages: tuple[Stage, ...]) -> nn.Sequential:
    widths = [in_channels, *(stage.channels for stage in stages)]
    return nn.Sequential(*(_build_stage(*pair, stage) for pair, stage in zip(pairwise(widths), stages, strict=True)))


def _build_stage(in_channels: int, out_channels: int, stage: Stage) -> nn.Sequential:
    convolution = _CONVOLUTIONS[stage.kind]
    # No biases: the batch norm's shift does their work, and the paper's image layers have none.
    layers: list[nn.Module] = [
        convolution(in_channels, out_channels, stage.kernel, stage.stride, stage.padding, bias=False)
    ]
    if stage.norm:
        layers.append(nn.BatchNorm2d(out_channels))
    if activation := _ACTIVATIONS[stage.activation]:
        layers.append(activation())
    return nn.Sequential(*layers)
