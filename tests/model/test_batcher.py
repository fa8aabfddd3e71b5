"""Rows of concurrent requests share batches, and no request sees the others."""

import asyncio
import itertools
import threading

import pytest

from kedro_dcgan.errors import RequestError
from kedro_dcgan.model.batcher import Batcher, BatchLimits


class Doubling:
    """Doubles numbers, fails for negative ones, keeps each batch, and waits for the gate, except with ones only."""

    def __init__(self):
        self.batches, self.gate = [], threading.Event()
        self.gate.set()

    def __call__(self, rows):
        self.batches.append(list(rows))
        assert set(rows) == {1} or self.gate.wait(20)
        if min(rows) < 0:
            raise ValueError(min(rows))
        return [2 * row for row in rows]


def run(scenario, workers=1, chunk=1, batch=8, queue=100):
    """Run a coroutine of a batcher and its work; return the work and the result."""

    async def main():
        work = Doubling()
        batcher = Batcher(work, BatchLimits(chunk, batch, queue), workers)
        try:
            async with asyncio.timeout(20):
                return work, await scenario(batcher, work)
        finally:
            work.gate.set()
            batcher.close()

    return asyncio.run(main())


async def occupy(batcher, work):
    """Return the task of a request with which the only worker is busy."""
    work.gate.clear()
    first = asyncio.create_task(batcher.compute([0]))
    while [0] not in work.batches:
        await asyncio.sleep(0.001)
    return first


async def queued(batcher, *requests):
    """Return the tasks of requests that wait in this order."""
    tasks = [asyncio.create_task(batcher.compute(rows)) for rows in requests]
    await asyncio.sleep(0)
    return tasks


def test_each_request_gets_its_results_in_order():
    requests = [list(range(start, start + length)) for start, length in ((0, 1), (10, 30), (50, 7), (70, 1), (80, 20))]

    async def scenario(batcher, work):
        return await asyncio.gather(*map(batcher.compute, requests))

    for workers in (1, 3):
        work, results = run(scenario, workers)
        assert results == [[2 * row for row in rows] for rows in requests]
        assert sorted(itertools.chain(*work.batches)) == sorted(itertools.chain(*requests))
        assert max(map(len, work.batches)) <= 8


def test_batches_may_end_in_another_order():
    async def scenario(batcher, work):
        work.gate.clear()
        task = asyncio.create_task(batcher.compute([0] * 8 + [1] * 8))
        while len(work.batches) < 2:
            await asyncio.sleep(0.001)
        # The second half ends first.
        await asyncio.sleep(0.05)
        assert not task.done()
        work.gate.set()
        return await task

    _, results = run(scenario, workers=2)
    assert results == [0] * 8 + [2] * 8


def test_requests_that_arrive_together_or_accumulate_share_a_batch():
    async def scenario(batcher, work):
        await asyncio.gather(*(batcher.compute([row]) for row in (1, 2, 3)))
        first = await occupy(batcher, work)
        tasks = await queued(batcher, [4], [5])
        tasks += await queued(batcher, [6])
        work.gate.set()
        await asyncio.gather(first, *tasks)

    work, _ = run(scenario)
    assert work.batches[0] == [1, 2, 3]
    assert work.batches[-1] == [4, 5, 6]


def test_free_workers_share_what_waits_in_whole_chunks():
    async def scenario(batcher, work):
        await batcher.compute(list(range(10)))

    work, _ = run(scenario, workers=2, chunk=4, batch=16)
    assert sorted(map(len, work.batches)) == [2, 8]


def test_large_request_delays_a_small_one_by_a_batch():
    async def scenario(batcher, work):
        large = asyncio.create_task(batcher.compute(list(range(80))))
        await asyncio.sleep(0)
        await batcher.compute([100])
        await large

    work, _ = run(scenario)
    assert next(number for number, batch in enumerate(work.batches) if 100 in batch) <= 1


def test_large_requests_take_turns():
    async def scenario(batcher, work):
        first = await occupy(batcher, work)
        tasks = await queued(batcher, [1] * 40, [2] * 8)
        work.gate.set()
        await asyncio.gather(first, *tasks)

    work, _ = run(scenario)
    assert [batch.count(2) for batch in work.batches[1:4]] == [4, 4, 0]


def test_only_the_requests_whose_rows_fail_fail():
    async def scenario(batcher, work):
        first = await occupy(batcher, work)
        tasks = await queued(batcher, [1], [-2], [3, 4, 5], [6, -7, 8])
        work.gate.set()
        return await asyncio.gather(first, *tasks, return_exceptions=True)

    _, (_, one, two, three, four) = run(scenario)
    assert (one, three) == ([2], [6, 8, 10])
    assert (two.args, four.args) == ((-2,), (-7,))


def test_rows_of_a_cancelled_or_failed_request_are_dropped():
    async def scenario(batcher, work):
        first = await occupy(batcher, work)
        tasks = await queued(batcher, [1] * 50, [-1] * 50, [3])
        tasks[0].cancel()
        work.gate.set()
        return await asyncio.gather(first, *tasks, return_exceptions=True)

    work, results = run(scenario)
    assert results[3] == [6]
    assert not any(1 in batch for batch in work.batches)
    # Its first batch, and the halves of it.
    assert sum(len(batch) == 8 for batch in work.batches) == 1


def test_full_queue_refuses_large_requests_only():
    async def scenario(batcher, work):
        first = await occupy(batcher, work)
        tasks = await queued(batcher, [1] * 60)
        with pytest.raises(RequestError) as error:
            await batcher.compute([2] * 60)
        assert error.value.status == 503
        tasks += await queued(batcher, *[[3]] * 60)
        work.gate.set()
        return await asyncio.gather(first, *tasks)

    _, results = run(scenario)
    assert results[1:] == [[2] * 60, *[[6]] * 60]


def test_a_free_worker_starts_at_once():
    async def scenario(batcher, work):
        first = await occupy(batcher, work)
        tasks = await queued(batcher, [2])
        for _ in range(2000):
            if len(work.batches) == 2:
                break
            await asyncio.sleep(0.001)
        # The first request is still being computed.
        assert not first.done()
        work.gate.set()
        await asyncio.gather(first, *tasks)

    work, _ = run(scenario, workers=2)
    assert work.batches == [[0], [2]]
