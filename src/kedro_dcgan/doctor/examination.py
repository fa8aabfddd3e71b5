"""The examination of a machine: its facts, the choices for it, the checks and the speeds, one after the other."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kedro_dcgan.doctor import CHECK_NAMES, CHOICES, MINUTES, PARTS, SPEED
from kedro_dcgan.doctor.choices import Choices, choose, subject_on
from kedro_dcgan.doctor.isolation import Outcome, run_apart
from kedro_dcgan.doctor.machine import machine_facts
from kedro_dcgan.doctor.memory_check import check_memory
from kedro_dcgan.doctor.run_checks import check_data, check_evaluation, check_ranks, check_resume
from kedro_dcgan.doctor.speed import (
    BATCH_SIZES,
    CELEBA,
    EpochSpeed,
    StepSpeed,
    measure_epoch,
    measure_features,
    measure_long_training,
    measure_steps,
)
from kedro_dcgan.doctor.step_checks import check_execution, check_gradients, check_options
from kedro_dcgan.doctor.trainings import Subject
from kedro_dcgan.training.fast.execution import Calibration
from kedro_dcgan.training.threads import idle_threads, torch_threads

_FUNCTIONS: tuple[Callable[[Subject], str], ...] = (
    check_gradients,
    check_execution,
    check_options,
    check_resume,
    check_data,
    check_ranks,
    check_evaluation,
    check_memory,
)
CHECKS = dict(zip(CHECK_NAMES, _FUNCTIONS, strict=True))
# A check or a measurement that takes longer is stopped and has failed. Next to busy programs, all take several times as
# long as on idle cores.
_MOST_SECONDS = 300.0


@dataclass(frozen=True)
class Result:
    """One line of the report: its section, name and outcome."""

    section: str
    name: str
    outcome: Outcome


@dataclass
class Examination:
    """Examines a device: `parts` of `PARTS`. Speeds are measured while `minutes` are not over (None: `MINUTES`)."""

    device: str = "auto"
    parts: Sequence[str] = PARTS
    minutes: float | None = None
    started: float = field(default_factory=time.perf_counter)

    @property
    def length(self) -> int:
        """The number of checks and measurements."""
        of_speed = len(BATCH_SIZES) + 2 if SPEED in self.parts else 0
        return len(set(self.parts) & set(CHECKS)) + of_speed

    def results(self, on_start: Callable[[str], object] = lambda name: None) -> Iterator[Result]:
        """Yield each result as soon as it is known; call `on_start` with the name of what runs next.

        Raises:
            ParameterError: if the device is missing.
        """
        # Look at the machine before the own work fills its cores.
        facts, subject = machine_facts(), subject_on(self.device)
        for name, fact in facts.items():
            yield Result("machine", name, Outcome("passed", fact, 0.0))

        # Choose as a training would. The speeds need the choices.
        chosen: Choices | None = None
        if CHOICES in self.parts or SPEED in self.parts:
            on_start(CHOICES)
            outcome = run_apart(choose, subject, self.device == "auto", seconds=_MOST_SECONDS)
            chosen = outcome.value
            if chosen is None:
                yield Result(CHOICES, "calibration", outcome)
            for name, reason in chosen.reasons.items() if chosen else ():
                yield Result(CHOICES, name, Outcome("passed", reason, 0.0))

        # Check, then measure.
        for name, check in CHECKS.items():
            if name in self.parts:
                on_start(name)
                yield Result("checks", name, run_apart(on_idle_cores, check, subject, seconds=_MOST_SECONDS))
        if SPEED in self.parts and chosen:
            minutes = self.minutes or MINUTES[subject.device.type]
            yield from self._speeds(subject, chosen.calibration, self.started + 60 * minutes, on_start)

    def _speeds(
        self, subject: Subject, calibration: Calibration, end: float, on_start: Callable[[str], object]
    ) -> Iterator[Result]:
        def measured(name: str, function: Callable[..., Any], *arguments: Any) -> Result:
            on_start(name)
            return Result(SPEED, name, run_apart(function, subject, *arguments, seconds=_MOST_SECONDS))

        yield measured("features", partial(on_idle_cores, measure_features))

        # Measure steps from small to large batches, as long as there is time.
        speeds: list[StepSpeed] = []
        for batch_size in BATCH_SIZES:
            name, left = f"batch {batch_size}", end - time.perf_counter()
            needed = _seconds_of(speeds[-1], batch_size) if speeds else 0.0
            if needed > left:
                summary = f"would take {needed:.0f} s, and {max(0, left):.0f} s of --minutes are left"
                yield Result(SPEED, name, Outcome("skipped", summary, 0.0))
                continue
            result = measured(name, measure_steps, calibration, batch_size, 3 if 3 * needed <= left else 1)
            if result.outcome.value:
                speeds.append(result.outcome.value)
            yield result

        # Measure an epoch on a GPU; on a CPU it takes too long.
        if not speeds:
            return
        best = max(speeds, key=lambda speed: speed.ours)
        if subject.device.type == "cuda":
            yield measured("CelebA epoch", measure_epoch, best.batch_size)
            yield measured("long training", measure_long_training, best.batch_size)
        else:
            epoch = EpochSpeed(CELEBA / best.ours, best.batch_size, is_measured=False)
            yield Result(SPEED, "CelebA epoch", Outcome("passed", str(epoch), 0.0, epoch))


def on_idle_cores(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function with a thread for each idle core: next to a busy program, more are ten times slower."""
    with torch_threads(idle_threads()):
        return function(*arguments)


def _seconds_of(former: StepSpeed, batch_size: int) -> float:
    """Return the seconds that a round of larger batches will take: a step of each side, and the start of a process."""
    return 1.2 * batch_size * (1 / former.ours + 1 / former.peer) + 5
