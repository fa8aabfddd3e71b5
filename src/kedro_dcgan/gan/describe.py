"""What a network consists of: its layers with parameter counts and output shapes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kedro_dcgan.gan.networks import Discriminator, Generator
from kedro_dcgan.gan.specs import DiscriminatorSpec, GeneratorSpec


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


def describe(spec: GeneratorSpec | DiscriminatorSpec) -> NetworkDescription:
    """Build the network without memory for its weights and record every layer of one forward pass."""
    layers: list[LayerDescription] = []
    network: Generator | Discriminator
    with torch.device("meta"):
        if isinstance(spec, GeneratorSpec):
            network, inputs = Generator(spec), torch.empty(1, spec.latent_dim)
        else:
            network, inputs = Discriminator(spec), torch.empty(1, spec.channels, spec.image_size, spec.image_size)
    for name, layer in network.named_modules():
        if not list(layer.children()):
            layer.register_forward_hook(_recorder(name, layers))
    output = network.eval()(inputs)
    trainable = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    return NetworkDescription(
        type(network).__name__, tuple(layers), _count(network), trainable, tuple(output.shape[1:])
    )


def _recorder(name: str, layers: list[LayerDescription]) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def record(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        layers.append(LayerDescription(name, type(layer).__name__, tuple(output.shape[1:]), _count(layer)))

    return record


def _count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())
