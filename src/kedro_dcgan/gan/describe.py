"""What a network consists of: its layers with parameter counts and output shapes."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kedro_dcgan.gan.networks import Discriminator, Generator


@dataclass(frozen=True)
class LayerDescription:
    """One layer; the shape is that of one image, without the batch."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class NetworkDescription:
    """A network's layers in the order of the forward pass, and its totals."""

    name: str
    layers: tuple[LayerDescription, ...]
    parameters: int
    trainable_parameters: int
    output_shape: tuple[int, ...]


def describe(network: Generator | Discriminator) -> NetworkDescription:
    """Run one input through a weightless copy on the meta device and record every layer's output shape."""
    spec = network.spec
    inputs = (
        torch.empty(1, spec.latent_dim, device="meta")
        if isinstance(network, Generator)
        else torch.empty(1, spec.channels, spec.image_size, spec.image_size, device="meta")
    )
    layers: list[LayerDescription] = []

    def record(name: str, layer: nn.Module) -> None:
        def hook(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
            layers.append(LayerDescription(name, type(layer).__name__, tuple(output.shape[1:]), _count(layer)))

        layer.register_forward_hook(hook)

    meta = type(network)(spec).to("meta").eval()  # type: ignore[arg-type]  # each class takes its own spec
    for name, layer in meta.named_modules():
        if not list(layer.children()):
            record(name, layer)
    output = meta(inputs)
    trainable = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    return NetworkDescription(
        type(network).__name__, tuple(layers), _count(network), trainable, tuple(output.shape[1:])
    )


def _count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())
