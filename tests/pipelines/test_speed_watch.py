"""A slow training warns once, with the load of other programs and the parameter to set."""

import multiprocessing
import time

import psutil
import pytest

from kedro_dcgan.pipelines.training import console as speed
from kedro_dcgan.pipelines.training.console import SpeedWatch
from kedro_dcgan.training.fast.execution import Calibration


def watch(monkeypatch, others, threads=2, images_per_second=100.0):
    monkeypatch.setattr(SpeedWatch, "load_of_others", lambda self: others)
    return SpeedWatch(calibration(threads, images_per_second))


def calibration(threads=2, images_per_second=100.0):
    return Calibration("cpu", "this machine", "float32", threads, images_per_second=images_per_second)


def warnings(watched, speeds):
    return [watched.advice(one) for one in speeds]


def test_the_second_consecutive_slow_tick_warns_once(monkeypatch):
    lines = warnings(watch(monkeypatch, 1.0), [90, 40, 60, 40, 40, 40, 90, 40, 40])
    assert [line is not None for line in lines] == [False] * 4 + [True] + [False] * 4
    assert all(text in lines[4] for text in ("1.0", "40", "100", "training.threads=1"))


def test_a_child_process_that_ends_during_the_measurement_is_ignored(monkeypatch):
    def gone(self, recursive):
        child = psutil.Process()
        child.cpu_times = lambda: (_ for _ in ()).throw(psutil.NoSuchProcess(1))
        return [child]

    monkeypatch.setattr(psutil.Process, "children", gone)
    assert SpeedWatch(calibration()).load_of_others() >= 0


@pytest.mark.parametrize(("others", "threads"), [(1.0, 1), (0.1, 2)])
def test_fewer_threads_are_not_advised_where_they_would_not_help(monkeypatch, others, threads):
    _, line = warnings(watch(monkeypatch, others, threads), [40, 40])
    assert "training.threads" not in line


def test_without_a_measured_speed_there_is_no_warning(monkeypatch):
    assert warnings(watch(monkeypatch, 1.0, images_per_second=None), [1, 1, 1]) == [None] * 3


def test_the_load_of_others_excludes_this_process_and_its_children(monkeypatch):
    # Wall-clock seconds, busy seconds of all cores, and CPU seconds of this process.
    moments = iter([(0.0, 100.0, 5.0), (10.0, 115.0, 14.0), (20.0, 120.0, 24.0)])
    monkeypatch.setattr(speed, "cpu_seconds", lambda: next(moments))
    watched = SpeedWatch(calibration())
    assert watched.load_of_others() == pytest.approx(0.6)
    # The clocks are not read at the same moment, so the difference may be negative.
    assert watched.load_of_others() == 0.0


def test_cpu_time_of_this_process_and_its_children_is_counted():
    _, total, own = speed.cpu_seconds()
    child = multiprocessing.get_context("fork").Process(target=spin, args=(0.5,))
    child.start()
    spin(0.5)
    child.join()
    _, total_after, own_after = speed.cpu_seconds()
    # Half a second each.
    assert own_after - own > 0.9
    assert total_after - total > 0.4


def spin(cpu_seconds):
    end = time.process_time() + cpu_seconds
    while time.process_time() < end:
        pass
