"""Ablation of the training step: its speed without one optimisation, relative to the full step, in one run.

python benchmarks/ablation.py
"""

import statistics
from collections.abc import Callable
from dataclasses import replace

import torch
from step_timing import Case, TimedStep, calibrated, parameters
from torch import Tensor

from kedro_dcgan.model import layers
from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.training.data import Draws, source_at
from kedro_dcgan.training.fast.execution import execute, set_up, step_of
from kedro_dcgan.training.state import create_state

ROUNDS = 5
StepFunction = Callable[[Tensor], object]


def full_step(case: Case) -> StepFunction:
    """Build the full step."""
    return step_of(case.new_state(), case.training, case.compute)


def returned_memory(case: Case) -> StepFunction:
    """Let the C library return freed memory to the system."""
    state = create_state(*network_configs(case.size, case.channels, case.training), case.training, case.compute)
    set_up(state, case.calibration)
    return step_of(state, case.training, case.compute)


def unfused_adam(case: Case) -> StepFunction:
    """Use Adam without its fused kernel."""
    state = case.new_state()
    for optimiser in (state.generator_optimiser, state.discriminator_optimiser):
        for group in optimiser.param_groups:
            group["fused"] = False
    return step_of(state, case.training, case.compute)


def channels_first(case: Case) -> StepFunction:
    """Keep images and weights in NCHW memory format."""
    state = case.new_state()
    for network in (state.generator, state.discriminator):
        network.to(memory_format=torch.contiguous_format)
    step = step_of(state, case.training, case.compute)
    return lambda images: step._step(images, Draws(source_at(0, 0), case.compute))


def torch_convolutions(case: Case) -> StepFunction:
    """Run all convolutions with torch's algorithm."""
    layers._runs_by_torch = lambda *_: True
    return step_of(case.new_state(), case.training, case.compute)


def default_algorithms(case: Case) -> StepFunction:
    """Run convolutions with the default algorithms, without autotuning."""
    return step_of(
        replace(case, calibration=replace(case.calibration, algorithms={})).new_state(), case.training, case.compute
    )


def unfrozen_discriminator(case: Case) -> StepFunction:
    """Compute weight gradients of the discriminator in the generator's update, too."""
    state = case.new_state()
    state.discriminator.requires_grad_ = lambda *_: state.discriminator  # type: ignore[method-assign]
    return step_of(state, case.training, case.compute)


def compiled(case: Case) -> StepFunction:
    """Compile the networks, as `training.compile: auto` does on long trainings if that is faster."""
    state = case.new_state()
    execute(state, "compiled and graphed" if case.compute.device.type == "cuda" else "compiled")
    return step_of(state, case.training, case.compute)


def eager(case: Case) -> StepFunction:
    """Run the steps of a GPU eagerly."""
    state = case.new_state()
    execute(state, "eager")
    return step_of(state, case.training, case.compute)


VARIANTS = (
    torch_convolutions,
    default_algorithms,
    returned_memory,
    unfused_adam,
    channels_first,
    unfrozen_discriminator,
    compiled,
)
CUDA_VARIANTS = (eager, unfused_adam, unfrozen_discriminator, compiled)


def compare(case: Case) -> None:
    """Print one line per variant."""
    print(f"{case.size}x{case.size}x{case.channels} batch {case.training.batch_size} {case.calibration}", flush=True)
    full = TimedStep(full_step, case)
    for variant in CUDA_VARIANTS if case.compute.device.type == "cuda" else VARIANTS:
        side = TimedStep(variant, case)
        ratios = [side.images_per_second() / full.images_per_second() for _ in range(ROUNDS)]
        side.stop()
        print(f"  {variant.__name__.replace('_', ' '):<24} {statistics.median(ratios):.2f}x the full step", flush=True)
    full.stop()


def main() -> None:
    """Print a table each for small and for large networks."""
    compare(calibrated(32, 1, parameters("paper", batch_size=32)))
    compare(calibrated(64, 3, parameters("faces64")))


if __name__ == "__main__":
    main()
