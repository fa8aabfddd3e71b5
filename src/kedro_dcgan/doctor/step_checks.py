"""Checks of training steps: gradients in each precision, and execution modes.

A check returns its result in a sentence, or raises `CheckFailed` or `Skipped` with the reason. Values are compared by
their relative distance `|a - b| / |b|` over all of them together.
"""

import itertools
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.doctor.isolation import CheckFailed, Skipped
from kedro_dcgan.doctor.trainings import R1, STANDARD, TINY, Subject, new_state, noise
from kedro_dcgan.errors import in_short
from kedro_dcgan.model.convolution_algorithms import OPERATIONS, Algorithm, key_of
from kedro_dcgan.model.layers import Conv2d, ConvTranspose2d
from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.training.data import Draws, source_at
from kedro_dcgan.training.devices import Compute, deterministic_algorithms
from kedro_dcgan.training.fast.cuda_graphs import STEPS_BEFORE, CapturedSteps
from kedro_dcgan.training.fast.execution import execute, step_of
from kedro_dcgan.training.state import Execution, TrainingState
from kedro_dcgan.training.step import Step, cycle_of

CPU = Compute(torch.device("cpu"), "float32")
# How far gradients in a precision may be from exact ones, by device and precision. Where a sum near 0 is rounded to the
# other side, the slope of a ReLU jumps, so that errors are larger than those of the sums. Convolutions in TF32, torch's
# default for float32 on a GPU, and bfloat16 have 10 and 7 bits of mantissa; float32 has 23.
_TOLERANCES = {("cpu", "float32"): 5e-3, ("mps", "float32"): 5e-3, ("cuda", "float32"): 0.1}
_BFLOAT16_TOLERANCE = 0.3
_RECIPES: Mapping[str, Mapping[str, Any]] = {"batch norm": {}, "R1 penalty": R1}
# Learning rates that hardly change D between its update and G's, or the gradients of the next steps. Otherwise, Adam,
# which divides by the size of gradients, would make more and more of differences in rounding.
_FIXED = {"batch_size": 8, "generator.learning_rate": 1e-12, "discriminator.learning_rate": 1e-12}
SLOW = {"generator.learning_rate": 1e-5, "discriminator.learning_rate": 1e-5}
# How far the mean gradients of other modes or ranks may be from those of eager steps. On a GPU, convolutions are in
# TF32. With stale images or draws, or ranks that do not average, they differ by 0.15 or more.
MEAN_TOLERANCES = {"cpu": 0.01, "mps": 0.02, "cuda": 0.1}
# How differently the weights may move, relative to how far they move. Weights that are not updated differ by 1.
MOVE_TOLERANCE = 0.5


def check_gradients(subject: Subject) -> str:
    """Compare the gradients of a step with a float64 computation of the same loss by PyTorch's own convolutions.

    On a CPU, all algorithms of the convolutions are tried.
    """
    errors: dict[str, float] = {}
    algorithms: Sequence[Algorithm] = ("torch", "product", "subpixel") if subject.device.type == "cpu" else ("torch",)
    for recipe, changes in _RECIPES.items():
        training = STANDARD.with_values({**_FIXED, **changes})
        real = to_model_range(torch.from_numpy(noise(training.batch_size, 64)))
        exact = _exact_gradients(training, real)
        for precision, algorithm in itertools.product(subject.precisions, algorithms):
            tolerance = _TOLERANCES.get((subject.device.type, precision), _BFLOAT16_TOLERANCE)
            for network, error in _errors(training, real, exact, subject.compute(precision), algorithm).items():
                if not error <= tolerance:
                    raise CheckFailed(
                        f"the gradients of the {network} ({recipe}, {precision}, {algorithm}) are {error:.1%} from "
                        f"those in float64 (at most {tolerance:.1%})"
                    )
                errors[precision] = max(errors.get(precision, 0.0), error)
    listed = ", ".join(f"{precision} within {error:.0e}" for precision, error in errors.items())
    return f"{listed} of float64, with batch norm and with the R1 penalty"


def _errors(
    training: TrainingParameters,
    real: Tensor,
    exact: Mapping[str, Sequence[Tensor]],
    compute: Compute,
    algorithm: Algorithm,
) -> dict[str, float]:
    """Return the distance of each network's gradients in a step from the exact ones."""
    state = new_state(training, compute)
    _use_algorithm(state, algorithm)
    step_of(state, training, compute)(real.to(compute.device))
    gradients = {name: [weight.grad for weight in getattr(state, name).parameters()] for name in exact}
    return {name: distance(gradients[name], exact[name]) for name in exact}


def _exact_gradients(training: TrainingParameters, real: Tensor) -> dict[str, list[Tensor]]:
    """Return the gradients of the non-saturating loss, with the R1 penalty if `training` has it, in float64."""
    state = new_state(training, CPU)
    generator, discriminator = state.generator.double(), state.discriminator.double()
    _use_algorithm(state, "torch", torch.float64)
    latents = Draws(source_at(training.seed, 0), CPU).latents(len(real), generator.config).double()
    images, penalties = real.double().requires_grad_(True), training.penalties
    fakes = generator(latents)
    real_logits, fake_logits = discriminator(images), discriminator(fakes.detach())
    loss = softplus(-real_logits).mean() + softplus(fake_logits).mean()
    if penalties.has_r1:
        (slopes,) = torch.autograd.grad(real_logits.sum(), images, create_graph=True)
        loss = loss + penalties.r1_every * float(penalties.r1) / 2 * slopes.square().sum(dim=(1, 2, 3)).mean()
    of_discriminator = torch.autograd.grad(loss, list(discriminator.parameters()))
    of_generator = torch.autograd.grad(softplus(-discriminator(fakes)).mean(), list(generator.parameters()))
    return {"discriminator": list(of_discriminator), "generator": list(of_generator)}


def _use_algorithm(state: TrainingState, algorithm: Algorithm, *precisions: torch.dtype) -> None:
    chosen = precisions or (torch.float32, torch.bfloat16)
    for network in (state.generator, state.discriminator):
        for layer in network.modules():
            if isinstance(layer, Conv2d | ConvTranspose2d):
                layer.algorithms = {key_of(one, precision): algorithm for one in OPERATIONS for precision in chosen}


def check_execution(subject: Subject) -> str:
    """Compare gradients and weights after captured and compiled steps with those after eager ones.

    The steps include both variants: with and without the R1 penalty.
    """
    training, modes = TINY.with_values({**R1, **SLOW}), possible_modes(subject.device)
    if not modes:
        raise Skipped("captured steps need CUDA, and compiled ones a C++ compiler (install g++)")
    batches = _distinct_batches(training, cycle_of(training) * (STEPS_BEFORE + 3), subject.device)
    start, eager = (
        new_state(training, subject.compute(), 16).state_dict(),
        _state_after(training, subject, "eager", batches),
    )
    errors, faults = dict[str, float](), list[str]()
    for mode in modes:
        try:
            found = _state_after(training, subject, mode, batches)
        except Exception as error:  # torch.compile fails in many ways.
            faults.append(f"{mode} steps fail: {in_short(error)}")
            continue
        errors[mode], fault = compare_states(found, eager, start, MEAN_TOLERANCES[subject.device.type])
        faults += [f"{mode} steps against eager ones: {fault}"] if fault else []
    if faults:
        raise CheckFailed("; ".join(faults))
    left_out = "" if any("compiled" in mode for mode in modes) else "; compiled ones need a C compiler"
    return f"{', '.join(f'{mode} within {error:.0e}' for mode, error in errors.items())} of eager steps{left_out}"


def possible_modes(device: torch.device) -> tuple[Execution, ...]:
    """Return the execution modes besides eager that a device can run. Compiling needs a compiler, also on a GPU."""
    has_compiler = "CC" in os.environ or "CXX" in os.environ or any(map(shutil.which, ("gcc", "g++", "clang", "cl")))
    if device.type == "cuda":
        return ("graphed", "compiled and graphed") if has_compiler else ("graphed",)
    return ("compiled",) if device.type == "cpu" and has_compiler else ()


def _state_after(
    training: TrainingParameters, subject: Subject, mode: Execution, batches: Iterable[Tensor]
) -> Mapping[str, Any]:
    """Return the state after steps in an execution mode; CheckFailed if they could not be captured, and ran eagerly."""
    state, compute = new_state(training, subject.compute(), 16), subject.compute()
    execute(state, mode)
    capture = CapturedSteps(compute) if "graphed" in mode else None
    with deterministic_algorithms(False):
        step = Step(state, training, compute, capture)
        for batch in batches:
            step(batch)
    require_capture(capture)
    return state.state_dict()


def require_capture(capture: CapturedSteps | None) -> None:
    """Raise CheckFailed if steps should have been captured and were not."""
    if capture and capture.fault:
        raise CheckFailed(f"they cannot be captured, and run eagerly ({capture.fault})")


def _distinct_batches(training: TrainingParameters, count: int, device: torch.device) -> list[Tensor]:
    """Return batches that differ in brightness: a step on a stale batch must move the weights elsewhere."""
    images = to_model_range(torch.from_numpy(noise(training.batch_size, 16)))
    return [(images / 4 + (1.5 * number / count - 0.75)).to(device) for number in range(count)]


def compare_states(
    found: Mapping[str, Any], expected: Mapping[str, Any], start: Mapping[str, Any], tolerance: float
) -> tuple[float, str]:
    """Compare two states that began as `start`: return the distance of the mean gradients, and the fault, if any.

    The mean gradients are Adam's first moments. Unlike the weights, they depend smoothly on rounding.
    """
    error = distance(_moments(found), _moments(expected))
    if not error <= tolerance:
        return error, f"the mean gradients differ by {error:.1%} (at most {tolerance:.0%})"
    moves = [_weights(state) - _weights(start) for state in (found, expected)]
    if not (moved := distance(moves[:1], moves[1:])) <= MOVE_TOLERANCE:
        return error, f"the weight updates differ by {moved:.0%} (at most {MOVE_TOLERANCE:.0%})"
    return error, ""


def _moments(state: Mapping[str, Any]) -> list[Tensor]:
    optimisers = (state[f"{network}_optimiser"]["state"] for network in ("generator", "discriminator"))
    return [of_weight["exp_avg"] for optimiser in optimisers for of_weight in optimiser.values()]


def _weights(state: Mapping[str, Any]) -> Tensor:
    # Without the running statistics of batch norm, which move farthest.
    parts = [part for network in ("generator", "discriminator") for part in state[network].items()]
    return torch.cat([tensor.flatten() for name, tensor in parts if name.rpartition(".")[2] in ("weight", "bias")])


def distance(ones: Iterable[Tensor | None], others: Iterable[Tensor]) -> float:
    """Return `|a - b| / |b|`; infinite if a value is missing or not finite."""
    squared, scale = 0.0, 0.0
    for one, other in zip(ones, others, strict=True):
        if one is None or not torch.isfinite(one).all():
            return float("inf")
        exact = other.detach().double().cpu()
        squared += float((one.detach().double().cpu() - exact).square().sum())
        scale += float(exact.square().sum())
    return (squared / scale) ** 0.5
