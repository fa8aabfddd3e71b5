"""Autotune the convolutions of both networks on this CPU."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.model.convolution_algorithms import Algorithm, Algorithms, Geometry, Operation, key_of, run
from kedro_dcgan.model.layers import Conv2d, ConvTranspose2d
from kedro_dcgan.model.recipes import build_discriminator, build_generator
from kedro_dcgan.model.sampling import sample_inputs
from kedro_dcgan.training.plan import Plan

# An operation runs this many times, or for this long, on at most this many images: the fastest run counts.
_RUNS, _SECONDS, _MOST_IMAGES = 7, 0.02, 64
# Keep the default algorithm unless another is clearly faster; drop precisions this many times slower than the first.
_LEAST_GAIN, _HOPELESS = 1.1, 3


@dataclass(frozen=True)
class Tuning:
    """The algorithms by layer name, and the seconds that all operations take with them, by precision."""

    algorithms: Mapping[str, Algorithms]
    seconds: Mapping[torch.dtype, float]


def tune_networks(plan: Plan, training: TrainingParameters, precisions: Iterable[torch.dtype]) -> dict[str, Tuning]:
    """Tune both networks for a micro-batch, by name; also in float32, which penalties always use."""
    count, size = min(training.micro_batch_size, _MOST_IMAGES), plan.discriminator.image_size
    latents, discriminator = sample_inputs(count, plan.generator, 0), build_discriminator(plan.discriminator)
    in_a_pass = 2 * count if discriminator.has_joint_pass(count) else count
    images = torch.zeros(in_a_pass, plan.discriminator.channels, size, size)
    precisions = [torch.float32, *precisions]
    of_generator = tune(build_generator(plan.generator), latents, precisions)
    return {"generator": of_generator, "discriminator": tune(discriminator, images, precisions)}


def tune(network: nn.Module, inputs: Tensor, precisions: Iterable[torch.dtype]) -> Tuning:
    """Time every operation of every convolution of a network, at its sizes for a batch of `inputs`.

    A precision that is several times slower than the first one, because it is emulated, gets infinite seconds.
    """
    algorithms: dict[str, dict[str, Algorithm]] = {}
    seconds = dict.fromkeys(precisions, 0.0)
    first = next(iter(seconds))
    for name, geometry in geometries(network, inputs).items():
        algorithms[name] = {}
        for precision in seconds:
            if math.isinf(seconds[precision]):
                continue
            for operation, operands in operands_of(geometry, len(inputs), precision).items():
                algorithm, taken = _fastest(geometry, operation, operands)
                algorithms[name][key_of(operation, precision)] = algorithm
                seconds[precision] += taken
            if seconds[precision] > _HOPELESS * seconds[first]:
                seconds[precision] = math.inf
    return Tuning(algorithms, seconds)


def _fastest(geometry: Geometry, operation: Operation, operands: tuple[Tensor, Tensor]) -> tuple[Algorithm, float]:
    """Return the algorithm to use for an operation, and its seconds."""
    precision, times = operands[0].dtype, dict[Algorithm, float]()
    for algorithm in geometry.possible(operation):
        chosen = replace(geometry, algorithms={key_of(operation, precision): algorithm})
        times[algorithm] = seconds_of(partial(run, operation, *operands, chosen))
    default, fastest = geometry.algorithm(operation, precision), min(times, key=times.__getitem__)
    used = fastest if times[default] > _LEAST_GAIN * times[fastest] else default
    return used, times[used]


def use_algorithms(network: nn.Module, algorithms: Mapping[str, Algorithms]) -> None:
    """Set the algorithms of a network's convolutions."""
    for name, layer in network.named_modules():
        if name in algorithms and isinstance(layer, Conv2d | ConvTranspose2d):
            layer.algorithms = dict(algorithms[name])


def geometries(network: nn.Module, inputs: Tensor) -> dict[str, Geometry]:
    """Return the shape of each convolution, by layer name, for a batch of `inputs`."""
    shapes: dict[str, Geometry] = {}

    def record(name: str, layer: Conv2d | ConvTranspose2d, images: tuple[Tensor]) -> None:
        shapes[name] = replace(layer.geometry(*images[0].shape[2:]), algorithms={})

    was_training = network.training
    with ExitStack() as hooks, torch.no_grad():
        for name, layer in network.named_modules():
            if isinstance(layer, Conv2d | ConvTranspose2d):
                hooks.enter_context(layer.register_forward_pre_hook(partial(record, name)))
        network.eval()(inputs)
    network.train(was_training)
    return shapes


def operands_of(geometry: Geometry, batch: int, precision: torch.dtype) -> dict[Operation, tuple[Tensor, Tensor]]:
    """Return random operands of each operation; zeros would run faster."""
    source = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        drawn = torch.randn(shape, generator=source).to(precision)
        return drawn.contiguous(memory_format=torch.channels_last)

    large = draw(batch, geometry.channels, *geometry.large)
    small = draw(batch, geometry.features, *geometry.small)
    kernel = draw(geometry.features, geometry.channels, geometry.kernel, geometry.kernel)
    return {"small": (large, kernel), "large": (small, kernel), "kernel": (large, small)}


def seconds_of(function: Callable[[], object]) -> float:
    """Return the seconds of the fastest of a few calls, after one to warm up."""
    function()
    moments = [time.perf_counter()]
    while len(moments) <= _RUNS and moments[-1] - moments[0] <= _SECONDS:
        function()
        moments.append(time.perf_counter())
    return min(after - before for before, after in pairwise(moments))
