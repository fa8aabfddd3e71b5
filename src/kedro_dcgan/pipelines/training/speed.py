"""Notices when a training runs much slower than it was calibrated, and says what uses the cores."""

import os
import time

import psutil

from kedro_dcgan.gan.training.execution import Calibration

# Below this share of the calibrated speed, for this many ticks in a row, a training is slow.
_SHARE, _TICKS = 0.5, 2
# Cores that other programs use; less is the system's own work.
_NOTABLE = 0.25


class SpeedWatch:
    """Looks at the speed of each tick."""

    def __init__(self, calibration: Calibration) -> None:
        self._expected, self._threads = calibration.images_per_second, calibration.threads
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
        cause = "this machine has become slower"
        if others > _NOTABLE:
            cause = f"other programs are using {others:.1f} of {os.cpu_count()} cores"
        remedy = "Stop them"
        if self._threads > 1:
            remedy += ", or stop this training (Ctrl-C) and resume it with --params training.threads=1"
        speeds = f"{images_per_second:,.0f} images/s, {self._expected:,.0f} when it was calibrated"
        return f"slow: {cause} ({speeds}). {remedy if others > _NOTABLE else 'It goes on.'}"


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
        idle = times.idle + getattr(times, "iowait", 0.0)
        # Guests are counted in user time, too.
        used = sum(times) - idle - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        # Of this process, of its children that have ended, and of those that have not.
        own = sum(self._process.cpu_times()[:4])
        own += sum(sum(child.cpu_times()[:2]) for child in self._process.children(recursive=True))
        return time.monotonic(), used, own
