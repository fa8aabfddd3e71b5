"""The calibration of a training, and its execution: eager, compiled, or captured once and replayed as CUDA graphs.

A calibration changes only the order of sums and the rounding. Checkpoints store it: a resumed training keeps its bits.

With CUDA graphs, the GPU gets the hundreds of kernels of a step in one call. A graph reads and writes the same memory
in each replay. So the real images and random draws of a step lie in buffers that are filled before the replay.
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

import gc
import logging
import math
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.errors import in_short
from kedro_dcgan.model.convolution_algorithms import Algorithms
from kedro_dcgan.training.data import Draw, Draws
from kedro_dcgan.training.devices import ALONE, Compute, staged
from kedro_dcgan.training.fast.autotune import use_algorithms
from kedro_dcgan.training.plan import Plan
from kedro_dcgan.training.state import Execution, TrainingState, create_state
from kedro_dcgan.training.step import Step, cycle_of

logger = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]

# Steps of a variant that run eagerly before one is captured: optimisers create their moments, and libraries choose
# their algorithms. The last of them creates the buffers.
STEPS_BEFORE = 3
# Minimum seconds and steps of a measurement. A GPU needs time to reach its boost clock.
_LEAST_SECONDS = {"cuda": 1.0, "mps": 0.1, "cpu": 0.1}
_LEAST_STEPS = 2

TakeStep = Callable[[Tensor, Draws], Tensor]
Replay = Callable[[], Tensor]


@dataclass(frozen=True)
class Calibration:
    """The choices for this machine, and the speed measured on `hardware`, if any.

    `threads` are intra-op threads per process on a CPU. `algorithms` are those of the convolutions, by network and
    layer (`autotune.py`); layers that are not listed use the defaults.
    """

    device: str
    hardware: str
    precision: Precision
    threads: int
    validation_threads: int | None = None
    execution: Execution = "eager"
    algorithms: Mapping[str, Mapping[str, Algorithms]] = field(default_factory=dict)
    images_per_second: float | None = None

    def __str__(self) -> str:
        where = self.hardware.partition(", ")[0] if self.device == "cuda" else self.device.upper()
        threads = f" ({self.threads} thread{'s' if self.threads > 1 else ''})" if self.device == "cpu" else ""
        return f"{self.precision} on {where}{threads}"


def set_up(state: TrainingState, calibration: Calibration, stored: Calibration | None = None) -> None:
    """Apply a calibration to a state. Checkpoints store it, or `stored` instead."""
    state.calibration = asdict(stored or calibration)
    for name, algorithms in calibration.algorithms.items():
        use_algorithms(getattr(state, name), algorithms)
        if name == "generator" and state.ema_generator is not None:
            use_algorithms(state.ema_generator, algorithms)
    execute(state, calibration.execution)


def execute(state: TrainingState, execution: Execution) -> None:
    """Set the execution mode of a state."""
    state.execution = execution
    for optimiser in (state.generator_optimiser, state.discriminator_optimiser):
        for group in optimiser.param_groups:
            group["capturable"] = "graphed" in execution
    if "compiled" in execution:
        state.generator.compile()
        state.discriminator.compile()


def step_of(state: TrainingState, training: TrainingParameters, compute: Compute) -> Step:
    """Return the step of a state, run in its execution mode."""
    return Step(state, training, compute, CapturedSteps(compute) if "graphed" in state.execution else None)


class Trial:
    """Steps of a copy of a training on one rank, under a candidate calibration. The training itself does not change."""

    def __init__(self, plan: Plan, training: TrainingParameters, candidate: Calibration) -> None:
        self._training, self._device = training, plan.compute.device
        compute = replace(plan.compute, precision=candidate.precision, ranks=ALONE)
        state = create_state(plan.generator, plan.discriminator, training, compute)
        set_up(state, candidate)
        self._step = step_of(state, training, compute)
        size, source = plan.generator.image_size, torch.Generator().manual_seed(0)
        images = torch.rand(training.batch_size, plan.generator.channels, size, size, generator=source)
        self._images = images.to(self._device) * 2 - 1
        # Whole cycles, because steps with a penalty take longer. Warm up until all variants are captured.
        cycle = cycle_of(training)
        self._steps = cycle * math.ceil(_LEAST_STEPS / cycle)
        self._warm_up = cycle * (STEPS_BEFORE + 1) if "graphed" in candidate.execution else self._steps

    def images_per_second(self) -> float:
        """Warm up on the first call, then measure the speed over the minimum time."""
        if self._warm_up:
            self._take(self._warm_up)
            self._warm_up = 0
        while (seconds := self._take(self._steps)) < _LEAST_SECONDS[self._device.type]:
            self._steps *= 2
        return self._steps * self._training.batch_size / seconds

    def _take(self, steps: int) -> float:
        started = device_clock(self._device)
        for _ in range(steps):
            self._step(self._images)
        return device_clock(self._device) - started


def device_clock(device: torch.device) -> float:
    """Wait until a device has finished; return the time in seconds."""
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()
    return time.perf_counter()


class CapturedSteps:
    """Runs steps, by variant: first eagerly, then captured and replayed. If one cannot be captured, all run eagerly."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._capture = CudaCapture()
        self._is_possible = True
        self._taken: dict[Hashable, int] = {}
        self._buffers: dict[Hashable, tuple[Tensor, KeptDraws]] = {}
        self._replays: dict[Hashable, Replay] = {}

    def __call__(self, take: TakeStep, kind: Hashable, real_images: Tensor, source: torch.Generator) -> Tensor:
        """Run a step on real images, with draws from `source`."""
        # Run the first steps eagerly. The last of them creates the buffers. (Keep no `take`: it holds the training.)
        taken = self._taken[kind] = self._taken.get(kind, 0) + 1
        if taken == STEPS_BEFORE and self._is_possible:
            self._buffers[kind] = real_images.clone(), KeptDraws(source, self._compute)
            return take(*self._buffers[kind])

        # Capture the next one, without running it.
        if taken > STEPS_BEFORE and self._is_possible and kind not in self._replays:
            images, draws = self._buffers[kind]
            repeated = replace(draws, repeated=iter([buffer for _, buffer in draws.kept]))
            try:
                self._replays[kind] = self._capture(lambda: take(images, repeated))
            except RuntimeError as error:
                # Ending a failed capture raises another error, which says less.
                fault = in_short(error.__context__ or error)
                logger.warning("  steps cannot be captured as CUDA graphs here and run eagerly (%s)", fault)
                self._is_possible = False
                self._replays.clear()
        if kind not in self._replays:
            return take(real_images, Draws(source, self._compute))

        # Fill the buffers, and replay.
        images, draws = self._buffers[kind]
        images.copy_(real_images)
        draws.fill(source)
        return self._replays[kind]()


class CudaCapture:
    """Captures on the current CUDA device. Graphs are replayed one after the other, and share their memory."""

    _pool: Any = None

    def __call__(self, function: Callable[[], Tensor]) -> Replay:
        """Capture a function without running it. Replays return a copy, because the next one overwrites the result."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        # No earlier graph may be freed during a capture.
        gc.collect()
        try:
            # Meanwhile, the thread that gathers batches may allocate memory.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                values = function()
        except RuntimeError:
            # A failed capture may leave its own stream.
            torch.cuda.set_stream(stream)
            raise
        self._pool = graph.pool()

        def replay() -> Tensor:
            graph.replay()
            return values.clone()

        return replay


@dataclass(frozen=True)
class KeptDraws(Draws):
    """Draws into buffers, which `fill` refills later, or the buffers to be `repeated` in the same order."""

    kept: list[tuple[Draw, Tensor]] = field(default_factory=list)
    repeated: Iterator[Tensor] | None = None

    def _own(self, draw: Draw) -> Tensor:
        if self.repeated is not None:
            return next(self.repeated)
        own = super()._own(draw).clone()
        self.kept.append((draw, own))
        return own

    def fill(self, source: torch.Generator) -> None:
        """Refill the buffers from another source."""
        for draw, buffer in self.kept:
            own = self.compute.ranks.rows_of(draw(source))
            buffer.copy_(staged(own, buffer.device), non_blocking=True)
