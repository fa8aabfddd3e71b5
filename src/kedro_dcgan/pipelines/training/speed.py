"""Warn when a training runs much slower than calibrated, and say what uses the cores."""

import time
from contextlib import suppress

import psutil

from kedro_dcgan.limits import usable_cores
from kedro_dcgan.training.fast.execution import Calibration

# Below this share of the calibrated speed, for this many ticks in a row, a training is slow.
_SHARE, _TICKS = 0.5, 2
# Load of other programs, in cores, worth naming; less is background.
_NOTABLE = 0.25


class SpeedWatch:
    """Looks at the speed of each tick."""

    def __init__(self, calibration: Calibration) -> None:
        self._expected = calibration.images_per_second
        self._has_threads_to_give = calibration.device == "cpu" and calibration.threads > 1
        self._slow_ticks, self._has_advised = 0, False
        self._load = _Load()

    def advice(self, images_per_second: float) -> str | None:
        """Return one line, once, after the second slow tick in a row; else nothing."""
        others = self._load.of_others()
        is_slow = self._expected is not None and images_per_second < _SHARE * self._expected
        self._slow_ticks = self._slow_ticks + 1 if is_slow else 0
        if self._expected is None or self._slow_ticks < _TICKS or self._has_advised:
            return None
        self._has_advised = True
        speeds = f"slow: {images_per_second:,.0f} images/s, calibrated at {self._expected:,.0f}"
        if others < _NOTABLE:
            return f"{speeds}. No other program was found to use the cores. Training continues."
        remedy = "Stop them"
        if self._has_threads_to_give:
            remedy += ", or press Ctrl-C and resume with --params training.threads=1"
        return f"{speeds}. Other programs use {others:.1f} of {usable_cores()} cores. {remedy}."


class _Load:
    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before = self._now()

    def of_others(self) -> float:
        """Return how many cores other programs have used on average since the last call."""
        (then, total, own), self._before = self._before, self._now()
        now, total_now, own_now = self._before
        return max(0.0, total_now - total - (own_now - own)) / max(now - then, 1e-9)

    def _now(self) -> tuple[float, float, float]:
        times = psutil.cpu_times()
        # Not what a host takes from a virtual machine (steal); guests are counted in user time, too.
        unused = ("idle", "iowait", "steal", "guest", "guest_nice")
        used = sum(times) - sum(getattr(times, name, 0.0) for name in unused)
        # Of this process, of its children that have ended, and of those that have not.
        own = sum(self._process.cpu_times()[:4])
        for child in self._process.children(recursive=True):
            with suppress(psutil.Error):
                own += sum(child.cpu_times()[:2])
        return time.monotonic(), used, own
