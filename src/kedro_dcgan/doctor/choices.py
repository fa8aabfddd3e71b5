"""The choices of the product on this machine, and why: those of a training of ten minutes of the standard DCGAN."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from kedro_dcgan.doctor.isolation import logged_lines
from kedro_dcgan.doctor.trainings import MANY_BATCHES, TIMED, Subject, plan_of
from kedro_dcgan.limits import usable_cores
from kedro_dcgan.training.data import SHARE_OF_MEMORY
from kedro_dcgan.training.devices import (
    choose_compute,
    deterministic_algorithms,
    has_bfloat16,
    keep_freed_memory,
)
from kedro_dcgan.training.fast.calibration import calibrate
from kedro_dcgan.training.fast.execution import Calibration
from kedro_dcgan.training.threads import most_threads

# Small batches on a CPU, because calibration takes 16 steps or more.
_BATCH_SIZES = {"cuda": 128, "mps": 128, "cpu": 32}


@dataclass(frozen=True)
class Choices:
    """The calibration, and each choice with its reason, by topic."""

    calibration: Calibration
    reasons: Mapping[str, str]


def require_device(name: str) -> None:
    """Raise ParameterError if this machine does not have a device."""
    choose_compute(name, "auto", "--device")


def subject_on(device_name: str) -> Subject:
    """Return what to examine."""
    device = choose_compute(device_name, "auto", "--device").device
    return Subject(device, ("float32", "bfloat16") if has_bfloat16(device.type) else ("float32",))


def choose(subject: Subject, is_automatic: bool) -> Choices:
    """Choose as `kedro run` does, by timing steps. `is_automatic`: nobody has chosen the device."""
    compute, device, batch_size = subject.compute(), subject.device, _BATCH_SIZES[subject.device.type]
    training = TIMED.with_values({"batch_size": batch_size})
    if device.type == "cpu":
        keep_freed_memory()
    with deterministic_algorithms(False), logged_lines() as lines:
        calibration = calibrate(plan_of(training, compute, MANY_BATCHES), training)
    # Its end is the choice, which the other lines of the report repeat.
    measured = next((line.partition(" · chosen")[0] for line in lines if " · chosen" in line), "nothing was timed")
    reasons = {
        "device": f"{device.type}{_reason_for_device(device) if is_automatic else ', by --device'}",
        "precision": f"{calibration.precision}: {_reason_for_precision(subject.precisions)}",
        "execution": f"{calibration.execution}: {_reason_for_execution(device)}",
        **_threads(device, calibration.threads),
        "images": _images(device),
        "workers": f"{usable_cores()} processes read images: one for each usable core",
        "calibration": f"batches of {batch_size}, {measured}",
    }
    return Choices(calibration, reasons)


def _reason_for_device(device: torch.device) -> str:
    if device.type == "cuda":
        count = torch.cuda.device_count()
        return f": the first of {count} GPUs (training.devices={count} uses all)" if count > 1 else ": there is a GPU"
    return ": Apple's GPU" if device.type == "mps" else ": there is no GPU that torch can use"


def _reason_for_precision(precisions: tuple[str, ...]) -> str:
    if "bfloat16" in precisions:
        return "the faster one (bfloat16 must win by 5 %)"
    return "there is no hardware for bfloat16, which would be emulated"


def _reason_for_execution(device: torch.device) -> str:
    if device.type == "cuda":
        return "captured steps are tried for trainings of a minute, compiled ones for those of an hour"
    return "captured steps need CUDA; compiled ones are tried for trainings of an hour"


def _threads(device: torch.device, threads: int) -> dict[str, str]:
    if device.type != "cpu":
        return {}
    limit = f"; OMP_NUM_THREADS allows {most_threads()}" if os.environ.get("OMP_NUM_THREADS") else ""
    return {"threads": f"{threads} of {most_threads()}: the fewest that are about as fast as more{limit}"}


def _images(device: torch.device) -> str:
    if device.type != "cuda":
        return "gathered by a thread, two batches ahead"
    room = SHARE_OF_MEMORY * torch.cuda.mem_get_info(device)[0]
    return f"on the GPU up to {room / 1e9:.0f} GB, {SHARE_OF_MEMORY:.0%} of its free memory; more are streamed"
