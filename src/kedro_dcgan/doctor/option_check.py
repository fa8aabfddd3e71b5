"""The check of every loss, architecture and option, in each precision; on a GPU, captured as well."""

import copy
import itertools
from typing import Any

import torch
from torch import Tensor

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.doctor.isolation import CheckFailed
from kedro_dcgan.doctor.step_checks import CPU, require_capture
from kedro_dcgan.doctor.trainings import R1, TINY, Subject, channels_of, networks_of, new_state, noise
from kedro_dcgan.model.layers import Dropout
from kedro_dcgan.model.recipes import build_discriminator
from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.fast.cuda_graphs import STEPS_BEFORE, CapturedSteps
from kedro_dcgan.training.fast.execution import execute
from kedro_dcgan.training.state import Execution
from kedro_dcgan.training.step import Step, cycle_of

# How far the losses of the first step may be from those of a CPU in float32.
_TOLERANCES = {"float32": 0.02, "bfloat16": 0.2}
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
    """Train a few steps with each loss, architecture and option, in each precision; on a GPU also captured steps.

    All metrics must be finite, both networks must change, and the losses of the first step must be those of a CPU in
    float32, unless there is dropout, whose masks depend on the device.
    """
    modes: tuple[Execution, ...] = ("eager", "graphed") if subject.device.type == "cuda" else ("eager",)
    for name, changes in OPTIONS.items():
        training = TINY.with_values(changes)
        is_comparable = subject.device.type == "cpu" or not _has_dropout(training)
        exact = _metrics_of_steps(training, CPU, "eager")[0, :2]
        for precision, mode in itertools.product(subject.precisions, modes):
            try:
                metrics = _metrics_of_steps(training, subject.compute(precision), mode)
                if not torch.isfinite(metrics).all():
                    raise CheckFailed("a metric is not finite")
                losses, tolerance = metrics[0, :2], _TOLERANCES[precision]
                if is_comparable and not torch.allclose(losses, exact, rtol=tolerance, atol=tolerance):
                    raise CheckFailed(f"the losses are {losses.tolist()}, those of the CPU {exact.tolist()}")
            except CheckFailed as error:
                raise CheckFailed(f"`{name}` in {precision}, {mode} steps: {error}") from None
    return f"{len(OPTIONS)} trainings with all losses, architectures and options, in {' and '.join(subject.precisions)}"


def _has_dropout(training: TrainingParameters) -> bool:
    _, config = networks_of(training, _SIZES.get(training.architecture, 32))
    return any(isinstance(layer, Dropout) and layer.rate > 0 for layer in build_discriminator(config).modules())


def _metrics_of_steps(training: TrainingParameters, compute: Compute, mode: Execution) -> Tensor:
    """Return the metrics of steps `(n, 6)`, which include all variants; CheckFailed if weights have not changed."""
    size = _SIZES.get(training.architecture, 32)
    state = new_state(training, compute, size)
    execute(state, mode)
    before = {name: copy.deepcopy(getattr(state, name).state_dict()) for name in ("generator", "discriminator")}
    images = to_model_range(torch.from_numpy(noise(training.batch_size, size, channels_of(training))))
    classes = torch.arange(training.batch_size).to(compute.device) % 3 if training.conditional is True else None
    capture = CapturedSteps(compute) if mode == "graphed" else None
    step, steps = Step(state, training, compute, capture), cycle_of(training) * (STEPS_BEFORE + 2 if capture else 1)
    metrics = torch.stack([step(images.to(compute.device), classes) for _ in range(max(2, steps))]).cpu()
    require_capture(capture)
    for name, former in before.items():
        # (The gradient of a single bias can be 0.)
        weights = [(key, weight) for key, weight in getattr(state, name).named_parameters() if weight.numel() > 1]
        if same := [key for key, weight in weights if torch.equal(weight, former[key])]:
            raise CheckFailed(f"the weights {same[0]} of the {name} do not change")
    return metrics
