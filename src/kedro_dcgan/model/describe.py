"""The layers of a network with their shapes, parameters and FLOPs, from a forward pass without memory (meta device)."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
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

    `parameters` includes batch norm's running statistics, as in Keras. `training_bytes` is the minimum that training
    at `batch_size` needs in float32: weights, gradients, Adam's moments, and the activations for the backward pass.
    """

    name: str
    layers: tuple[LayerDescription, ...]
    parameters: int
    trainable_parameters: int
    output_shape: tuple[int, ...]
    flops: int
    batch_size: int
    training_bytes: int


_FLOAT32 = 4  # bytes
# Weights, gradients and Adam's two moments.
_COPIES_OF_A_WEIGHT = 4


def build_on_meta(config: GeneratorConfig | DiscriminatorConfig) -> Generator | Discriminator:
    """Build a network without memory for its weights.

    Raises:
        ParameterError: if the architecture does not support this image size.
    """
    with torch.device("meta"):
        return build_generator(config) if isinstance(config, GeneratorConfig) else build_discriminator(config)


def describe(config: GeneratorConfig | DiscriminatorConfig, batch_size: int = 1) -> NetworkDescription:
    """Run one forward pass on the meta device and record every layer."""
    network = build_on_meta(config).eval()
    shape: tuple[int, ...] = (config.channels, config.image_size, config.image_size)
    if isinstance(config, GeneratorConfig):
        shape = (config.latent_dim,)
    shapes: dict[str, tuple[int, ...]] = {}

    def record(name: str, output: Tensor) -> None:
        shapes[name] = tuple(output.shape[1:])

    for name, layer in network.layers.named_children():
        layer.register_forward_hook(lambda layer, inputs, output, name=name: record(name, output))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        output = network(torch.empty(1, *shape, device="meta"))
    counts = counter.get_flop_counts()
    layers = tuple(
        LayerDescription(
            name,
            type(layer).__name__.removeprefix("Parametrized"),
            shapes[name],
            _parameters(layer),
            sum(counts.get(f"{type(network).__name__}.layers.{name}", {}).values()),
        )
        for name, layer in network.layers.named_children()
    )
    # In one step, D processes both real and fake images.
    is_generator = isinstance(config, GeneratorConfig)
    activations = (1 if is_generator else 2) * sum(prod(layer.output_shape) for layer in layers)
    trainable = _trainable_parameters(network)
    return NetworkDescription(
        name="Generator" if is_generator else "Discriminator",
        layers=layers,
        parameters=_parameters(network),
        trainable_parameters=trainable,
        output_shape=tuple(output.shape[1:]),
        flops=counter.get_total_flops(),
        batch_size=batch_size,
        training_bytes=_FLOAT32 * (_COPIES_OF_A_WEIGHT * trainable + batch_size * activations),
    )


def _parameters(module: nn.Module) -> int:
    statistics = (buffer for name, buffer in module.named_buffers() if name.rpartition(".")[2].startswith("running_"))
    return _trainable_parameters(module) + sum(buffer.numel() for buffer in statistics)


def _trainable_parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
