"""The trials of a sweep, in an Optuna study that several processes can share and that survives killed ones.

A process owns a trial as long as it holds the lock of the trial's number. A trial whose process died is claimed again
by the next process in the same folder, and resumes from its checkpoint.
"""

import hashlib
import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from kedro_dcgan.config import SweepParameters, TrainingParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.locks import hold_lock
from kedro_dcgan.reports.sweep import Outcome, TrialSummary
from kedro_dcgan.storage import atomic_file
from kedro_dcgan.sweeps.database import create_or_load, exclusive, one_line_errors
from kedro_dcgan.sweeps.space import OF_LENGTH_AND_SPEED, distributions, start_values
from kedro_dcgan.training.plan import TRAJECTORY_VERSION

optuna.logging.set_verbosity(optuna.logging.ERROR)

# Trials that run to their end before the pruner compares others with them, and before TPE models them.
_STARTUP_TRIALS = 5
# A trial of another folder whose heartbeat is older than this many seconds is taken for dead.
_HEARTBEAT_TIMEOUT = 600.0
_STATES = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.PRUNED}


class Study:
    """The study of a sweep: claims trials, reports their distances, and lists them."""

    def __init__(
        self,
        study: optuna.Study,
        sweep: SweepParameters,
        space: dict[str, BaseDistribution],
        folder: Path,
        owner: str,
    ) -> None:
        self._study, self._sweep, self._space, self._folder = study, sweep, space, folder
        self._owner = owner

    @property
    def name(self) -> str:
        """The name of the sweep."""
        return str(self._study.study_name)

    @contextmanager
    def claim(self) -> Iterator[Trial | None]:
        """Yield an interrupted trial of this folder, or a new one, which no other process of the folder can claim.

        None: all trials are finished, or run in other processes.
        """
        with ExitStack() as locks:
            with exclusive(self._folder), one_line_errors():
                trial = self._next_trial(locks)
            yield trial

    def _next_trial(self, locks: ExitStack) -> Trial | None:
        for running in self._running():
            is_own = running.user_attrs.get("owner") == self._owner
            # Its process may have finished it before it released the lock.
            if is_own and locks.enter_context(self._lock(running.number)) and self._is_running(running):
                trial = Trial(self._study, running._trial_id)
                break
        else:
            if self._count() >= self._sweep.trials:
                return None
            self._study.sampler = self._sampler()
            trial = self._study.ask(self._space)
            locks.enter_context(self._lock(trial.number))
            trial.set_user_attr("owner", self._owner)
            # Processes of other folders may get the same one: the last owner keeps it.
            if self._study._storage.get_trial(trial._trial_id).user_attrs["owner"] != self._owner:
                return self._next_trial(locks)
        self.beat(trial)
        return trial

    def report(self, trial: Trial, distances: Mapping[int, float]) -> bool:
        """Record the distances of new validations, counted from 1; return whether the trial should end now."""
        with one_line_errors():
            known = self._study._storage.get_trial(trial._trial_id).intermediate_values
            new = {number: distance for number, distance in distances.items() if number not in known}
            for number, distance in new.items():
                trial.report(distance, number)
            return bool(new) and trial.should_prune()

    def beat(self, trial: Trial) -> None:
        """Record that this process still runs the trial."""
        with one_line_errors():
            trial.set_user_attr("heartbeat", time.time())

    def finish(self, trial: Trial, outcome: Outcome, distance: float | None, images_seen: int, fault: str = "") -> None:
        """Record the end of a trial."""
        with one_line_errors():
            for name, value in {"outcome": outcome, "images_seen": images_seen, "fault": fault}.items():
                trial.set_user_attr(name, value)
            result = distance if outcome == "completed" else None
            self._study.tell(trial, result, _STATES[outcome], skip_if_finished=True)

    def trials(self) -> list[TrialSummary]:
        """Return all trials that have values, in their order."""
        with one_line_errors():
            return [_summary(trial) for trial in self._study.get_trials(deepcopy=False) if trial.params]

    def running_elsewhere(self) -> int:
        """Return the number of trials that other processes run, unless their heartbeat has stopped."""
        with one_line_errors():
            return len([trial for trial in self._running() if _age(trial) < _HEARTBEAT_TIMEOUT])

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
        return optuna.samplers.TPESampler(n_startup_trials=_STARTUP_TRIALS, seed=seed)

    def _running(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING])

    def _count(self) -> int:
        # Finished trials, and those that still run: in this folder, also after an interruption, or elsewhere.
        finished = self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE, TrialState.PRUNED])
        running = [
            one
            for one in self._running()
            if one.user_attrs.get("owner") == self._owner or _age(one) < _HEARTBEAT_TIMEOUT
        ]
        return len(finished) + len(running)

    def _is_running(self, trial: FrozenTrial) -> bool:
        return self._study._storage.get_trial(trial._trial_id).state is TrialState.RUNNING

    def _lock(self, number: int) -> AbstractContextManager[bool]:
        return hold_lock(self._folder / f"{self.name}-{number}.lock")


def open_study(sweep: SweepParameters, training: TrainingParameters, images: PreparedImages, folder: Path) -> Study:
    """Open the study of a sweep, or create it with the current values as its first trial, the baseline.

    A sweep with other images, training parameters, space, length or methods is another study. The number of trials and
    what only affects the speed may change.

    Raises:
        DataError: if the database cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "images": images.digest,
        "labels": images.classes.digest() if images.classes and training.conditional is not False else None,
        "trajectory": TRAJECTORY_VERSION,
        "training": training.model_dump(mode="json", exclude=OF_LENGTH_AND_SPEED),
        "sweep": sweep.model_dump(mode="json", exclude={"trials", "minutes", "confirmations", "storage", "preset"}),
    }
    name = "sweep-" + hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:8]
    space = distributions(sweep.space, training)
    with exclusive(folder), one_line_errors():
        owner = folder / "owner"
        if not owner.is_file():
            # The folder may be copied into a container, or moved: neither a host nor a path identifies it.
            with atomic_file(owner) as file:
                file.write_text(uuid.uuid4().hex, encoding="utf-8")
        study = create_or_load(name, sweep.storage, folder, _pruner(sweep))
        study.enqueue_trial(start_values(sweep.space, training), skip_if_exists=True)
        return Study(study, sweep, space, folder, owner.read_text(encoding="utf-8"))


def _pruner(sweep: SweepParameters) -> optuna.pruners.BasePruner:
    match sweep.pruner:
        case "median":
            return optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS)
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
        key=checked_key(facts.get("key")),
        fault=str(facts.get("fault", "")),
        images_seen=int(facts.get("images_seen", 0)),
    )


def checked_key(key: object) -> str:
    """Return the key of a tracked run, or an empty text: it names a folder, and others may write to the database."""
    return str(key) if re.fullmatch("[0-9a-f]{32}", str(key)) else ""


def _age(trial: FrozenTrial) -> float:
    # Seconds since the last heartbeat. A trial without one has just been created, or its process died at once.
    started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    return time.time() - float(trial.user_attrs.get("heartbeat", started))


def best_of(trials: Sequence[TrialSummary]) -> TrialSummary | None:
    """Return the completed trial with the smallest distance."""
    completed = [trial for trial in trials if trial.distance is not None]
    return min(completed, key=lambda trial: trial.distance or 0.0, default=None)
