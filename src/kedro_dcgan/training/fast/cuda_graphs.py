"""Steps that are recorded once and replayed: a GPU gets their hundreds of kernels in one call (CUDA graphs).

A recording reads and writes the same memory each time. So what is new in a step, its real images and what it draws,
lies in buffers that are filled before the replay.
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
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

# Steps of a kind that are taken as they are written before one is recorded: optimisers make their moments, and
# libraries choose their algorithms. The last of them makes the buffers.
STEPS_BEFORE = 3

TakeStep = Callable[[Tensor, Draws], Tensor]
Replay = Callable[[], Tensor]
# Turns a function, which it does not run, into what does the same whenever it is called, on the same memory.
Record = Callable[[Callable[[], Tensor]], Replay]


class RecordedSteps:
    """Takes steps as a function would, once there are some of a kind from a recording.

    Steps of a kind do the same operations on tensors of the same shapes. If one cannot be recorded, a warning says so
    once, and all are taken as they are written.
    """

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._record: Record = CudaRecorder()
        self._is_possible = True
        self._taken: dict[Hashable, int] = {}
        self._buffers: dict[Hashable, _Buffers] = {}
        self._replays: dict[Hashable, Replay] = {}

    def __call__(self, take: TakeStep, kind: Hashable, real_images: Tensor, source: torch.Generator) -> Tensor:
        """Take a step on real images, with what is drawn from `source`.

        (`take` is not kept: what belongs to a step would hold on to it, and both to a GPU's memory.)
        """
        taken = self._taken[kind] = self._taken.get(kind, 0) + 1
        if not self._is_possible or taken < STEPS_BEFORE:
            return take(real_images, Draws(source, self._compute))
        if taken == STEPS_BEFORE:
            buffers = self._buffers[kind] = _Buffers(real_images.clone(), KeptDraws(source, self._compute))
            return take(buffers.real_images, buffers.draws)
        if kind not in self._replays and not self._try_to_record(take, kind):
            return take(real_images, Draws(source, self._compute))
        self._buffers[kind].fill(real_images, source)
        return self._replays[kind]()

    def _try_to_record(self, take: TakeStep, kind: Hashable) -> bool:
        buffers = self._buffers[kind]
        try:
            self._replays[kind] = self._record(lambda: take(buffers.real_images, buffers.draws.again()))
        except RuntimeError as error:
            # Ending a recording that has failed fails, too, and says less.
            fault = in_short(error.__context__ or error)
            logger.warning("  steps cannot be recorded as CUDA graphs here, and are not (%s)", fault)
            self._is_possible = False
            self._replays.clear()
        return kind in self._replays


class CudaRecorder:
    """Records on the current CUDA device. Recordings are replayed one after the other, and share their memory."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, function: Callable[[], Tensor]) -> Replay:
        """Record a function without running it; what it returns is copied, since the next replay writes over it."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        # No recording of before may be taken apart while this one is made.
        gc.collect()
        try:
            # The thread that gathers batches may allocate memory meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                values = function()
        except RuntimeError:
            # One that has failed may leave its own.
            torch.cuda.set_stream(stream)
            raise
        self._pool = graph.pool()

        def replay() -> Tensor:
            graph.replay()
            return values.clone()

        return replay


@dataclass(frozen=True)
class KeptDraws(Draws):
    """Draws that keep what they have drawn, to be drawn anew in the same places."""

    kept: list[tuple[Draw, Tensor]] = field(default_factory=list)

    def _own(self, draw: Draw) -> Tensor:
        own = super()._own(draw).clone()
        self.kept.append((draw, own))
        return own

    def fill(self, source: torch.Generator) -> None:
        """Draw all of it from another source."""
        for draw, buffer in self.kept:
            own = self.compute.ranks.rows_of(draw(source))
            buffer.copy_(staged(own, buffer.device), non_blocking=True)

    def again(self) -> Draws:
        """Return draws that give the same buffers in the same order."""
        return _Buffered(self.source, self.compute, iter([buffer for _, buffer in self.kept]))


@dataclass(frozen=True)
class _Buffered(Draws):
    buffers: Iterator[Tensor]

    def _own(self, draw: Draw) -> Tensor:
        return next(self.buffers)


@dataclass(frozen=True)
class _Buffers:
    real_images: Tensor
    draws: KeptDraws

    def fill(self, real_images: Tensor, source: torch.Generator) -> None:
        self.real_images.copy_(real_images)
        self.draws.fill(source)
