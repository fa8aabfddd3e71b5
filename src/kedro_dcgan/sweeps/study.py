"""The trials of a sweep, in an Optuna study that several processes can share and that survives killed ones.

A process owns a trial as long as it holds the lock of the trial's number. A trial whose process died is claimed again
by the next process in the same folder, and resumes from its checkpoint.
"""

import hashlib
import json
import socket
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from kedro_dcgan.config import SweepParameters, TrainingParameters
from kedro_dcgan.errors import DataError, in_short
from kedro_dcgan.locks import hold_lock
from kedro_dcgan.reports.sweep import Outcome, TrialSummary
from kedro_dcgan.sweeps.space import distributions, start_values
from kedro_dcgan.training.plan import TRAJECTORY_VERSION

optuna.logging.set_verbosity(optuna.logging.ERROR)

# Trials that run to their end before the pruner compares others with them, and before TPE models them.
_FIRST_TRIALS = 5
# A trial of another process without a sign of life for this many seconds is taken for dead.
_MOST_SILENCE = 600.0
# Seconds to wait for another process that writes to an SQLite file.
_LOCK_SECONDS = 60
_STATES = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.PRUNED}


class Study:
    """The study of a sweep: claims trials, reports their distances, and lists them."""

    def __init__(
        self, study: optuna.Study, sweep: SweepParameters, space: dict[str, BaseDistribution], folder: Path
    ) -> None:
        self._study, self._sweep, self._space, self._folder = study, sweep, space, folder
        self._owner = f"{socket.gethostname()}:{folder}"

    @property
    def name(self) -> str:
        """The name of the sweep."""
        return str(self._study.study_name)

    @contextmanager
    def claim(self) -> Iterator[Trial | None]:
        """Yield an interrupted trial of this folder, or a new one, which no other process can claim meanwhile.

        None: all trials are finished, or run in other processes.
        """
        for running in self._running():
            if self._is_own(running):
                with self._lock(running.number) as is_free:
                    # Its process may have finished it before it released the lock.
                    if is_free and self._state_of(running) is TrialState.RUNNING:
                        yield Trial(self._study, running._trial_id)
                        return
        self._study.sampler = self._sampler()
        trial = None if self._count() >= self._sweep.trials else self._study.ask(self._space)
        if trial is None:
            yield None
            return
        with self._lock(trial.number):
            trial.set_user_attr("owner", self._owner)
            yield trial

    def report(self, trial: Trial, distances: Mapping[int, float]) -> bool:
        """Record the distances of new validations, counted from 1; return whether the trial should end now."""
        known = self._study._storage.get_trial(trial._trial_id).intermediate_values
        new = {number: distance for number, distance in distances.items() if number not in known}
        for number, distance in new.items():
            trial.report(distance, number)
        return bool(new) and trial.should_prune()

    def show_life(self, trial: Trial) -> None:
        """Tell other processes that this one still runs the trial."""
        trial.set_user_attr("alive", time.time())

    def finish(self, trial: Trial, outcome: Outcome, distance: float | None, images_seen: int, fault: str = "") -> None:
        """Record the end of a trial."""
        for name, value in {"outcome": outcome, "images_seen": images_seen, "fault": fault}.items():
            trial.set_user_attr(name, value)
        self._study.tell(trial, distance if outcome == "completed" else None, _STATES[outcome])

    def trials(self) -> list[TrialSummary]:
        """Return all trials that have values, in their order."""
        return [_summary(trial) for trial in self._study.get_trials(deepcopy=False) if trial.params]

    def running_elsewhere(self) -> int:
        """Return the number of trials that other processes run, as far as they are alive."""
        return len([trial for trial in self._running() if _age(trial) < _MOST_SILENCE])

    def importances(self) -> dict[str, float]:
        """Return how much each parameter matters, adding up to 1, or nothing for too few trials or equal distances.

        Hutter et al. 2014 (fANOVA).
        """
        try:
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            return dict(optuna.importance.get_param_importances(self._study, evaluator=evaluator))
        except (ValueError, RuntimeError, ZeroDivisionError):
            return {}

    def _sampler(self) -> optuna.samplers.BaseSampler:
        # A sampler for each trial: a sweep that was interrupted draws the same values as one that was not.
        seed = (self._sweep.seed + 1_000_003 * len(self._study.get_trials(deepcopy=False))) % 2**32
        if self._sweep.sampler == "random":
            return optuna.samplers.RandomSampler(seed)
        return optuna.samplers.TPESampler(n_startup_trials=_FIRST_TRIALS, seed=seed)

    def _running(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING])

    def _count(self) -> int:
        # Finished trials, and those that go on: in this folder, also after an interruption, or in living processes.
        finished = self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE, TrialState.PRUNED])
        running = [one for one in self._running() if self._is_own(one) or _age(one) < _MOST_SILENCE]
        return len(finished) + len(running)

    def _is_own(self, trial: FrozenTrial) -> bool:
        return bool(trial.user_attrs.get("owner") == self._owner)

    def _state_of(self, trial: FrozenTrial) -> TrialState:
        return self._study._storage.get_trial(trial._trial_id).state

    def _lock(self, number: int) -> AbstractContextManager[bool]:
        return hold_lock(self._folder / f"{self.name}-{number}.lock")


def open_study(sweep: SweepParameters, training: TrainingParameters, images: str, folder: Path) -> Study:
    """Open the study of a sweep, or create it with the current values as its first trial.

    `images` is the digest of the images. A sweep with other images, training parameters, space, length or methods is
    another study; the number of trials may change.

    Raises:
        DataError: if the database cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "images": images,
        "trajectory": TRAJECTORY_VERSION,
        "training": training.model_dump(mode="json"),
        "sweep": sweep.model_dump(mode="json", exclude={"trials", "minutes", "confirmations", "storage", "preset"}),
    }
    name = "sweep-" + hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:8]
    space = distributions(sweep.space, training)
    try:
        storage = _storage(sweep.storage, folder)
        study = optuna.create_study(
            study_name=name, storage=storage, pruner=_pruner(sweep), sampler=None, load_if_exists=True
        )
        study.enqueue_trial(start_values(sweep.space, training), skip_if_exists=True)
    except Exception as error:
        shown = "its database" if sweep.storage else folder
        raise DataError(
            f"`sweep.storage` must be a database that can be read and written (got {shown}: {in_short(error)})."
            " Check the address, or set it to null."
        ) from None
    return Study(study, sweep, space, folder)


def _storage(url: str | None, folder: Path) -> RDBStorage:
    if url:
        return RDBStorage(url)
    # Not through an address: a path may have characters that are special there. Several processes may write.
    file = folder / "optuna.db"
    connect = partial(sqlite3.connect, file, timeout=_LOCK_SECONDS, check_same_thread=False)
    return RDBStorage("sqlite:///optuna.db", engine_kwargs={"creator": connect})


def _pruner(sweep: SweepParameters) -> optuna.pruners.BasePruner:
    match sweep.pruner:
        case "median":
            return optuna.pruners.MedianPruner(n_startup_trials=_FIRST_TRIALS)
        case "hyperband":
            return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=sweep.validations)
    return optuna.pruners.NopPruner()


def _summary(trial: FrozenTrial) -> TrialSummary:
    facts = trial.user_attrs
    outcome: Outcome | None = facts.get("outcome") if trial.state.is_finished() else None
    return TrialSummary(
        number=trial.number,
        values=dict(trial.params),
        distances=dict(trial.intermediate_values),
        outcome=outcome,
        distance=trial.value if trial.state is TrialState.COMPLETE else None,
        key=str(facts.get("key", "")),
        fault=str(facts.get("fault", "")),
        images_seen=int(facts.get("images_seen", 0)),
    )


def _age(trial: FrozenTrial) -> float:
    # Seconds since the last sign of life.
    started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    return time.time() - float(trial.user_attrs.get("alive", started))


def best_of(trials: Sequence[TrialSummary]) -> TrialSummary | None:
    """Return the completed trial with the smallest distance."""
    completed = [trial for trial in trials if trial.distance is not None]
    return min(completed, key=lambda trial: trial.distance or 0.0, default=None)
