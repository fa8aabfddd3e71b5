"""What a network consists of and costs: its layers with shapes, parameters and arithmetic, and memory for training."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from kedro_dcgan.model.networks import Discriminator, Generator
from kedro_dcgan.model.specs import DiscriminatorSpec, GeneratorSpec

_FLOAT32 = 4  # bytes
# Weights, gradients and Adam's two moments.
_COPIES_OF_A_WEIGHT = 4


@dataclass(frozen=True)
class LayerDescription:
    """One layer; shape and FLOPs (2 for each multiply-add of the forward pass) are those of one image."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    flops: int


@dataclass(frozen=True)
class NetworkDescription:
    """A network's layers in the order of the forward pass, and its totals.

    `parameters` counts batch norm's running statistics, too, which are not trained.

    `training_bytes` is what training at `batch_size` needs at least, in float32: weights, gradients,
    Adam's moments, and the outputs of all layers that the backward pass goes by.
    """

    name: str
    layers: tuple[LayerDescription, ...]
    parameters: int
    trainable_parameters: int
    output_shape: tuple[int, ...]
    flops: int
    batch_size: int
    training_bytes: int


def describe(spec: GeneratorSpec | DiscriminatorSpec, batch_size: int = 1) -> NetworkDescription:
    """Build the network without memory for its weights and record every layer of one forward pass."""
    layers: list[LayerDescription] = []
    network: Generator | Discriminator
    with torch.device("meta"):
        if isinstance(spec, GeneratorSpec):
            network, inputs = Generator(spec), torch.empty(1, spec.latent_dim)
        else:
            network, inputs = Discriminator(spec), torch.empty(1, spec.channels, spec.image_size, spec.image_size)
        for name, layer in network.layers.named_children():
            layer.register_forward_hook(_recorder(name, layers))
        output = network.eval()(inputs)
    trainable = _trainable(network)
    kept = sum(prod(layer.output_shape) for layer in layers)
    # Real and fake images go through the discriminator in one step.
    passes = 1 if isinstance(spec, GeneratorSpec) else 2
    return NetworkDescription(
        name=type(network).__name__,
        layers=tuple(layers),
        parameters=_count(network),
        trainable_parameters=trainable,
        output_shape=tuple(output.shape[1:]),
        flops=sum(layer.flops for layer in layers),
        batch_size=batch_size,
        training_bytes=_FLOAT32 * (_COPIES_OF_A_WEIGHT * trainable + batch_size * passes * kept),
    )


def _recorder(name: str, layers: list[LayerDescription]) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kind = type(layer).__name__.removeprefix("Parametrized")
        flops = _flops(layer, inputs[0], output)
        layers.append(LayerDescription(name, kind, tuple(output.shape[1:]), _count(layer), flops))

    return record


def _flops(layer: nn.Module, inputs: Tensor, output: Tensor) -> int:
    match layer:
        case nn.ConvTranspose2d():
            return 2 * inputs[0].numel() * layer.out_channels * prod(layer.kernel_size)
        case nn.Conv2d():
            return 2 * output[0].numel() * layer.in_channels * prod(layer.kernel_size)
        case nn.Linear():
            return 2 * layer.in_features * layer.out_features
    return 0


def _count(module: nn.Module) -> int:
    # As Keras counts: what is learned, and batch norm's running means and variances.
    statistics = (buffer for name, buffer in module.named_buffers() if name.rpartition(".")[2].startswith("running_"))
    return _trainable(module) + sum(buffer.numel() for buffer in statistics)


def _trainable(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
