"""Runs the trials of a sweep, and then the best and the first parameters with more seeds."""

import hashlib
import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from optuna.trial import Trial

from kedro_dcgan.config import SweepParameters, TrainingParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.errors import ParameterError, StopRequest, TrainingError, in_short
from kedro_dcgan.progress import Bar, short_images
from kedro_dcgan.reports.sweep import Outcome
from kedro_dcgan.sweeps.jobs import Job, JobTick, SweepFolder, Trainer
from kedro_dcgan.sweeps.space import Values, trial_parameters
from kedro_dcgan.sweeps.study import Study, best_of

logger = logging.getLogger(__name__)

# Seconds between two signs of life of a trial, and between two looks at those of other processes.
_BEAT, _WAIT = 30.0, 2.0


@dataclass(frozen=True)
class SweepEvent:
    """A tick or the end of a training of a sweep. `outcome` None: it goes on. No tick: there was nothing to train."""

    sweep: str
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
        self._trainer = Trainer(images, folder, request.is_set, self._follow, Path(images.source).name)

    def run_trials(self) -> Iterator[SweepEvent]:
        """Yield the ticks and ends of trials until there are enough of them, or time is over."""
        deadline = time.monotonic() + 60 * (self._sweep.minutes or float("inf"))
        for trial in self._study.trials():
            # Its process was killed when it had recorded the end.
            if trial.outcome:
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
        key = str(trial.user_attrs.get("key") or uuid.uuid4().hex)
        trial.set_user_attr("key", key)
        self._claimed, values = trial, dict(trial.params)
        name = f"{self._study.name}-{trial.number:02d}"
        tick: JobTick | None = None
        outcome: Outcome | None = None
        fault = ""
        try:
            job = Job(key, name, values, trial_parameters(self._training, self._sweep, values))
            for tick in self._trainer.ticks(job):
                is_worse = self._study.report(trial, tick.distances)
                if tick.is_last:
                    outcome, fault = ("failed", "mode collapse") if tick.is_collapsed else ("completed", "")
                elif is_worse:
                    outcome = "pruned"
                if outcome:
                    break
                yield SweepEvent(self._study.name, tick)
        except (TrainingError, ParameterError, ValueError) as error:
            outcome, fault = "failed", in_short(error)
        finally:
            self._claimed = None
        if outcome is None:
            return
        self._study.finish(trial, outcome, tick.distance if tick else None, tick.images_seen if tick else 0, fault)
        self._folder.of(key).remove_checkpoints()
        self._log(trial.number, values, tick, outcome, fault)
        yield SweepEvent(self._study.name, tick, outcome, fault)

    def confirm(self, jobs: Sequence[Job]) -> Iterator[SweepEvent]:
        """Yield the ticks and ends of other trainings of the sweep, except those that have results here."""
        for job in jobs:
            if self._folder.of(job.key).has_results():
                continue
            tick: JobTick | None = None
            outcome: Outcome | None = None
            fault = ""
            try:
                for tick in self._trainer.ticks(job):
                    if tick.is_last:
                        outcome = "completed"
                        break
                    yield SweepEvent(self._study.name, tick)
            except TrainingError as error:
                outcome, fault = "failed", in_short(error)
            if self._request.is_set() and outcome is None:
                return
            distance = f"fd {tick.distance:,.0f}" if tick and tick.distance is not None else fault
            logger.info("  %-16s %s", job.name.removeprefix(f"{self._study.name}-"), distance)
            self._folder.of(job.key).remove_checkpoints()
            yield SweepEvent(self._study.name, tick, outcome, fault)

    def _follow(self, batches: Iterator[np.ndarray], done: int) -> Iterator[np.ndarray]:
        for batch in batches:
            yield batch
            self._bar.update(len(batch))
            if self._claimed is not None and time.monotonic() - self._last_beat > _BEAT:
                self._last_beat = time.monotonic()
                self._study.show_life(self._claimed)

    def _log(self, number: int, values: Values, tick: JobTick | None, outcome: Outcome, fault: str) -> None:
        best = best_of(self._study.trials())
        what = f"fd {tick.distance:,.0f}" if tick and tick.distance is not None else ""
        if outcome != "completed":
            what = f"{what}  {outcome} at {short_images(tick.images_seen) if tick else 'its start'}"
        note = "  best so far" if best and best.number == number else f"  ({fault})" if fault else ""
        logger.info("  trial %-3d %-32s %s%s", number, what, in_words(values), note)


def in_words(values: Values) -> str:
    """Write values by parameter for people: generator.learning_rate=0.00213."""
    return "  ".join(
        f"{name}={f'{value:.3g}' if isinstance(value, float) else value}" for name, value in values.items()
    )
