"""The examination of a machine: its facts, the choices for it, the checks and the speeds, one after the other."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from kedro_dcgan.doctor import CHOICES, MINUTES, PARTS, SPEED
from kedro_dcgan.doctor.choices import Choices, choose, require_device, subject_on
from kedro_dcgan.doctor.isolation import Outcome, outcome_of, run_isolated
from kedro_dcgan.doctor.machine import machine_facts
from kedro_dcgan.doctor.memory_check import check_memory
from kedro_dcgan.doctor.option_check import check_options
from kedro_dcgan.doctor.run_checks import check_data, check_evaluation, check_ranks, check_resume
from kedro_dcgan.doctor.speed import (
    BATCH_SIZES,
    CELEBA,
    EpochSpeed,
    StepSpeed,
    measure_compiled,
    measure_epoch,
    measure_features,
    measure_steps,
)
from kedro_dcgan.doctor.step_checks import check_execution, check_gradients
from kedro_dcgan.doctor.trainings import Subject
from kedro_dcgan.training.fast.execution import Calibration
from kedro_dcgan.training.threads import idle_threads, torch_threads

# In the order of `CHECK_NAMES`, which the command line reads without torch.
CHECKS: dict[str, Callable[[Subject], str]] = {
    "gradients": check_gradients,
    "execution": check_execution,
    "options": check_options,
    "resume": check_resume,
    "data": check_data,
    "ranks": check_ranks,
    "evaluation": check_evaluation,
    "memory": check_memory,
}
# A check or a measurement that takes longer is stopped and has failed. Next to busy programs, all take several times as
# long as on idle cores.
_MOST_SECONDS = 300.0
# Seconds that these take on a GPU: to start a process, to calibrate and time a batch size, to compile both networks.
_START, _OF_BATCH_SIZE, _TO_COMPILE = 8, 40, 100


@dataclass(frozen=True)
class Result:
    """One line of the report: its section, name and outcome."""

    section: str
    name: str
    outcome: Outcome


@dataclass
class Examination:
    """Examines a device: `parts` of `PARTS`.

    A measurement that would end after `minutes` (None: `MINUTES`), which begin at `started`, is skipped.
    """

    device: str = "auto"
    parts: Sequence[str] = PARTS
    minutes: float | None = None
    started: float = field(default_factory=time.perf_counter)

    @property
    def length(self) -> int:
        """The number of checks and measurements."""
        of_speed = len(BATCH_SIZES) + (3 if torch.cuda.is_available() else 2) if SPEED in self.parts else 0
        return len(set(self.parts) & set(CHECKS)) + of_speed

    def results(self, on_start: Callable[[str], object] = lambda name: None) -> Iterator[Result]:
        """Yield each result as soon as it is known; call `on_start` with the name of what runs next.

        Raises:
            ParameterError: if the device is missing.
        """
        # Count idle cores before our own work uses them.
        looked = _look(machine_facts)
        for name, fact in (looked.value or {"facts": looked.summary}).items():
            yield Result("machine", name, Outcome("passed", fact, 0.0))
        require_device(self.device)
        found = _look(subject_on, self.device)
        if found.status != "passed":
            yield Result(CHOICES, "device", found)
            return
        subject: Subject = found.value

        # Choose as a training would. The speeds need the choices.
        chosen: Choices | None = None
        if CHOICES in self.parts or SPEED in self.parts:
            on_start(CHOICES)
            outcome = run_isolated(choose, subject, self.device == "auto", seconds=_MOST_SECONDS)
            chosen = outcome.value
            if chosen is None:
                yield Result(CHOICES, "calibration", outcome)
            for name, reason in chosen.reasons.items() if chosen else ():
                yield Result(CHOICES, name, Outcome("passed", reason, 0.0))

        # Check, then measure.
        for name, check in CHECKS.items():
            if name in self.parts:
                on_start(name)
                yield Result("checks", name, run_isolated(on_idle_cores, check, subject, seconds=_MOST_SECONDS))
        if SPEED in self.parts and chosen:
            yield from self._speeds(subject, chosen.calibration, on_start)

    def _speeds(
        self, subject: Subject, calibration: Calibration, on_start: Callable[[str], object]
    ) -> Iterator[Result]:
        is_cuda = subject.device.type == "cuda"
        end = self.started + 60 * (self.minutes or MINUTES[subject.device.type])

        def measured(name: str, needed: float, function: Callable[..., Any], *arguments: Any) -> Result:
            left = end - time.perf_counter()
            if needed > left:
                summary = f"would take {needed:.0f} s, and {max(0, left):.0f} s are left (--minutes)"
                return Result(SPEED, name, Outcome("skipped", summary, 0.0))
            on_start(name)
            return Result(SPEED, name, run_isolated(function, subject, *arguments, seconds=_MOST_SECONDS))

        yield measured("features", 0, partial(on_idle_cores, measure_features))

        # Measure steps from small to large batches.
        speeds: list[StepSpeed] = []
        for batch_size in BATCH_SIZES:
            needed = 0.0 if not speeds else _OF_BATCH_SIZE if is_cuda else _seconds_of(speeds[-1], batch_size)
            rounds = 3 if is_cuda or 3 * needed <= end - time.perf_counter() else 1
            result = measured(f"batch {batch_size}", needed, measure_steps, calibration, batch_size, rounds)
            if result.outcome.value:
                speeds.append(result.outcome.value)
            yield result
        if not speeds:
            return

        # Measure an epoch and compiled steps on a GPU; on a CPU an epoch takes too long.
        best = max(speeds, key=lambda speed: speed.ours)
        if is_cuda:
            yield measured("CelebA epoch", 3 * _START + CELEBA / best.ours, measure_epoch, best)
            yield measured("compiled steps", _TO_COMPILE, measure_compiled, best)
        else:
            epoch = EpochSpeed(CELEBA / best.ours, best.batch_size, is_measured=False)
            yield Result(SPEED, "CelebA epoch", Outcome("passed", str(epoch), 0.0, epoch))


def _look(function: Callable[..., Any], *arguments: Any) -> Outcome:
    """Call a function that asks about devices; in another process with a GPU, which this one must not occupy."""
    # `is_available` occupies none.
    if torch.cuda.is_available():
        return run_isolated(function, *arguments, seconds=_MOST_SECONDS)
    return outcome_of(function, *arguments)


def on_idle_cores(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function with a thread for each idle core: next to a busy program, more are ten times slower."""
    with torch_threads(idle_threads()):
        return function(*arguments)


def _seconds_of(former: StepSpeed, batch_size: int) -> float:
    """Return the seconds that a round takes on a CPU: a step of each side, and the start of a process."""
    return 1.2 * batch_size * (1 / former.ours + 1 / former.peer) + 5
