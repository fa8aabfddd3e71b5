import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from kedro_dcgan.data.workers import map_in_order
from kedro_dcgan.errors import ParameterError, SourceError, WorkerError


def square(number):
    # Earlier tasks are slower: the order of completion differs from that of the tasks.
    time.sleep(0.02 / (1 + number))
    return number * number


def fail_at_three(number):
    if number == 3:
        raise SourceError("three is gone")
    return number


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_tasks(workers):
    assert list(map_in_order(square, range(30), workers)) == [number * number for number in range(30)]


def test_only_a_few_tasks_are_queued():
    taken = []
    results = map_in_order(square, (taken.append(number) or number for number in range(1000)), 2)
    for _ in range(5):
        next(results)
    assert len(taken) <= 5 + 8 * 2
    results.close()


def test_the_calling_process_works_too():
    assert os.getpid() in set(map_in_order(process_of, range(40), 2))


def process_of(_):
    time.sleep(0.01)
    return os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_error_in_a_task_reaches_the_caller(workers):
    results = map_in_order(fail_at_three, range(10), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(SourceError, match="three is gone"):
        list(results)


def test_killed_worker_raises_a_worker_error():
    with pytest.raises(WorkerError, match="must stay alive"):
        list(map_in_order(die_in_a_worker, [os.getpid()] * 12, 2))


def die_in_a_worker(main_process):
    if os.getpid() != main_process:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)


def test_ray_is_joined_and_never_started(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ParameterError, match="where no Ray cluster is running"):
        list(map_in_order(square, range(3), 2, "ray"))


@pytest.fixture
def ray_cluster(tmp_path, monkeypatch):
    """A cluster of this machine alone, with its own session folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # The names of Ray's sockets must be short.
    folder = tempfile.mkdtemp(prefix="ray-")
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--num-cpus=2", "--port=0"]
    command += ["--include-dashboard=false", "--temp-dir", folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        address = next(filter(None, (re.search(r"--address='([^']+)'", line) for line in process.stdout)))[1]
        monkeypatch.setenv("RAY_ADDRESS", address)
        yield
        __import__("ray").shutdown()
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    shutil.rmtree(folder)


@pytest.mark.usefixtures("ray_cluster")
def test_ray_runs_the_same_function_on_a_cluster():
    assert [result.tolist() for result in map_in_order(partial(np.full, 2), range(30), 2, "ray")] == [
        [number, number] for number in range(30)
    ]
    with pytest.raises(SourceError, match="three is gone"):
        list(map_in_order(_fails_at_three(), range(5), 2, "ray"))


def _fails_at_three():
    # Ray's workers cannot import this file, so send the function by value.
    from kedro_dcgan.errors import SourceError

    def fail(number):
        if number == 3:
            raise SourceError("three is gone")
        return number

    return fail
