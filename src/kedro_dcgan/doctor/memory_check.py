"""The check of the estimated memory of a training against the peak of its steps. It needs a process of its own."""

import re
from pathlib import Path

import psutil
import torch

from kedro_dcgan.doctor.isolation import CheckFailed
from kedro_dcgan.doctor.trainings import STANDARD, Subject, networks_of, new_state, noise
from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.training.costs import training_bytes
from kedro_dcgan.training.devices import deterministic_algorithms, keep_freed_memory
from kedro_dcgan.training.fast.execution import device_clock
from kedro_dcgan.training.step import Step

# The estimate is a lower bound: the peak must lie between it and this multiple, plus the workspaces of libraries.
_MOST_OF_ESTIMATE, _WORKSPACE = 2.0, 0.25e9


def check_memory(subject: Subject) -> str:
    """Compare the estimate with the peak, in the precision that needs least, which `auto` may choose."""
    precision = subject.precisions[-1]
    training = STANDARD.with_values({"batch_size": 64 if subject.device.type == "cpu" else 512})
    estimate = training_bytes(*networks_of(training), training.batch_size, subject.device, precision)
    before = _used_bytes(subject.device)
    if subject.device.type == "cpu":
        keep_freed_memory()
    state = new_state(training, subject.compute(precision))
    images = to_model_range(torch.from_numpy(noise(training.batch_size, 64))).to(subject.device)
    with deterministic_algorithms(False):
        step = Step(state, training, subject.compute(precision))
        step(images)
        if subject.device.type == "cuda":
            # Libraries have tried algorithms whose workspaces they do not need.
            torch.cuda.reset_peak_memory_stats(subject.device)
        step(images)
    # As for a checkpoint, on a CPU.
    copied = state.state_dict() if subject.device.type == "cpu" else None
    device_clock(subject.device)
    peak = _peak_bytes(subject.device) - before
    del copied
    listed = f"{peak / 1e9:.2f} GB at the peak, estimated as at least {estimate / 1e9:.2f} GB"
    if not estimate <= peak <= _MOST_OF_ESTIMATE * estimate + _WORKSPACE:
        most = f"{_MOST_OF_ESTIMATE:g} times as much plus {_WORKSPACE / 1e9} GB"
        raise CheckFailed(f"{listed}: the peak must be between the estimate and {most}")
    return f"{listed}, for batches of {training.batch_size} in {precision}"


def _used_bytes(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Not `ru_maxrss`, which a process inherits from the one that started it.
    status = Path("/proc/self/status")
    text = status.read_text(encoding="utf-8") if status.is_file() else ""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else _used_bytes(device)
