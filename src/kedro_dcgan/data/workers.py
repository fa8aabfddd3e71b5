"""Many tasks in order, over the cores of this machine or a Ray cluster.

The function is pure and the results come in the order of the tasks, so what is made of them does not
depend on how many workers there are or where.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Literal, TypeVar

from kedro_dcgan.errors import ParameterError, WorkerError

Task = TypeVar("Task")
Result = TypeVar("Result")
Engine = Literal["processes", "ray"]

# So many tasks wait for each worker: enough to keep it busy, few enough to bound the memory.
_AHEAD = 8
# Seconds. This process works while a thread of it takes in what other workers have done: with Python's
# 5 ms that thread would wait longer, for each part of a result, than the workers need to make it.
_SWITCH_INTERVAL = 0.0005


def map_in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int, engine: Engine = "processes"
) -> Iterator[Result]:
    """Yield `function(task)` for each task, in order, while `workers` processes work ahead.

    At most eight tasks a worker are under way, so memory does not grow with their number.

    Raises:
        WorkerError: if a worker process dies.
        ParameterError: if Ray is asked for and not installed or not running.
    """
    if engine == "ray":
        return _with_ray(function, tasks, workers)
    return map(function, tasks) if workers == 1 else _with_processes(function, tasks, workers)


def _with_processes(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    from concurrent.futures.process import BrokenProcessPool

    import loky

    # This process is one of the workers: whatever no other has begun when its result is wanted, it
    # does itself. So work begins at once, while the others are still starting.
    pool = loky.ProcessPoolExecutor(workers - 1, initializer=_begin_work, initargs=(os.getpid(),))
    pending: deque[tuple[Task, Future[Result]]] = deque()
    interval_before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        for task in tasks:
            pending.append((task, pool.submit(function, task)))
            if len(pending) >= _AHEAD * workers:
                yield _first(function, pending)
        while pending:
            yield _first(function, pending)
    except BrokenProcessPool as error:
        raise WorkerError(
            "the worker processes must stay alive (one was ended, most likely for lack of memory). "
            "Lower `ingestion.workers`, or `ingestion.max_pixels`, and run again."
        ) from error
    finally:
        sys.setswitchinterval(interval_before)
        pool.shutdown(wait=True, kill_workers=True)


def _first(function: Callable[[Task], Result], pending: "deque[tuple[Task, Future[Result]]]") -> Result:
    while not pending[0][1].done():
        # Do the first task that no worker has begun.
        place = next((place for place, (_, future) in enumerate(pending) if future.cancel()), None)
        if place is None:
            break
        task = pending[place][0]
        pending[place] = (task, _done(function, task))
    return pending.popleft()[1].result()


def _done(function: Callable[[Task], Result], task: Task) -> "Future[Result]":
    future: Future[Result] = Future()
    try:
        future.set_result(function(task))
    except Exception as error:  # It is raised when its turn comes.
        future.set_exception(error)
    return future


def _begin_work(parent: int) -> None:
    # Ctrl-C reaches all processes of a terminal: the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    # A process that was killed cannot end its workers: they have to look for themselves.
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _with_ray(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    ray = join_ray()
    remote = ray.remote(lambda task: function(task))
    ahead = _AHEAD * max(workers, int(ray.cluster_resources().get("CPU", 0)))
    pending: deque[Any] = deque()
    try:
        for task in tasks:
            pending.append(remote.remote(task))
            if len(pending) >= ahead:
                yield ray.get(pending.popleft())
        while pending:
            yield ray.get(pending.popleft())
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise WorkerError(
            f"the Ray cluster must stay up while it works ({type(error).__name__}). Look at ray status, then run again."
        ) from error


def join_ray() -> Any:
    """Join the running Ray cluster, until this process ends, and return Ray.

    A cluster is never started: its ports are open to the whole network.

    Raises:
        ParameterError: if Ray is not installed or not running.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise ParameterError(
            "`ingestion.engine` must be processes where Ray is not installed (got ray). "
            "Install it: pip install 'kedro-dcgan[ray]'."
        ) from None
    if ray.is_initialized():
        return ray
    try:
        ray.init(address="auto", log_to_driver=False, logging_level=logging.WARNING)
    except ConnectionError:
        raise ParameterError(
            "`ingestion.engine` must be processes where no Ray cluster is running (got ray). "
            "Start one with ray start --head, or name one in RAY_ADDRESS."
        ) from None
    return ray
