"""What each lever of the training step gives: the step as it is, against the same step without it, in one run.

python benchmarks/levers.py
"""

import statistics
from collections.abc import Callable

import torch
from sides import Case, Side, parameters, usual_execution
from torch import Tensor

from kedro_dcgan.gan import convolutions
from kedro_dcgan.gan.architectures import network_specs
from kedro_dcgan.gan.devices import choose_compute, keep_freed_memory
from kedro_dcgan.gan.training.execution import execute
from kedro_dcgan.gan.training.randomness import Draws, source_at
from kedro_dcgan.gan.training.state import TrainingState, start
from kedro_dcgan.gan.training.step import Step

ROUNDS = 5
StepFunction = Callable[[Tensor], object]


def with_everything(case: Case) -> StepFunction:
    """Make the step as it is."""
    keep_freed_memory()
    return Step(started(case), case.training, case.compute)


def memory_given_back(case: Case) -> StepFunction:
    """Leave the C library's memory as it is."""
    return Step(started(case), case.training, case.compute)


def adam_by_operations(case: Case) -> StepFunction:
    """Take Adam without its own kernel: a loop over weights and operations."""
    keep_freed_memory()
    state = started(case)
    for optimiser in (state.generator_optimiser, state.discriminator_optimiser):
        for group in optimiser.param_groups:
            group["fused"] = False
    return Step(state, case.training, case.compute)


def channels_first(case: Case) -> StepFunction:
    """Leave images and weights in the order of NCHW."""
    keep_freed_memory()
    state = started(case)
    for network in (state.generator, state.discriminator):
        network.to(memory_format=torch.contiguous_format)
    step = Step(state, case.training, case.compute)
    return lambda images: step._step(images, Draws(source_at(0, 0), case.compute))


def convolutions_of_torch(case: Case) -> StepFunction:
    """Take torch's convolutions for small images, too."""
    keep_freed_memory()
    convolutions._has_products = lambda *_: False
    return Step(started(case), case.training, case.compute)


def gradients_thrown_away(case: Case) -> StepFunction:
    """Compute the discriminator's gradients in the generator's turn, too."""
    keep_freed_memory()
    state = started(case)
    state.discriminator.requires_grad_ = lambda *_: state.discriminator  # type: ignore[method-assign]
    return Step(state, case.training, case.compute)


def compiled(case: Case) -> StepFunction:
    """Let torch compile the networks: what `training.compile: auto` tries on long trainings."""
    keep_freed_memory()
    state = started(case)
    execute(state, "compiled and graphed" if case.compute.device.type == "cuda" else "compiled")
    return Step(state, case.training, case.compute)


def not_recorded(case: Case) -> StepFunction:
    """Take a GPU's steps as they are written, kernel by kernel."""
    state = started(case)
    execute(state, "eager")
    return Step(state, case.training, case.compute)


def started(case: Case) -> TrainingState:
    """Return a new training."""
    state = start(*network_specs(case.size, case.channels, case.training), case.training, case.compute)
    execute(state, usual_execution(case.compute))
    return state


VARIANTS = (
    convolutions_of_torch,
    memory_given_back,
    adam_by_operations,
    channels_first,
    gradients_thrown_away,
    compiled,
)
VARIANTS_ON_CUDA = (not_recorded, adam_by_operations, gradients_thrown_away, compiled)


def compare(case: Case) -> None:
    """Print a line a lever."""
    print(f"{case.size}x{case.size}x{case.channels} batch {case.training.batch_size} {case.compute}", flush=True)
    whole = Side(with_everything, case)
    for variant in VARIANTS_ON_CUDA if case.compute.device.type == "cuda" else VARIANTS:
        side = Side(variant, case)
        ratios = [side.images_per_second() / whole.images_per_second() for _ in range(ROUNDS)]
        side.end()
        print(
            f"  {variant.__name__.replace('_', ' '):<24} {statistics.median(ratios):.2f}x the step as it is", flush=True
        )
    whole.end()


def main() -> None:
    """Print a table for small and for large networks."""
    compute = choose_compute("auto", "auto")
    compare(Case(32, 1, parameters("paper", batch_size=32), compute))
    compare(Case(64, 3, parameters("faces64"), compute))


if __name__ == "__main__":
    main()
