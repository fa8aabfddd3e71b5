"""What a network consists of and costs: its layers with shapes, parameters and arithmetic, and memory for training."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.errors import ParameterError, TrainingError
from kedro_dcgan.limits import available_memory
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


# TODO(merge) gan.memory


def require_memory(
    generator: GeneratorSpec, discriminator: DiscriminatorSpec, batch_size: int, device: torch.device
) -> None:
    """Refuse networks whose training needs more memory than the device has free.

    What is counted is the least that they need (see `NetworkDescription.training_bytes`) and, in the memory that
    holds it too, the copy that a checkpoint is written from.

    Raises:
        ParameterError: with what they need, what is free, and what would need less.
    """
    needs = {spec: describe(spec, batch_size).training_bytes for spec in (generator, discriminator)}
    copied = checkpoint_bytes(generator, discriminator) if device.type == "cpu" else 0
    total, free = training_bytes(generator, discriminator, batch_size, device), free_bytes(device)
    if total > free:
        network = "generator" if needs[generator] > needs[discriminator] else "discriminator"
        raise ParameterError(
            f"`training.architecture` must fit into the memory of {device.type}: training needs at least "
            f"{total / 1e9:.1f} GB, {needs[discriminator] / 1e9:.1f} of it for the discriminator"
            f"{f' and {copied / 1e9:.1f} to copy a checkpoint from' if copied else ''} (got {free / 1e9:.1f} GB free). "
            f"Lower `training.batch_size` or `training.{network}.width`{_LIGHT if network == 'discriminator' else ''}."
        )


def training_bytes(
    generator: GeneratorSpec, discriminator: DiscriminatorSpec, batch_size: int, device: torch.device
) -> int:
    """Return the least that a training needs of a device's memory, as `require_memory` counts it."""
    needs = (describe(spec, batch_size).training_bytes for spec in (generator, discriminator))
    return sum(needs) + (checkpoint_bytes(generator, discriminator) if device.type == "cpu" else 0)


# The dense layer of simpsons200 is the one case that common machines cannot hold.
_LIGHT = ", or choose a lighter architecture, as simpsons200_light is to simpsons200"


def checkpoint_bytes(generator: GeneratorSpec, discriminator: DiscriminatorSpec) -> int:
    """Return about how large a checkpoint is: weights and Adam's moments, and G's average and best, in float32."""
    of_generator, of_discriminator = (describe(spec).parameters for spec in (generator, discriminator))
    return 4 * (3 * (of_generator + of_discriminator) + 2 * of_generator)


def free_bytes(device: torch.device) -> int:
    """Return how many bytes may be allocated on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()


# What the several allocators say. (Those of CUDA have an error of their own, but its libraries have not.)
_SAID = ("allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


def is_lack_of_memory(error: Exception) -> bool:
    """Tell whether an allocator has failed."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in _SAID)


@contextmanager
def name_lack_of_memory(device: torch.device, training: TrainingParameters) -> Iterator[None]:
    """Turn the several errors of a full memory into one line.

    Raises:
        TrainingError: with what would need less. Nothing is changed silently: another batch is another training.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        size, parts = training.batch_size, training.gradient_accumulation
        more = next((n for n in range(parts + 1, size // 2 + 1) if size % n == 0), None)
        remedy = f"training.gradient_accumulation={more}" if more else f"training.batch_size={max(2, size // 2)}"
        raise TrainingError(
            f"training must fit into the memory of {device.type} (it ran out of it, with `training.batch_size` {size} "
            f"in {parts} part{'s' if parts > 1 else ''}). Pass --params {remedy}, and training.resume=force to go on "
            "from what was saved before, which is as it was."
        ) from error


# TODO(merge) gan.training.arithmetic


def flops_per_image(generator: GeneratorSpec, discriminator: DiscriminatorSpec, training: TrainingParameters) -> float:
    """Return the FLOPs (2 for each multiply-add) that convolutions and dense layers take for one real image.

    A backward pass costs twice a forward pass, once for the gradients of the weights and once for those of the
    inputs, which the first layer's have none of. D learns from a real and a fake image; G's turn, one in
    `discriminator.steps`, needs no gradients of D's weights. A penalty on D's gradients takes about six forward
    passes: one, its gradient, and the gradients of both, each with respect to weights and inputs.
    """
    g, g_first = _forward(generator)
    d, d_first = _forward(discriminator)
    of_discriminator = g + 2 * (3 * d - d_first)
    # Of a batch in parts the fakes were too many to keep.
    again = g if training.gradient_accumulation > 1 else 0
    of_generator = again + 2 * d + 2 * g - g_first
    penalties = training.penalties
    penalised = (1 / penalties.r1_every if penalties.r1 else 0) + (1 if training.loss == "wgan_gp" else 0)
    return of_discriminator + penalised * 6 * d + of_generator / training.discriminator.steps


def _forward(spec: GeneratorSpec | DiscriminatorSpec) -> tuple[int, int]:
    # Of the network, and of its first layer.
    flops = [layer.flops for layer in describe(spec).layers if layer.flops]
    return sum(flops), flops[0]
