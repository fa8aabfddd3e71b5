"""CUDA graphs: a step is captured once per variant and replayed, so the GPU gets its hundreds of kernels in one call.

A graph reads and writes the same memory in each replay. So the real images, their classes and the random draws of a
step lie in buffers that are filled before the replay. https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

import gc
import logging
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from kedro_dcgan.errors import in_short
from kedro_dcgan.training.data import Draw, Draws
from kedro_dcgan.training.devices import Compute, staged

logger = logging.getLogger(__name__)

# Warm-up steps of a variant, run eagerly before one is captured: optimisers create their moments, and libraries choose
# their algorithms. The last of them creates the buffers.
STEPS_BEFORE = 3

TakeStep = Callable[[Tensor, Tensor | None, Draws], Tensor]
Replay = Callable[[], Tensor]


class CapturedSteps:
    """Runs steps, by variant: first eagerly, then captured and replayed.

    If one cannot be captured, all run eagerly, and `fault` says why.
    """

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._capture = CudaCapture()
        self.fault: str | None = None
        self._taken: dict[Hashable, int] = {}
        self._buffers: dict[Hashable, tuple[Tensor, Tensor | None, BufferedDraws]] = {}
        self._replays: dict[Hashable, Replay] = {}

    def __call__(
        self, take: TakeStep, kind: Hashable, real_images: Tensor, classes: Tensor | None, source: torch.Generator
    ) -> Tensor:
        """Run a step on real images and their classes, if any, with draws from `source`."""
        # Run the first steps eagerly. The last of them creates the buffers. (Keep no `take`: it holds the training.)
        taken = self._taken[kind] = self._taken.get(kind, 0) + 1
        if taken == STEPS_BEFORE and not self.fault:
            labels = None if classes is None else classes.clone()
            self._buffers[kind] = real_images.clone(), labels, BufferedDraws(source, self._compute)
            return take(*self._buffers[kind])

        # Capture the next one, without running it.
        if taken > STEPS_BEFORE and not self.fault and kind not in self._replays:
            images, labels, draws = self._buffers[kind]
            repeated = RepeatedDraws(source, self._compute, iter([buffer for _, buffer in draws.buffers]))
            try:
                self._replays[kind] = self._capture(lambda: take(images, labels, repeated))
            except RuntimeError as error:
                # Ending a failed capture raises another error, which says less.
                self.fault = in_short(error.__context__ or error)
                logger.warning("  steps cannot be captured as CUDA graphs here and run eagerly (%s)", self.fault)
                self._replays.clear()
        if kind not in self._replays:
            return take(real_images, classes, Draws(source, self._compute))

        # Fill the buffers, and replay.
        images, labels, draws = self._buffers[kind]
        images.copy_(real_images)
        if labels is not None and classes is not None:
            labels.copy_(classes)
        draws.refill(source)
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
            # During a capture, the thread that gathers batches may allocate memory.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                values = function()
        except RuntimeError:
            # A failed capture may leave its own stream as the current one.
            torch.cuda.set_stream(stream)
            raise
        self._pool = graph.pool()

        def replay() -> Tensor:
            graph.replay()
            return values.clone()

        return replay


@dataclass(frozen=True)
class BufferedDraws(Draws):
    """Draws into new buffers, which `refill` draws again from another source."""

    buffers: list[tuple[Draw, Tensor]] = field(default_factory=list)

    def _draw_rows(self, draw: Draw) -> Tensor:
        buffer = super()._draw_rows(draw).clone()
        self.buffers.append((draw, buffer))
        return buffer

    def refill(self, source: torch.Generator) -> None:
        """Draw into the same buffers, in the same order."""
        for draw, buffer in self.buffers:
            rows = self.compute.ranks.rows_of(draw(source))
            buffer.copy_(staged(rows, buffer.device), non_blocking=True)


@dataclass(frozen=True)
class RepeatedDraws(Draws):
    """Returns the buffers of `BufferedDraws` in their order: a captured step reads them in each replay."""

    buffers: Iterator[Tensor]

    def _draw_rows(self, draw: Draw) -> Tensor:
        return next(self.buffers)
