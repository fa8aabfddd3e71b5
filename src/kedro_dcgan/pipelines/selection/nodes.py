"""Train the best parameters of a sweep with more seeds, and turn the best training into the results of the sweep."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from kedro_dcgan.config import (
    EvaluationParameters,
    ExportParameters,
    IngestionParameters,
    PreprocessingParameters,
    SweepParameters,
    TrainingParameters,
)
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.errors import Interrupted, TrainingError, stop_on_signal
from kedro_dcgan.model.saved import TrainedGenerator
from kedro_dcgan.progress import progress_bar, short_images
from kedro_dcgan.reports.pictures import SampleFrames
from kedro_dcgan.reports.sweep import SweepReport, write_sweep_page
from kedro_dcgan.sweeps.confirmation import Arm, Finalists, choose_finalists
from kedro_dcgan.sweeps.jobs import Job, SweepFolder
from kedro_dcgan.sweeps.runner import Runner, SweepEvent, format_values
from kedro_dcgan.sweeps.study import Study, open_study
from kedro_dcgan.training.in_process import distance_name

logger = logging.getLogger(__name__)

_STOPPED = "stopped{} All trials are kept. Continue with the same command."
# Completed trials whose samples the page shows.
_SHOWN = 5

# Of each training of a sweep's end: that of its best generator, or None if it has failed.
Distances = Mapping[tuple[Arm, int], float | None]
Selection = tuple[dict[str, str], TrainedGenerator, pd.DataFrame, SampleFrames, str, dict[str, Any]]


def confirm_best(
    images: PreparedImages,
    sweep_trials: SweepEvent,
    sweep_files: SweepFolder,
    sweep: SweepParameters,
    training: TrainingParameters,
) -> Iterator[SweepEvent | Finalists]:
    """Yield the events of the trainings of the best and the baseline's parameters with more seeds; last, the finalists.

    Raises:
        TrainingError: if no trial ended well.
        Interrupted: after a signal, when everything is saved.
    """
    study = open_study(sweep, training, images, sweep_files.path)
    finalists = choose_finalists(study, sweep, training, sweep_files)
    missing = [job for *_, job in finalists.jobs if not sweep_files.of(job.key).has_results()]
    if missing:
        logger.info(f"confirmation  {len(missing)} trainings with other seeds")
    total, at_once = round(len(missing) * sweep.kimg * 1000), _STOPPED.format(" at once.")
    with stop_on_signal(at_once=at_once) as request, progress_bar("confirmation", total) as bar:
        runner = Runner(study, images, sweep, training, sweep_files, request, bar)
        yield from runner.confirm([job for *_, job in finalists.jobs])
        if request.signal_number is not None:
            raise Interrupted(request.signal_number, _STOPPED.format("."))
    # Other processes may find a better trial later. This one is compared.
    yield finalists


def select_best(
    images: PreparedImages,
    sweep_confirmations: Finalists,
    sweep_files: SweepFolder,
    sweep: SweepParameters,
    training: TrainingParameters,
    ingestion: IngestionParameters,
    preprocessing: PreprocessingParameters,
    evaluation: EvaluationParameters,
    export: ExportParameters,
) -> Selection:
    """Return the run, generator, history and samples of the best training, a page about the sweep, and a preset.

    Raises:
        TrainingError: if all trainings with the best parameters have failed here.
    """
    study, best = open_study(sweep, training, images, sweep_files.path), sweep_confirmations.best
    distances = {(arm, seed): sweep_files.of(job.key).distance() for arm, seed, job in sweep_confirmations.jobs}
    job = _best_training(sweep_confirmations, distances)
    files = sweep_files.of(job.key)
    generator, history = files.read()
    claim = sweep_confirmations.claim(distances, training.seed)
    logger.info(f"selected      {job.name} · {format_values(best.values)} · {claim}")

    metric = distance_name(images, job.training) or ""
    report = _report(study, sweep_confirmations, distances, claim, metric, sweep, training.seed, sweep_files)
    groups = {"ingestion": ingestion, "preprocessing": preprocessing, "evaluation": evaluation, "export": export}
    preset = {
        "name": sweep.preset,
        "note": f"the best of {len(report.trials)} trials of {report.length} ({report.name}): {claim}",
        "always": {f"training.{name}" for name in best.values},
        "parameters": {
            "training": training.with_values(best.values).model_dump(mode="json"),
            **{group: values.model_dump(mode="json") for group, values in groups.items()},
        },
    }
    grids = files.grids()
    frames = SampleFrames(job.key, grids[-1].images_seen if grids else 0, grids, may_resume=False)
    return {"run": job.key}, generator, history, frames, write_sweep_page(report), preset


def _best_training(finalists: Finalists, distances: Distances) -> Job:
    candidates = [
        (distance, job)
        for arm, seed, job in finalists.jobs
        if arm == "best" and (distance := distances[arm, seed]) is not None
    ]
    if not candidates:
        raise TrainingError(
            "the best parameters must train well on this machine (all their trainings failed). Search fewer or smaller "
            "values in `sweep.space`."
        )
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _report(
    study: Study,
    finalists: Finalists,
    distances: Distances,
    claim: str,
    metric: str,
    sweep: SweepParameters,
    seed_of_trials: int,
    files: SweepFolder,
) -> SweepReport:
    """Gather what the page shows."""
    confirmation: dict[str, dict[int, float | None]] = {"best": {}, "baseline": {}}
    for (arm, seed), distance in distances.items():
        if seed != seed_of_trials:
            confirmation[arm][seed] = distance
    trials = study.trials()
    completed = sorted((one for one in trials if one.distance is not None), key=lambda one: one.distance or 0.0)
    # Another machine may have the samples.
    grids = {trial.number: files.of(trial.key).grids() for trial in completed[:_SHOWN]}
    return SweepReport(
        name=study.name,
        metric=metric,
        trials=trials,
        best=finalists.best.number,
        claim=claim,
        importances=study.importances(),
        confirmation=confirmation,
        grids={number: found[-1].picture for number, found in grids.items() if found},
        length=short_images(round(sweep.kimg * 1000)),
        preset=sweep.preset,
    )
