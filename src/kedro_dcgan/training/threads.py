"""The number of torch's intra-op threads on a CPU: one per usable core, or fewer if that is faster.

Fewer are faster next to a busy program. OpenMP threads spin at the barrier after each operation: if another program
preempts one of them, all wait.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from kedro_dcgan.limits import usable_cores

# Minimum rounds, and minimum gain, before fewer threads win. One round is enough where more threads win clearly.
_LEAST_ROUNDS, _LEAST_GAIN, _CLEAR_GAIN = 4, 1.03, 1.2
# Keep measuring while other threads of this process use this share of a core. After this many seconds, decide: next to
# busy programs, a single measurement can take longer.
_OWN_LOAD, _PATIENCE = 0.2, 10.0


def most_threads() -> int:
    """Return how many threads torch may use: one for each usable core, or OMP_NUM_THREADS if less."""
    # Torch ignores the CPU quota of a container: with one of 1 CPU, two threads train at 0.6 times the speed of one.
    return min(torch.get_num_threads(), usable_cores())


def idle_threads(seconds: float = 0.2) -> int:
    """Return how many threads torch may use without competing with other programs: one for each idle core, at least 1.

    This looks at the cores for a moment, for work that is too short to time (`fast_threads`).
    """
    before, own = _idle_seconds(), time.process_time()
    time.sleep(seconds)
    # The work of other threads of this process, such as imports, ends soon.
    idle = (_idle_seconds() - before + time.process_time() - own) / seconds
    return max(1, min(most_threads(), round(idle)))


def _idle_seconds() -> float:
    import psutil  # Not installed where a generator is served.

    # Only the cores that this process may use count.
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    times = enumerate(psutil.cpu_times(percpu=True))
    return float(sum(one.idle + getattr(one, "iowait", 0) for core, one in times if not allowed or core in allowed))


@contextmanager
def torch_threads(count: int) -> Iterator[int]:
    """Set torch's intra-op threads; yield their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(before)


@contextmanager
def fast_threads(work: Callable[[], object]) -> Iterator[int]:
    """Run with the number of threads that is fastest for `work`, a short sample of the load; yield the number."""

    def speed() -> float:
        started = time.perf_counter()
        work()
        return 1 / (time.perf_counter() - started)

    threads, _ = fewest_fast_threads(speed, most_threads())
    with torch_threads(threads):
        yield threads


def fewest_fast_threads(speed: Callable[[], float], most: int) -> tuple[int, dict[int, float]]:
    """Halve the number of threads for as long as `speed()` is higher with fewer; return it, and the speed by number."""
    threads, speeds = most, dict[int, float]()
    with torch_threads(most):
        while threads > 1 and _are_fewer_faster(speed, threads, speeds):
            threads //= 2
    return threads, speeds


def _are_fewer_faster(speed: Callable[[], float], more: int, speeds: dict[int, float]) -> bool:
    fewer, rounds, begin = more // 2, 0, time.perf_counter()
    while True:
        for count in (more, fewer):
            torch.set_num_threads(count)
            if count not in speeds:
                # Warm up: libraries initialise again for each number of threads.
                speed()
            started, busy, own = time.perf_counter(), time.process_time(), time.thread_time()
            speeds[count] = max(speeds.get(count, 0.0), speed())
            # The CPU time of unrelated threads: those of an operation are as busy as this one.
            others = time.process_time() - busy - count * (time.thread_time() - own)
            load = others / (time.perf_counter() - started)
        rounds += 1
        is_late = time.perf_counter() - begin >= _PATIENCE
        if load > _OWN_LOAD and not is_late:
            continue
        if speeds[more] >= speeds[fewer] * (_CLEAR_GAIN if rounds == 1 else 1):
            return False
        if rounds >= _LEAST_ROUNDS or is_late:
            return speeds[fewer] > _LEAST_GAIN * speeds[more]
