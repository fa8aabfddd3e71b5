"""The number of threads is reduced only if that is faster."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
import torch

from kedro_dcgan.training import threads
from kedro_dcgan.training.threads import fast_threads, fewest_fast_threads, idle_threads, most_threads, torch_threads


@pytest.fixture(autouse=True)
def eight_threads():
    with torch_threads(8):
        yield


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        # An idle machine; a busy one; a small network on many cores; a gain within the noise.
        ({8: 8.0, 4: 5.0}, 8),
        ({8: 0.5, 4: 0.7, 2: 0.9, 1: 1.0}, 1),
        ({8: 1.0, 4: 2.0, 2: 1.5}, 4),
        ({8: 1.0, 4: 1.02}, 8),
    ],
)
def test_threads_are_halved_while_that_is_faster(speeds, expected):
    cold = set(speeds)

    def speed():
        count = torch.get_num_threads()
        if count in cold:
            # The first call with each number of threads is a warm-up and does not count.
            cold.remove(count)
            return 1000.0
        return speeds[count]

    chosen, measured = fewest_fast_threads(speed, 8)
    assert (chosen, measured) == (expected, speeds)
    assert torch.get_num_threads() == 8


def test_one_slow_measurement_does_not_change_the_choice():
    calls = []

    def speed():
        calls.append(torch.get_num_threads())
        # The warm-up and the first three measurements with eight threads are slow.
        return 0.1 if calls.count(8) <= 4 and calls[-1] == 8 else {8: 8.0, 4: 5.0}[calls[-1]]

    assert fewest_fast_threads(speed, 8)[0] == 8


@pytest.fixture
def clock(monkeypatch):
    """Simulated clocks: seconds of wall time, of this process and of this thread."""
    seconds = {"wall": 0.0, "process": 0.0, "thread": 0.0, "calls": 0}
    monkeypatch.setattr(threads.time, "perf_counter", lambda: seconds["wall"])
    monkeypatch.setattr(threads.time, "process_time", lambda: seconds["process"])
    monkeypatch.setattr(threads.time, "thread_time", lambda: seconds["thread"])
    return seconds


def run_for(clock, seconds, count, is_importing):
    """Advance the clocks. An import holds the GIL, so the timed thread gets a tenth of the time."""
    own = 0.1 * seconds if is_importing else seconds
    clock["wall"] += seconds
    clock["thread"] += own
    clock["process"] += count * own + seconds * is_importing
    clock["calls"] += 1


@pytest.mark.parametrize(("speeds", "expected"), [({8: 8.0, 4: 5.0}, 8), ({8: 1.0, 4: 5.0, 2: 4.0}, 4)])
def test_timing_waits_for_other_threads_of_this_process(clock, speeds, expected):
    def speed():
        # An import uses a core in the first 16 calls, and distorts their speeds.
        count, is_importing = torch.get_num_threads(), clock["calls"] < 16
        run_for(clock, 0.1, count, is_importing)
        return (0.1 if count == expected else 0.9) if is_importing else speeds[count]

    assert fewest_fast_threads(speed, 8)[0] == expected
    assert clock["calls"] > 16


def test_slow_measurements_are_not_repeated(clock):
    def speed():
        # Next to a busy program, eight threads take 9 seconds for the work of one.
        count = torch.get_num_threads()
        run_for(clock, 9.0 if count == 8 else 0.5, count, is_importing=False)
        return {8: 15.0, 4: 214.0, 2: 100.0}[count]

    assert fewest_fast_threads(speed, 8)[0] == 4
    # A warm-up and a measurement, instead of four.
    assert clock["wall"] < 25


def test_waiting_for_other_threads_times_out(clock):
    def speed():
        run_for(clock, 0.5, torch.get_num_threads(), is_importing=True)
        return {8: 0.1, 4: 1.0, 2: 0.5}[torch.get_num_threads()]

    assert fewest_fast_threads(speed, 8)[0] == 4
    # It waits once for each pair of thread counts.
    assert 20 <= clock["wall"] < 26


def test_fast_threads_sets_the_fastest_count_and_restores_the_old_one(monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)

    def work():
        time.sleep({1: 0.001, 2: 0.01}[torch.get_num_threads()])

    with torch_threads(2):
        with fast_threads(work) as count:
            assert (count, torch.get_num_threads()) == (1, 1)
        assert torch.get_num_threads() == 2


def test_threads_are_capped_by_cores_and_openmp(monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 3)
    assert most_threads() == 3
    with torch_threads(2):
        assert most_threads() == 2


@pytest.mark.parametrize(
    ("others", "own", "allowed", "expected"),
    [
        ((0.0, 0.0, 0.05, 0.1), 0.0, {0, 1, 2, 3}, 4),
        ((1.0, 0.2, 0.0, 0.0), 0.0, {0, 1, 2, 3}, 3),
        ((1.0, 1.0, 1.0, 1.0), 0.0, {0, 1, 2, 3}, 1),
        # The imports of this process do not count, nor do cores that it may not use.
        ((1.0, 0.0, 0.0, 0.0), 1.0, {0, 1, 2, 3}, 4),
        ((1.0, 1.0, 0.0, 0.0), 0.0, {2, 3}, 2),
        ((0.0, 0.0, 1.0, 0.0), 0.0, {2, 3}, 1),
    ],
)
def test_idle_threads_leaves_busy_cores_to_other_programs(monkeypatch, others, own, allowed, expected):
    clock = {"now": 100.0}
    monkeypatch.setattr(threads.time, "sleep", lambda seconds: clock.update(now=clock["now"] + seconds))
    monkeypatch.setattr(threads.time, "process_time", lambda: own * clock["now"])
    monkeypatch.setattr(threads, "most_threads", lambda: len(allowed))
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: allowed)
    idle = lambda percpu: [SimpleNamespace(idle=(1 - busy) * clock["now"], iowait=0) for busy in others]  # noqa: E731
    monkeypatch.setattr(psutil, "cpu_times", idle)
    assert idle_threads() == expected


def test_idle_threads_sees_a_busy_program():
    program = subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
    try:
        program.stdout.readline()
        cores = len(os.sched_getaffinity(0))
        with torch_threads(cores):
            assert idle_threads(0.5) <= max(1, cores - 1)
    finally:
        program.kill()
        program.communicate()
