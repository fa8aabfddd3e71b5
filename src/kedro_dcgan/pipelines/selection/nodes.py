"""Train the best parameters of a sweep with more seeds, and turn the best training into the results of the sweep."""

import logging
from collections.abc import Iterator
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
from kedro_dcgan.reports.sweep import SweepReport, TrialSummary, write_sweep_page
from kedro_dcgan.sweeps.confirmation import Confirmation, chosen_trials, jobs_of
from kedro_dcgan.sweeps.jobs import Job, SweepFolder
from kedro_dcgan.sweeps.runner import Runner, SweepEvent, in_words
from kedro_dcgan.sweeps.space import with_values
from kedro_dcgan.sweeps.study import open_study
from kedro_dcgan.training.in_process import distance_name

logger = logging.getLogger(__name__)

_STOPPED = "stopped{} All trials are kept. Continue with the same command."
# Completed trials whose samples the page shows.
_SHOWN = 5

Selection = tuple[dict[str, str], TrainedGenerator, pd.DataFrame, SampleFrames, str, dict[str, Any]]


def confirm_best(
    images: PreparedImages,
    sweep_trials: SweepEvent,
    sweep_files: SweepFolder,
    sweep: SweepParameters,
    training: TrainingParameters,
) -> Iterator[SweepEvent]:
    """Yield the events of the trainings of the best and the first parameters with more seeds.

    Raises:
        TrainingError: if no trial ended well.
        Interrupted: after a signal, when everything is saved.
    """
    study = open_study(sweep, training, images.digest, sweep_files.path)
    jobs = [job for _, _, job in jobs_of(study, sweep, training, sweep_files)]
    yield SweepEvent(sweep_trials.sweep)
    missing = [job for job in jobs if not sweep_files.of(job.key).has_results()]
    if missing:
        logger.info(f"confirmation  {len(missing)} trainings with other seeds")
    total, at_once = round(len(missing) * sweep.kimg * 1000), _STOPPED.format(" at once.")
    with stop_on_signal(at_once=at_once) as request, progress_bar("confirmation", total) as bar:
        yield from Runner(study, images, sweep, training, sweep_files, request, bar).confirm(missing)
        if request.signal_number is not None:
            raise Interrupted(request.signal_number, _STOPPED.format("."))


def select_best(
    images: PreparedImages,
    sweep_confirmations: SweepEvent,
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
        TrainingError: if no training with the best parameters ended well.
    """
    study = open_study(sweep, training, images.digest, sweep_files.path)
    best, first = chosen_trials(study)
    distances: dict[str, dict[int, float]] = {"best": {}, "first": {}}
    candidates: list[tuple[float, Job]] = []
    name = distance_name(images, training)
    for arm, seed, job in jobs_of(study, sweep, training, sweep_files):
        if not sweep_files.of(job.key).has_results():
            continue
        # (A training that was interrupted after its last tick is complete all the same.)
        distance = float(sweep_files.of(job.key).read()[1][name].min())
        if seed != training.seed:
            distances[arm][seed] = distance
        if arm == "best":
            candidates.append((distance, job))
    if not candidates:
        raise TrainingError("the best parameters must train again here (they do not). Sweep again, with other images.")
    confirmation = Confirmation(distances["best"], distances["first"])
    _, job = min(candidates, key=lambda candidate: candidate[0])
    files = sweep_files.of(job.key)
    generator, history = files.read()
    claim = confirmation.text if first else "the first parameters are the best of all trials"
    logger.info(f"selected      {job.name} · {in_words(best.values)} · {claim}")

    grids = files.grids()
    trials = study.trials()
    report = SweepReport(
        name=sweep_confirmations.sweep,
        metric=name or "distance",
        trials=trials,
        best=best.number,
        claim=claim,
        importances=study.importances(),
        confirmation={"best": distances["best"], "first": distances["first"]},
        grids=_grids(trials, sweep_files),
        length=short_images(round(sweep.kimg * 1000)),
        preset=sweep.preset,
    )
    groups = {"ingestion": ingestion, "preprocessing": preprocessing, "evaluation": evaluation, "export": export}
    preset = {
        "name": sweep.preset,
        "note": f"the best of {len(trials)} trials of {report.length} ({report.name}): {claim}",
        "always": {f"training.{name}" for name in best.values},
        "parameters": {
            "training": with_values(training, best.values).model_dump(mode="json"),
            **{group: values.model_dump(mode="json") for group, values in groups.items()},
        },
    }
    frames = SampleFrames(job.key, grids[-1].images_seen if grids else 0, grids)
    return {"run": job.key}, generator, history, frames, write_sweep_page(report), preset


def _grids(trials: list[TrialSummary], files: SweepFolder) -> dict[int, Any]:
    """Return the last grid of the best trials, as far as this machine has them."""
    completed = sorted((one for one in trials if one.distance is not None), key=lambda one: one.distance or 0.0)
    grids = {trial.number: files.of(trial.key).grids() for trial in completed[:_SHOWN]}
    return {number: found[-1].picture for number, found in grids.items() if found}
