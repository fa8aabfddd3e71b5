"""The last step of a sweep: a comparison of its best trial with the baseline, the first trial.

The baseline has the parameters of the project. The best of many trials is partly luck. So both are trained with more
seeds, and only these are compared.
"""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kedro_dcgan.config import SweepParameters, TrainingParameters
from kedro_dcgan.errors import TrainingError
from kedro_dcgan.reports.sweep import TrialSummary
from kedro_dcgan.sweeps.jobs import Job, SweepFolder
from kedro_dcgan.sweeps.runner import key_of
from kedro_dcgan.sweeps.space import trial_parameters
from kedro_dcgan.sweeps.study import Study, best_of

Arm = Literal["best", "baseline"]


@dataclass(frozen=True)
class Comparison:
    """The distances of the best and of the baseline's parameters by seed; None for a training that failed."""

    best: Mapping[int, float | None]
    baseline: Mapping[int, float | None]

    @property
    def text(self) -> str:
        """The result, for people."""
        seeds = sorted(self.best.keys() & self.baseline.keys())
        if not seeds:
            return "not compared with the baseline: no other seeds"
        pairs = [(self.best[seed], self.baseline[seed]) for seed in seeds]
        wins = sum(best is not None and (other is None or best < other) for best, other in pairs)
        logs = [math.log(best / other) for best, other in pairs if best is not None and other is not None]
        count = f"{wins} of {len(seeds)} other seed{'s' if len(seeds) > 1 else ''}"
        if wins < len(seeds):
            return f"not confirmed: better than the baseline with {count}"
        change = f"{1 - math.exp(statistics.fmean(logs)):.0%} lower" if logs else "better"
        return f"{change} than the baseline, with {count}"


@dataclass(frozen=True)
class Finalists:
    """The best trial, the baseline, and the trainings that compare them: arm, seed and job, the best trial's own first.

    `baseline` is None if it is the best, or has failed.
    """

    best: TrialSummary
    baseline: TrialSummary | None
    jobs: tuple[tuple[Arm, int, Job], ...]

    def claim(self, distances: Mapping[tuple[Arm, int], float | None], seed: int) -> str:
        """Return the result from the distances by arm and seed, without those of the trials' own `seed`."""
        if self.best.number == 0:
            return "no trial was better than the baseline"
        if self.baseline is None:
            return "not compared with the baseline: it failed"
        by_arm = {
            arm: {number: distance for (of, number), distance in distances.items() if of == arm and number != seed}
            for arm in ("best", "baseline")
        }
        return Comparison(by_arm["best"], by_arm["baseline"]).text


def choose_finalists(
    study: Study, sweep: SweepParameters, training: TrainingParameters, folder: SweepFolder
) -> Finalists:
    """Choose the best trial and the baseline, and list their trainings with more seeds.

    If another machine has trained the best trial, it is trained again here.

    Raises:
        TrainingError: if no trial ended well.
    """
    trials = study.trials()
    best = best_of(trials)
    if best is None:
        faults = sorted({trial.fault or trial.outcome or "unfinished" for trial in trials})
        raise TrainingError(
            f"a sweep must have a trial that ends well (none of {len(trials)} has: {'; '.join(faults)[:200]}). Change "
            "`sweep.space`."
        )
    first = next((trial for trial in trials if trial.number == 0 and trial.distance is not None), None)
    baseline = first if first and first.number != best.number else None
    own = _job(study, sweep, training, best, training.seed)
    if best.key and folder.of(best.key).has_results():
        own = Job(best.key, f"{study.name}-{best.number:02d}", best.values, own.training)
    jobs: list[tuple[Arm, int, Job]] = [("best", training.seed, own)]
    for seed in range(training.seed + 1, training.seed + 1 + sweep.confirmations):
        jobs.append(("best", seed, _job(study, sweep, training, best, seed)))
        if baseline:
            jobs.append(("baseline", seed, _job(study, sweep, training, baseline, seed)))
    return Finalists(best, baseline, tuple(jobs))


def _job(study: Study, sweep: SweepParameters, training: TrainingParameters, trial: TrialSummary, seed: int) -> Job:
    parameters = trial_parameters(training.model_copy(update={"seed": seed}), sweep, trial.values)
    key = key_of(study.name, sorted(trial.values.items()), seed)
    return Job(key, f"{study.name}-{trial.number:02d}-seed{seed}", trial.values, parameters)
