"""Checks of training steps: gradients, execution modes, losses and options.

A check returns its result in a sentence, or raises `CheckFailed` or `Skipped` with the reason. Steps are compared by
their relative distance `|a - b| / |b|` over all values together.
"""

import copy
import shutil
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.doctor.isolation import CheckFailed, Skipped
from kedro_dcgan.doctor.trainings import R1, STANDARD, TINY, Subject, channels_of, new_state, noise
from kedro_dcgan.model.convolution_algorithms import OPERATIONS, Algorithm, key_of
from kedro_dcgan.model.layers import Conv2d, ConvTranspose2d
from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.training.data import Draws, source_at
from kedro_dcgan.training.devices import Compute, deterministic_algorithms
from kedro_dcgan.training.fast.cuda_graphs import STEPS_BEFORE
from kedro_dcgan.training.fast.execution import execute, step_of
from kedro_dcgan.training.state import Execution, TrainingState
from kedro_dcgan.training.step import Step, cycle_of

CPU = Compute(torch.device("cpu"), "float32")
# How far gradients in a precision may be from exact ones, by device and precision. Where a sum near 0 is rounded to the
# other side, the slope of a ReLU jumps, so that errors are larger than those of the sums. Convolutions in TF32, torch's
# default for float32 on a GPU, and bfloat16 have 10 and 7 bits of mantissa; float32 has 23.
_TOLERANCES = {("cpu", "float32"): 5e-3, ("mps", "float32"): 5e-3, ("cuda", "float32"): 0.1}
_BFLOAT16_TOLERANCE = 0.3
# How differently the weights may move, relative to how far they move. On a GPU, convolutions are in TF32, and Adam
# divides by the size of gradients. Stale draws or images differ by 0.2 or more.
_MODES_TOLERANCES = {"cpu": 0.05, "mps": 0.1, "cuda": 0.1}


def check_gradients(subject: Subject) -> str:
    """Compare the gradients of a step with a float64 computation of the same loss by PyTorch's own convolutions.

    On a CPU, all algorithms of the convolutions are tried.
    """
    errors: dict[str, float] = {}
    # Learning rates that hardly change D between its update and G's.
    fixed = {"batch_size": 8, "generator.learning_rate": 1e-12, "discriminator.learning_rate": 1e-12}
    algorithms: Sequence[Algorithm] = ("torch", "product", "subpixel") if subject.device.type == "cpu" else ("torch",)
    for changes in ({}, R1):
        training = STANDARD.with_values({**fixed, **changes})
        real = to_model_range(torch.from_numpy(noise(training.batch_size, 64)))
        expected = _exact_gradients(training, real)
        for precision in subject.precisions:
            for algorithm in algorithms:
                compute = subject.compute(precision)
                state = new_state(training, compute)
                _use_algorithm(state, algorithm)
                step_of(state, training, compute)(real.to(subject.device))
                for name, exact in expected.items():
                    gradients = [weight.grad for weight in getattr(state, name).parameters()]
                    error = distance(gradients, exact)
                    tolerance = _TOLERANCES.get((subject.device.type, precision), _BFLOAT16_TOLERANCE)
                    if not error <= tolerance:
                        recipe = "R1 penalty" if changes else "batch norm"
                        raise CheckFailed(
                            f"the gradients of the {name} ({recipe}, {precision}, {algorithm}) are {error:.1e} from "
                            f"those in float64, more than {tolerance:.0e}"
                        )
                    errors[precision] = max(errors.get(precision, 0.0), error)
    listed = ", ".join(f"{precision} within {error:.0e}" for precision, error in errors.items())
    return f"{listed} of float64, with batch norm and with the R1 penalty"


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
    """Compare the weights after eager steps with those after captured and compiled ones, for both step variants."""
    training, modes = TINY.with_values(R1), possible_modes(subject.device)
    if not modes:
        raise Skipped("captured steps need CUDA, and compiled ones a C++ compiler (install g++)")
    batches = _distinct_batches(training, cycle_of(training) * (STEPS_BEFORE + 3), subject.device)
    start = _weights(new_state(training, subject.compute(), 16))
    moved = {mode: _weights_after(training, subject, mode, batches) - start for mode in ("eager", *modes)}
    errors = {mode: distance([moved[mode]], [moved["eager"]]) for mode in modes}
    tolerance = _MODES_TOLERANCES[subject.device.type]
    if faults := [f"{mode} {error:.1e}" for mode, error in errors.items() if not error <= tolerance]:
        raise CheckFailed(
            f"after {len(batches)} steps, weights have moved differently than in eager steps: {', '.join(faults)} "
            f"of the way, more than {tolerance:g}"
        )
    return f"{', '.join(f'{mode} within {error:.0e}' for mode, error in errors.items())} of eager steps"


def possible_modes(device: torch.device) -> tuple[Execution, ...]:
    """Return the execution modes besides eager ones that a device can run."""
    if device.type == "cuda":
        return "graphed", "compiled and graphed"
    return ("compiled",) if device.type == "cpu" and any(map(shutil.which, ("g++", "clang++", "cl"))) else ()


def _distinct_batches(training: TrainingParameters, count: int, device: torch.device) -> list[Tensor]:
    """Return batches that differ in brightness: a step on a stale batch must move the weights elsewhere."""
    images = to_model_range(torch.from_numpy(noise(training.batch_size, 16)))
    return [(images / 4 + (1.5 * number / count - 0.75)).to(device) for number in range(count)]


def _weights_after(
    training: TrainingParameters, subject: Subject, mode: Execution, batches: Iterable[Tensor]
) -> Tensor:
    state = new_state(training, subject.compute(), 16)
    execute(state, mode)
    with deterministic_algorithms(False):
        step = step_of(state, training, subject.compute())
        for batch in batches:
            step(batch)
    return _weights(state)


def _weights(state: TrainingState) -> Tensor:
    networks = state.generator, state.discriminator
    return torch.cat([weight.detach().flatten().cpu() for network in networks for weight in network.parameters()])


# Together, these have every loss, architecture and option at least once.
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "smooth labels, uniform latents": {"real_label": 0.9, "latents": "uniform"},
    "hinge, spectral norm": {"loss": "hinge", "discriminator.batch_norm": False, "discriminator.spectral_norm": True},
    "least squares, dropout, micro-batches": {
        "loss": "least_squares", "discriminator.dropout": 0.3, "gradient_accumulation": 2,
    },
    "wgan_gp, two updates of D": {"loss": "wgan_gp", "discriminator.batch_norm": False, "discriminator.steps": 2},
    "separate updates, He's weights": {
        "discriminator.update": "separately", "discriminator.batch_norm": False, "discriminator.initialisation": "he",
    },
    "R1, EMA": {**R1, "ema.half_life": 40},
    "adaptive R1": {**R1, "penalties.r1": "auto"},
    "mirrored images, augmentation": {
        "augmentation.flip": True, "augmentation.differentiable": ("colour", "translation", "cutout"),
    },
    "classes": {**R1, "conditional": True},
    "digits28": {"architecture": "digits28"},
    "notebook28": {"architecture": "notebook28"},
    "simpsons200_light": {"architecture": "simpsons200_light", "batch_size": 2},
}  # fmt: skip
_SIZES = {"digits28": 28, "notebook28": 28, "simpsons200_light": 200}


def check_options(subject: Subject) -> str:
    """Take two steps with each loss, architecture and option, in each precision, and compare the first with a CPU's.

    All metrics must be finite, and both networks must change.
    """
    for name, changes in OPTIONS.items():
        training = TINY.with_values(changes)
        exact = _metrics_of_steps(training, CPU)
        for precision in subject.precisions:
            metrics = _metrics_of_steps(training, subject.compute(precision))
            fault = "" if torch.isfinite(metrics).all() else "metrics that are not finite"
            # The loss of both networks, which depends on all parts of the first step.
            tolerance = 0.02 if precision == "float32" else 0.2
            if not fault and not torch.allclose(metrics[0, :2], exact[0, :2], rtol=tolerance, atol=tolerance):
                fault = f"other losses than the CPU in float32 ({metrics[0, :2].tolist()}, not {exact[0, :2].tolist()})"
            if fault:
                raise CheckFailed(f"`{name}` in {precision} has {fault}")
    return f"{len(OPTIONS)} trainings with all losses, architectures and options, in {' and '.join(subject.precisions)}"


def _metrics_of_steps(training: TrainingParameters, compute: Compute) -> Tensor:
    """Return the metrics of two steps `(2, 6)`; CheckFailed if a network did not change."""
    size = _SIZES.get(training.architecture, 32)
    state = new_state(training, compute, size)
    before = [copy.deepcopy(network.state_dict()) for network in (state.generator, state.discriminator)]
    images = to_model_range(torch.from_numpy(noise(training.batch_size, size, channels_of(training))))
    classes = torch.arange(training.batch_size).to(compute.device) % 3 if training.conditional is True else None
    step = Step(state, training, compute)
    metrics = torch.stack([step(images.to(compute.device), classes) for _ in range(2)]).cpu()
    for name, former in zip(("generator", "discriminator"), before, strict=True):
        network: nn.Module = getattr(state, name)
        # (The gradient of a single bias can be 0.)
        weights = [(key, weight) for key, weight in network.named_parameters() if weight.numel() > 1]
        if same := [key for key, weight in weights if torch.equal(weight, former[key])]:
            raise CheckFailed(f"{training.architecture} with {training.loss}: {name} {same[0]} has not changed")
    return metrics


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
