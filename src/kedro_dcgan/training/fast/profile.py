"""Profile of a training step: time by part, and speed relative to the roofline of the device."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.profiler import ProfilerActivity, profile, record_function

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.training.costs import flops_per_image
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.fast.execution import device_clock, step_of
from kedro_dcgan.training.state import TrainingState
from kedro_dcgan.training.step import PARTS

_WARM_UP = 3


@dataclass(frozen=True)
class StepProfile:
    """Milliseconds of a step by part, its speed without the profiler, and the device's rate of matrix products."""

    milliseconds: dict[str, float]
    images_per_second: float
    flops_per_second: float
    matrix_flops_per_second: float
    trace: profile


def profile_step(
    state: TrainingState, training: TrainingParameters, compute: Compute, batches: Iterable[Tensor], steps: int
) -> StepProfile:
    """Train on `2 * steps + 3` batches of uint8 images: to warm up, to time, and under torch's profiler."""
    step, remaining = step_of(state, training, compute), iter(batches)

    def take(count: int) -> float:
        # Take steps as the loop does; return the seconds.
        started = time.perf_counter()
        for _ in range(count):
            with record_function("data"):
                images = to_model_range(next(remaining))
            state.means.add(step(images))
        with record_function("logging"):
            state.means.first_fault()
        return device_clock(compute.device) - started

    take(_WARM_UP)
    seconds = take(steps)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if compute.device.type == "cuda" else [])]
    with profile(activities=activities) as trace:
        profiled = take(steps)

    # On a GPU, each host range has a device range, from its first kernel to its last.
    is_cuda = compute.device.type == "cuda"
    kind, attribute = ("CUDA", "device_time_total") if is_cuda else ("CPU", "cpu_time_total")
    events = [event for event in trace.key_averages() if event.device_type.name == kind]
    totals = {event.key: getattr(event, attribute) / 1000 / steps for event in events}
    of_parts = {part: totals[part] for part in ("data", *PARTS, "logging") if totals.get(part)}
    of_parts["the rest"] = max(0.0, 1000 * profiled / steps - sum(of_parts.values()))

    speed = steps * training.batch_size / seconds
    flops = flops_per_image(state.generator.config, state.discriminator.config, training)
    return StepProfile(of_parts, speed, speed * flops, matrix_rate(compute), trace)


def matrix_rate(compute: Compute, size: int | None = None, seconds: float = 1.0) -> float:
    """Return the FLOP/s of products of large square matrices in the precision of `compute`: the roofline."""
    # Smaller products do not fill a GPU.
    size = size or (8192 if compute.device.type == "cuda" else 2048)
    dtype = torch.bfloat16 if compute.precision == "bfloat16" else torch.float32
    matrix = torch.randn(size, size).to(compute.device, dtype)
    image = matrix.view(1, size, 1, size).permute(0, 3, 1, 2)
    kernel = matrix.view(size, size, 1, 1)
    # As a product or a 1x1 convolution: torch uses two libraries, of which one may be twice as fast. (On a GPU in
    # float32, convolutions use TF32 and products do not.)
    ways: tuple[Callable[[], Tensor], ...] = (lambda: matrix @ matrix, lambda: conv2d(image, kernel))
    best = 0.0
    for multiply in ways:
        multiply()
        started, calls, taken = device_clock(compute.device), 0, 0.0
        while taken < seconds / len(ways):
            for _ in range(4):
                multiply()
            calls, taken = calls + 4, device_clock(compute.device) - started
        best = max(best, 2 * size**3 * calls / taken)
    return best
