"""The layers of a network with their shapes, parameters and FLOPs, from a forward pass without memory (meta device)."""

from dataclasses import dataclass
from math import prod

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.flop_counter import FlopCounterMode

from kedro_dcgan.model.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from kedro_dcgan.model.recipes import build_discriminator, build_generator


@dataclass(frozen=True)
class LayerDescription:
    """One layer. Shape and FLOPs (2 for each multiply-add of the forward pass) are those of one image."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    flops: int


@dataclass(frozen=True)
class NetworkDescription:
    """A network's layers in the order of the forward pass, and its totals.

    `training_bytes` is a lower bound of what training at `batch_size` needs in float32: weights, gradients, Adam's
    moments, and `activation_bytes`, the outputs of layers that have memory of their own.
    """

    name: str
    layers: tuple[LayerDescription, ...]
    parameters: int  # with batch norm's running statistics, as in Keras
    trainable_parameters: int
    output_shape: tuple[int, ...]
    flops: int
    batch_size: int
    activation_bytes: int
    training_bytes: int


def describe(config: GeneratorConfig | DiscriminatorConfig, batch_size: int = 1) -> NetworkDescription:
    """Run one forward pass on the meta device and describe every layer."""
    network: Generator | Discriminator
    is_generator, size = isinstance(config, GeneratorConfig), config.image_size
    with torch.device("meta"):
        if isinstance(config, GeneratorConfig):
            network, values = build_generator(config), torch.empty(1, config.input_dim)
        else:
            network, values = build_discriminator(config), torch.empty(1, config.channels, size, size)

    # Run layer by layer. A view, or the output of a layer that works in place, takes no memory of its own.
    layers, activations = list[LayerDescription](), 0
    for name, layer in network.eval().layers.named_children():
        before = values
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            values = layer(values)
        if StorageWeakRef(values.untyped_storage()) != StorageWeakRef(before.untyped_storage()):
            activations += 4 * batch_size * prod(values.shape[1:])
        kind, shape = type(layer).__name__.removeprefix("Parametrized"), tuple(values.shape[1:])
        layers.append(LayerDescription(name, kind, shape, sum(_parameters(layer)), counter.get_total_flops()))

    trainable, statistics = _parameters(network)
    return NetworkDescription(
        name="Generator" if is_generator else "Discriminator",
        layers=tuple(layers),
        parameters=trainable + statistics,
        trainable_parameters=trainable,
        output_shape=layers[-1].output_shape if is_generator else (),
        flops=sum(layer.flops for layer in layers),
        batch_size=batch_size,
        activation_bytes=activations,
        # Weights, gradients and Adam's two moments; 4 bytes in float32.
        training_bytes=4 * 4 * trainable + activations,
    )


def _parameters(module: nn.Module) -> tuple[int, int]:
    # The numbers of trainable weights and of batch norm's running statistics.
    trainable = sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
    buffers = module.named_buffers()
    return trainable, sum(buffer.numel() for name, buffer in buffers if name.split(".")[-1].startswith("running_"))
