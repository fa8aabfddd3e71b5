"""Console output of a training: its start, one line per tick, warnings about health and speed, its end."""

import logging
import os
import time
from contextlib import suppress

import psutil

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.limits import usable_cores
from kedro_dcgan.progress import operations, short_images
from kedro_dcgan.training.checkpoints import CheckpointHeader
from kedro_dcgan.training.fast.execution import Calibration
from kedro_dcgan.training.health import ADVICE, HEALTHY, verdict
from kedro_dcgan.training.in_process import RunningTraining
from kedro_dcgan.training.loop import Tick
from kedro_dcgan.training.plan import Plan

logger = logging.getLogger(__name__)

# A training is slow below this share of its calibrated speed, for this many ticks in a row.
_SLOW_SHARE, _SLOW_TICKS = 0.5, 2
# Load of other programs, in cores, that is worth reporting.
_NOTABLE_LOAD = 0.25


class Console:
    """Prints the progress of a training, with the time left."""

    def __init__(self, plan: Plan, training: TrainingParameters, run: RunningTraining, distance: str | None) -> None:
        begin = run.begin
        self._plan, self._begin, self._started, self._health = plan, begin, time.perf_counter(), HEALTHY
        self._distance, self._patience, self._minutes = distance, training.patience, training.minutes
        self._last: Tick | None = None
        self._speed = SpeedWatch(run.calibration)
        if training.images_per_validation and not distance:
            logger.warning("The validation split has fewer than two images: the last generator is kept, not the best.")
        length = short_images(plan.total_images)
        if training.kimg is None:
            length += f", {training.epochs:g} epochs"
        if training.minutes:
            length = f"{in_minutes(60 * training.minutes)}, at most {length}"
        devices = "" if training.devices == 1 else f" · {training.devices} processes"
        classes = f" · {len(plan.generator.classes):,} classes" if plan.generator.classes else ""
        logger.info(f"training      {run.calibration}{devices} · {length}{classes}")
        if run.is_finished:
            logger.info("  already finished: nothing is left to train (training.resume=never trains it again)")
        elif begin:
            logger.info("  resumes from %s", short_images(begin))

    def show(self, tick: Tick) -> None:
        """Print the line of a tick; warn when health gets worse or training is slow."""
        self._last, record = tick, tick.record
        if record is None or tick.images_seen <= self._begin:
            return
        # Estimate the time left from the mean speed of this run.
        passed = time.perf_counter() - self._started
        left = passed / max(1, tick.images_seen - self._begin) * (self._plan.total_images - tick.images_seen)
        if self._minutes:
            left = max(0.0, min(left, 60 * self._minutes - tick.seconds))
        distance = "" if record.validation is None else f"fd {record.validation:.0f}  "
        losses = record.discriminator_loss, record.generator_loss
        d_loss, g_loss = (f"{loss:.{'2f' if abs(loss) < 10_000 else '1e'}}" for loss in losses)
        logger.info(
            f"  {short_images(record.images_seen):>11}"
            f"  D {d_loss}  G {g_loss}"
            f"  D right on {record.real_accuracy:4.0%} real {record.fake_accuracy:4.0%} fake"
            f"  diversity {record.diversity:.2f}  {distance}"
            f"{record.images_per_second:,.{0 if record.images_per_second >= 10 else 1}f} images/s"
            f"  {operations(record.gigaflops_per_second * 1e9)}  {in_minutes(left)} left  {record.health}"
        )
        if record.health not in (HEALTHY, self._health):
            logger.warning("  %s: %s. The best generator so far is kept.", record.health, ADVICE[record.health])
        self._health = record.health
        if slow := self._speed.advice(record.images_per_second):
            logger.warning("  %s", slow)

    def summarise(self) -> None:
        """Print the last line."""
        if not self._last:
            return
        facts, kept = [short_images(self._last.images_seen), verdict(self._last.records)], self._last.kept
        if kept.validation is not None:
            facts.append(f"best at {short_images(kept.images_seen)} with {self._distance} {kept.validation:.1f}")
        if self._last.ends_early and self._last.images_seen < self._plan.total_images:
            if self._minutes and self._last.seconds >= 60 * self._minutes:
                facts.append(f"time limit reached after {in_minutes(self._last.seconds)}")
            else:
                facts.append(f"ended early (training.patience={self._patience})")
        if self._last.validation_seconds:
            share = self._last.validation_seconds / (time.perf_counter() - self._started)
            facts.append(f"{share:.0%} of the time for validation")
        logger.info("trained       %s", " · ".join(facts))


def in_minutes(seconds: float) -> str:
    """Format a time for people: 4 min 59 s, 1 h 02 min."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def stop_message(is_second: bool, newest: CheckpointHeader | None, training: TrainingParameters) -> str:
    """Return what the first or the second signal keeps, and how to resume.

    `newest` is the newest checkpoint of the training, if any. The second signal does not wait for another one, so it
    loses everything after it.
    """
    if newest is None:
        return "stopped at once, before the first checkpoint: nothing of this training is kept, but the images are."
    how = "stopped at once; the newest checkpoint is kept, at" if is_second else "stopped and saved at"
    without = " without training.resume=never" if training.resume == "never" else ""
    return f"{how} {short_images(newest.images_seen)}. Resume with the same command{without}."


class SpeedWatch:
    """Compares the speed of each tick with the calibrated one."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration, self._before = calibration, cpu_seconds()
        self._slow_ticks, self._has_advised = 0, False

    def advice(self, images_per_second: float) -> str | None:
        """Return a warning after the second slow tick in a row, once."""
        others, expected = self.load_of_others(), self._calibration.images_per_second
        if expected is None or self._has_advised:
            return None
        self._slow_ticks = self._slow_ticks + 1 if images_per_second < _SLOW_SHARE * expected else 0
        if self._slow_ticks < _SLOW_TICKS:
            return None
        self._has_advised = True
        speeds = f"slow: {images_per_second:,.0f} images/s, calibrated at {expected:,.0f}"
        if others < _NOTABLE_LOAD:
            return f"{speeds}. No other program was found to use the cores. Training continues."
        remedy = "Stop them"
        if self._calibration.device == "cpu" and self._calibration.threads > 1:
            remedy += ", or press Ctrl-C and resume with --params training.threads=1"
        return f"{speeds}. Other programs use {others:.1f} of {usable_cores()} cores. {remedy}."

    def load_of_others(self) -> float:
        """Return the average number of cores that other programs used since the last call."""
        (then, total, own), self._before = self._before, cpu_seconds()
        now, total_now, own_now = self._before
        return max(0.0, total_now - total - (own_now - own)) / max(now - then, 1e-9)


def cpu_seconds() -> tuple[float, float, float]:
    """Return the current time, and the CPU time of all programs and of this one, in seconds."""
    times = psutil.cpu_times()
    # Without time that the host took (steal). Guests are also part of user time.
    unused = ("idle", "iowait", "steal", "guest", "guest_nice")
    used = sum(times) - sum(getattr(times, name, 0.0) for name in unused)
    # This process, its finished children, and its running ones.
    own = sum(os.times()[:4])
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            own += sum(child.cpu_times()[:2])
    return time.monotonic(), used, own
