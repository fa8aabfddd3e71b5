"""The last step of a sweep: a test whether its best trial is better than the first one, with the project's parameters.

The best of many trials is partly luck. So both are trained with more seeds, and only these count for the claim.
"""

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kedro_dcgan.config import SweepParameters, TrainingParameters
from kedro_dcgan.errors import TrainingError
from kedro_dcgan.reports.sweep import TrialSummary
from kedro_dcgan.sweeps.jobs import Job, SweepFolder
from kedro_dcgan.sweeps.runner import key_of
from kedro_dcgan.sweeps.space import trial_parameters
from kedro_dcgan.sweeps.study import Study, best_of


@dataclass(frozen=True)
class Confirmation:
    """The distances of the best and of the first parameters by seed; those of more seeds than the trials' own."""

    best: Mapping[int, float]
    first: Mapping[int, float]

    @property
    def ratio(self) -> float | None:
        """The ratio of the geometric means, best by first, over the seeds that both have."""
        shared = self.best.keys() & self.first.keys()
        if not shared:
            return None
        logs = [math.log(self.best[seed] / self.first[seed]) for seed in shared]
        return math.exp(statistics.fmean(logs))

    @property
    def text(self) -> str:
        """The claim that these distances support, for people."""
        shared = sorted(self.best.keys() & self.first.keys())
        if self.ratio is None:
            return "not confirmed with other seeds"
        seeds = f"{len(shared)} other seed{'s' if len(shared) > 1 else ''}"
        wins = sum(self.best[seed] < self.first[seed] for seed in shared)
        if wins == len(shared):
            return f"confirmed: {1 - self.ratio:.0%} below the first parameters with {seeds}"
        return f"not confirmed: better than the first parameters with {wins} of {seeds}"


def chosen_trials(study: Study) -> tuple[TrialSummary, TrialSummary | None]:
    """Return the best trial, and the first one if it is another and has finished; TrainingError if none has."""
    trials = study.trials()
    best = best_of(trials)
    if best is None:
        raise TrainingError(
            f"a sweep must have a trial that ends well (none of {len(trials)} has). Look at their faults in MLflow, "
            "and change `sweep.space`."
        )
    first = next((trial for trial in trials if trial.number == 0 and trial.distance is not None), None)
    return best, first if first and first.number != best.number else None


def jobs_of(
    study: Study, sweep: SweepParameters, training: TrainingParameters, folder: SweepFolder
) -> Iterator[tuple[str, int, Job]]:
    """Yield the trainings of the last step: `best` or `first`, the seed, and the job.

    The best trial comes first. If another machine has trained it, it is trained again here.
    """
    best, first = chosen_trials(study)
    if folder.of(best.key).has_results():
        parameters = trial_parameters(training, sweep, best.values)
        yield "best", training.seed, Job(best.key, f"{study.name}-{best.number:02d}", best.values, parameters)
    else:
        yield "best", training.seed, _job(study, sweep, training, best, "best", training.seed)
    for seed in range(training.seed + 1, training.seed + 1 + sweep.confirmations):
        for arm, trial in {"best": best, "first": first}.items():
            if trial is not None:
                yield arm, seed, _job(study, sweep, training, trial, arm, seed)


def _job(
    study: Study, sweep: SweepParameters, training: TrainingParameters, trial: TrialSummary, arm: str, seed: int
) -> Job:
    parameters = trial_parameters(training.model_copy(update={"seed": seed}), sweep, trial.values)
    key = key_of(study.name, sorted(trial.values.items()), seed)
    return Job(key, f"{study.name}-{arm}-seed{seed}", trial.values, parameters)
