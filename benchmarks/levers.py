"""What each lever of the training step gives: the step as it is, against the same step without it, in one run.

python benchmarks/levers.py
"""

import statistics
from collections.abc import Callable
from dataclasses import replace

import torch
from sides import Case, Side, calibrated, parameters
from torch import Tensor

from kedro_dcgan.model import layers
from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.training.data import Draws, source_at
from kedro_dcgan.training.fast.execution import execute, set_up, step_of
from kedro_dcgan.training.state import create_state

ROUNDS = 5
StepFunction = Callable[[Tensor], object]


def with_everything(case: Case) -> StepFunction:
    """Make the step as it is."""
    return step_of(case.started(), case.training, case.compute)


def memory_given_back(case: Case) -> StepFunction:
    """Leave the C library's memory as it is."""
    state = create_state(*network_configs(case.size, case.channels, case.training), case.training, case.compute)
    set_up(state, case.calibration)
    return step_of(state, case.training, case.compute)


def adam_by_operations(case: Case) -> StepFunction:
    """Take Adam without its own kernel: a loop over weights and operations."""
    state = case.started()
    for optimiser in (state.generator_optimiser, state.discriminator_optimiser):
        for group in optimiser.param_groups:
            group["fused"] = False
    return step_of(state, case.training, case.compute)


def channels_first(case: Case) -> StepFunction:
    """Leave images and weights in the order of NCHW."""
    state = case.started()
    for network in (state.generator, state.discriminator):
        network.to(memory_format=torch.contiguous_format)
    step = step_of(state, case.training, case.compute)
    return lambda images: step._step(images, Draws(source_at(0, 0), case.compute))


def convolutions_of_torch(case: Case) -> StepFunction:
    """Run all convolutions by torch's algorithm."""
    layers._runs_by_torch = lambda *_: True
    return step_of(case.started(), case.training, case.compute)


def usual_algorithms(case: Case) -> StepFunction:
    """Run convolutions by the algorithms that were fastest elsewhere, without timing them."""
    return step_of(
        replace(case, calibration=replace(case.calibration, algorithms={})).started(), case.training, case.compute
    )


def gradients_thrown_away(case: Case) -> StepFunction:
    """Compute the discriminator's gradients in the generator's turn, too."""
    state = case.started()
    state.discriminator.requires_grad_ = lambda *_: state.discriminator  # type: ignore[method-assign]
    return step_of(state, case.training, case.compute)


def compiled(case: Case) -> StepFunction:
    """Let torch compile the networks: what `training.compile: auto` tries on long trainings."""
    state = case.started()
    execute(state, "compiled and graphed" if case.compute.device.type == "cuda" else "compiled")
    return step_of(state, case.training, case.compute)


def not_recorded(case: Case) -> StepFunction:
    """Take a GPU's steps as they are written, kernel by kernel."""
    state = case.started()
    execute(state, "eager")
    return step_of(state, case.training, case.compute)


VARIANTS = (
    convolutions_of_torch,
    usual_algorithms,
    memory_given_back,
    adam_by_operations,
    channels_first,
    gradients_thrown_away,
    compiled,
)
VARIANTS_ON_CUDA = (not_recorded, adam_by_operations, gradients_thrown_away, compiled)


def compare(case: Case) -> None:
    """Print a line a lever."""
    print(f"{case.size}x{case.size}x{case.channels} batch {case.training.batch_size} {case.calibration}", flush=True)
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
    compare(calibrated(32, 1, parameters("paper", batch_size=32)))
    compare(calibrated(64, 3, parameters("faces64")))


if __name__ == "__main__":
    main()
