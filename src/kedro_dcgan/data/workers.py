"""A parallel map over the cores of this machine or a Ray cluster.

The function is pure and results come in the order of the tasks, so the outcome does not depend on the number of workers
or on where they run.
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

# Queued tasks per worker: enough to keep it busy, few enough to bound the memory.
_QUEUED = 8
# Seconds. This process works while one of its threads receives results. With Python's default of 5 ms, the thread would
# wait longer for each part of a result than the workers take to produce it.
_SWITCH_INTERVAL = 0.0005


def map_in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int, engine: Engine = "processes"
) -> Iterator[Result]:
    """Yield `function(task)` for each task, in order, while `workers` processes work ahead.

    At most eight tasks per worker are queued or running, so memory does not grow with the number of tasks.

    Raises:
        WorkerError: if a worker process dies.
    """
    if engine == "ray":
        return _with_ray(function, tasks, workers)
    return map(function, tasks) if workers == 1 else _with_processes(function, tasks, workers)


def _with_processes(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    from concurrent.futures.process import BrokenProcessPool

    import loky

    # This process is one of the workers: it runs tasks that no other has started when their result is needed. So work
    # begins at once, while the other processes are still starting.
    pool = loky.ProcessPoolExecutor(workers - 1, initializer=_start_worker, initargs=(os.getpid(),))
    pending: deque[tuple[Task, Future[Result]]] = deque()
    interval_before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        for task in tasks:
            pending.append((task, pool.submit(function, task)))
            if len(pending) >= _QUEUED * workers:
                yield _next_result(function, pending)
        while pending:
            yield _next_result(function, pending)
    except BrokenProcessPool as error:
        raise WorkerError(
            "the worker processes must stay alive (one was killed, most likely for lack of memory). "
            "Lower `ingestion.workers`, or `ingestion.max_pixels`, and run again."
        ) from error
    finally:
        sys.setswitchinterval(interval_before)
        pool.shutdown(wait=True, kill_workers=True)


def _next_result(function: Callable[[Task], Result], pending: "deque[tuple[Task, Future[Result]]]") -> Result:
    """Return the first pending result; until it is there, run the first task that no worker has started."""
    while not pending[0][1].done():
        place = next((place for place, (_, future) in enumerate(pending) if future.cancel()), None)
        if place is None:
            break
        task, future = pending[place][0], Future[Result]()
        try:
            future.set_result(function(task))
        except Exception as error:  # Raised when this result is next in order.
            future.set_exception(error)
        pending[place] = (task, future)
    return pending.popleft()[1].result()


def _start_worker(parent: int) -> None:
    # Ctrl-C reaches all processes of a terminal: the parent stops its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def exit_with_parent() -> None:
        # A killed process cannot stop its workers: they watch their parent.
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()


def _with_ray(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    ray = join_ray()
    remote = ray.remote(lambda task: function(task))
    ahead = _QUEUED * max(workers, int(ray.cluster_resources().get("CPU", 0)))
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
            f"the Ray cluster must stay up during the run ({type(error).__name__}). Check ray status, then run again."
        ) from error


def join_ray() -> Any:
    """Connect to the running Ray cluster, until this process ends, and return the Ray module.

    It never starts a cluster, whose ports would be open to the whole network.

    Raises:
        ParameterError: if Ray is not installed or not running.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray

        if not ray.is_initialized():
            ray.init(address="auto", log_to_driver=False, logging_level=logging.WARNING)
    except ImportError:
        raise ParameterError(
            "`ingestion.engine` must be processes where Ray is not installed (got ray). "
            "Install it: pip install 'kedro-dcgan[ray]'."
        ) from None
    except ConnectionError:
        raise ParameterError(
            "`ingestion.engine` must be processes where no Ray cluster is running (got ray). "
            "Start one with ray start --head, or name one in RAY_ADDRESS."
        ) from None
    return ray
