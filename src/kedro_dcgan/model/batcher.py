"""Batches: the rows of concurrent requests are computed together, and each request gets its own results.

A request is a list of rows with one result each. Requests wait in one queue. A free worker thread takes a batch of what
has accumulated, one row of each request in turn, so a large request delays a small one by a batch, not by its length.
There is no timer: while a worker is free, nobody waits. Requests that arrive while all workers are busy, or in the same
iteration of the event loop, share batches.

All scheduling happens on the event loop, without locks. Only `compute` runs in the worker threads.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from kedro_dcgan.errors import RequestError

Row = TypeVar("Row")
Result = TypeVar("Result")


class _Request(Generic[Row, Result]):
    """Rows, the results that have arrived, and the future of all of them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows, self.taken = rows, 0
        self.results: dict[int, Result] = {}
        self.answer: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()

    @property
    def waiting(self) -> int:
        """The number of rows that no worker has taken; 0 if the request has failed or is cancelled."""
        return 0 if self.answer.done() else len(self.rows) - self.taken

    def store(self, index: int, result: Result | Exception) -> None:
        """Keep the result of a row; the last result, or the first exception, ends the request."""
        if self.answer.done():
            return
        if isinstance(result, Exception):
            self.answer.set_exception(result)
            return
        self.results[index] = result
        if len(self.results) == len(self.rows):
            self.answer.set_result([self.results[row] for row in range(len(self.rows))])


@dataclass(frozen=True)
class BatchLimits:
    """The number of rows in a batch, and in the queue."""

    chunk: int  # `compute` is fastest for multiples of this number of rows
    batch: int  # at most: a request that arrives now waits for that long
    queue: int  # at most: memory, and the time until the last of them is answered


class Batcher(Generic[Row, Result]):
    """Computes requests in batches on `workers` threads.

    `compute` returns one result per row. If it raises an exception, the batch is halved until the rows that cause it
    are found, so only their requests fail. It may therefore be called again with the same rows.
    """

    def __init__(self, compute: Callable[[Sequence[Row]], Sequence[Result]], limits: BatchLimits, workers: int) -> None:
        self._compute, self._limits = compute, limits
        self._pool = ThreadPoolExecutor(workers, "batcher")
        self._idle = workers
        self._queue: deque[_Request[Row, Result]] = deque()
        self._is_scheduled = False

    async def compute(self, rows: Sequence[Row]) -> list[Result]:
        """Return the results of at least one row, in order. If the caller is cancelled, the other rows are dropped.

        Raises:
            RequestError: with status 503, if a request of more than one batch does not fit in the queue. Smaller ones
                are always accepted: the number of connections limits them, and large ones must not shut them out.
            Exception: of the first row that failed.
        """
        if len(rows) > self._limits.batch and len(rows) + self._waiting() > self._limits.queue:
            raise RequestError("The server is busy with other requests. Send this one again in some seconds.", 503)
        request = _Request[Row, Result](rows)
        self._queue.append(request)
        if not self._is_scheduled:
            # Not now: requests whose bytes have arrived together are read in the same iteration of the loop.
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._start)
        return await request.answer

    def close(self) -> None:
        """Wait for the batches being computed, and end the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _waiting(self) -> int:
        return sum(request.waiting for request in self._queue)

    def _start(self) -> None:
        """Give each free worker a batch."""
        self._is_scheduled = False
        while self._idle and (batch := self._take()):
            self._idle -= 1
            rows = [request.rows[index] for request, index in batch]
            future = asyncio.get_running_loop().run_in_executor(self._pool, self._attempt, rows)
            future.add_done_callback(partial(self._finish, batch))

    def _take(self) -> list[tuple[_Request[Row, Result], int]]:
        """Remove the next batch from the queue: requests, and the index of a row of each."""
        # Share what waits between the free workers, in whole chunks.
        chunk = self._limits.chunk
        size = min(-(-self._waiting() // (self._idle * chunk)) * chunk, self._limits.batch)
        batch: list[tuple[_Request[Row, Result], int]] = []
        while self._queue and len(batch) < size:
            request = self._queue.popleft()
            if request.waiting:
                batch.append((request, request.taken))
                request.taken += 1
            if request.waiting:
                self._queue.append(request)
        return batch

    def _attempt(self, rows: Sequence[Row]) -> list[Result | Exception]:
        """Return the result, or the exception, of each row. Runs in a worker thread."""
        try:
            return list(self._compute(rows))
        except Exception as error:
            if len(rows) == 1:
                return [error]
        half = len(rows) // 2
        return self._attempt(rows[:half]) + self._attempt(rows[half:])

    def _finish(
        self,
        batch: list[tuple[_Request[Row, Result], int]],
        future: asyncio.Future[list[Result | Exception]],
    ) -> None:
        self._idle += 1
        if future.cancelled():
            # The server stops.
            return
        for (request, index), result in zip(batch, future.result(), strict=True):
            request.store(index, result)
        self._start()
