"""Runs the trials of a sweep, and then the best and the first parameters with more seeds."""

import hashlib
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import Trial
from pydantic import ValidationError

from kedro_dcgan.config import SweepParameters, TrainingParameters, rule_of
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.errors import ParameterError, StopRequest, TrainingError, in_short
from kedro_dcgan.progress import Bar, short_images
from kedro_dcgan.reports.sweep import Outcome, format_value
from kedro_dcgan.sweeps.jobs import Job, JobTick, SweepFolder, Trainer
from kedro_dcgan.sweeps.space import Values, trial_parameters
from kedro_dcgan.sweeps.study import Study, best_of, checked_key

logger = logging.getLogger(__name__)

# Seconds between two heartbeats of a trial, and between two looks at those of other processes.
_HEARTBEAT, _WAIT = 30.0, 2.0


@dataclass(frozen=True)
class SweepEvent:
    """A tick or the end of a training of a sweep; without a job, only the name of the sweep.

    `outcome` None: the training still runs. `tick` is its last one, None before the first.
    """

    sweep: str
    job: Job | None = None
    tick: JobTick | None = None
    outcome: Outcome | None = None
    fault: str = ""

    @property
    def key(self) -> str:
        """The key of the sweep's own run, the same in all processes."""
        return key_of(self.sweep)


def key_of(*parts: object) -> str:
    """Return the key of a run that several processes must agree on."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


class Runner:
    """Trains in this process until the sweep is finished, or a stop is requested."""

    def __init__(
        self,
        study: Study,
        images: PreparedImages,
        sweep: SweepParameters,
        training: TrainingParameters,
        folder: SweepFolder,
        request: StopRequest,
        bar: Bar,
    ) -> None:
        self._study, self._sweep, self._training, self._request, self._bar = study, sweep, training, request, bar
        self._folder, self._last_beat = folder, 0.0
        self._claimed: Trial | None = None
        self._trainer = Trainer(images, folder, request.is_set, self._follow)

    def run_trials(self) -> Iterator[SweepEvent]:
        """Yield the ticks and ends of trials until there are enough of them, or time is over."""
        deadline = time.monotonic() + 60 * (self._sweep.minutes or float("inf"))
        for trial in self._study.trials():
            # Its process was killed when it had recorded the end.
            if trial.outcome and trial.key:
                self._folder.of(trial.key).remove_checkpoints()
        while not self._request.is_set():
            if time.monotonic() >= deadline:
                logger.info("  no further trial: `sweep.minutes` %g are over", self._sweep.minutes)
                return
            with self._study.claim() as claimed:
                if claimed is not None:
                    yield from self._run(claimed)
                    continue
            if not self._study.running_elsewhere():
                return
            time.sleep(_WAIT)

    def _run(self, trial: Trial) -> Iterator[SweepEvent]:
        # An interrupted trial keeps the key of its run.
        key = checked_key(trial.user_attrs.get("key")) or uuid.uuid4().hex
        trial.set_user_attr("key", key)
        values, name = dict(trial.params), f"{self._study.name}-{trial.number:02d}"
        try:
            job = Job(key, name, values, trial_parameters(self._training, self._sweep, values))
        except ValidationError as error:
            # Each value is possible, but not all of them together.
            self._study.finish(trial, "failed", None, 0, rule_of(error))
            logger.info("  trial %-3d failed: %s  (%s)", trial.number, format_values(values), rule_of(error))
            return
        self._claimed = trial
        last = SweepEvent(self._study.name, job)
        for last in self._train(job, lambda tick: self._study.report(trial, tick.distances)):
            if last.outcome is None:
                yield last
        self._claimed = None
        if last.outcome is None:
            return
        tick = last.tick
        distance, seen = (tick.distance, tick.images_seen) if tick else (None, 0)
        self._study.finish(trial, last.outcome, distance, seen, last.fault)
        self._folder.of(key).remove_checkpoints()
        self._log(trial.number, values, last)
        yield last

    def _train(self, job: Job, should_prune: Callable[[JobTick], bool]) -> Iterator[SweepEvent]:
        """Yield an event for each tick of a job, the last one with its outcome, unless a stop was requested."""
        name, tick = self._study.name, None
        try:
            for tick in self._trainer.ticks(job):
                is_worse = should_prune(tick)
                if tick.is_last:
                    collapsed = SweepEvent(name, job, tick, "failed", "mode collapse")
                    yield collapsed if tick.is_collapsed else SweepEvent(name, job, tick, "completed")
                    return
                if is_worse:
                    yield SweepEvent(name, job, tick, "pruned")
                    return
                yield SweepEvent(name, job, tick)
        except (TrainingError, ParameterError) as error:
            yield SweepEvent(name, job, tick, "failed", in_short(error))

    def confirm(self, jobs: Sequence[Job]) -> Iterator[SweepEvent]:
        """Yield the events of other trainings of the sweep, except those whose end is recorded."""
        for job in jobs:
            files = self._folder.of(job.key)
            if self._request.is_set():
                return
            # A training whose process was killed when it had stored its results still has its checkpoints.
            if files.has_results() and not files.checkpoints.root.exists():
                continue
            for event in self._train(job, lambda tick: False):
                yield event
                if event.outcome:
                    files.remove_checkpoints()
                    distance = f"fd {event.tick.distance:,.0f}" if event.tick and event.tick.distance else ""
                    shown = distance if event.outcome == "completed" else f"{distance}  failed ({event.fault})"
                    logger.info("  %-16s %s", job.name.removeprefix(f"{self._study.name}-"), shown)

    def _follow(self, batches: Iterator[np.ndarray], done: int) -> Iterator[np.ndarray]:
        for batch in batches:
            yield batch
            self._bar.update(len(batch))
            if self._claimed is not None and time.monotonic() - self._last_beat > _HEARTBEAT:
                self._last_beat = time.monotonic()
                self._study.beat(self._claimed)

    def _log(self, number: int, values: Values, end: SweepEvent) -> None:
        best, tick = best_of(self._study.trials()), end.tick
        what = f"fd {tick.distance:,.0f}" if tick and tick.distance is not None else ""
        if end.outcome != "completed":
            what = f"{what}  {end.outcome} at {short_images(tick.images_seen) if tick else 'its start'}"
        note = "  best so far" if best and best.number == number else f"  ({end.fault})" if end.fault else ""
        logger.info("  trial %-3d %-32s %s%s", number, what, format_values(values), note)


def format_values(values: Values) -> str:
    """Write values by parameter for people: generator.learning_rate=0.00213."""
    return "  ".join(f"{name}={format_value(value)}" for name, value in values.items())
