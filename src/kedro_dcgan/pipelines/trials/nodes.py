"""Run the trials of a sweep; yield an event at each tick and at the end of each trial."""

import logging
from collections.abc import Iterator

from kedro_dcgan.config import SweepParameters, TrainingParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.errors import Interrupted, stop_on_signal
from kedro_dcgan.progress import progress_bar, short_images
from kedro_dcgan.reports.sweep import saved_by_pruning
from kedro_dcgan.sweeps.jobs import SweepFolder
from kedro_dcgan.sweeps.runner import Runner, SweepEvent
from kedro_dcgan.sweeps.space import require_trainable
from kedro_dcgan.sweeps.study import best_of, open_study

logger = logging.getLogger(__name__)

_STOPPED = (
    "stopped{} Finished trials are kept, and the interrupted one has a checkpoint. Continue with the same command."
)


def run_trials(
    images: PreparedImages, sweep_files: SweepFolder, sweep: SweepParameters, training: TrainingParameters
) -> Iterator[SweepEvent]:
    """Yield the events of the trials that this process runs.

    SIGINT and SIGTERM end the current trial with a checkpoint. The next call resumes it.

    Raises:
        ParameterError, DataError: if the space or its trainings do not fit the images or the machine.
        Interrupted: after a signal, when everything is saved.
    """
    require_trainable(images, sweep, training)
    study = open_study(sweep, training, images, sweep_files.path)
    before = study.trials()
    logger.info(
        f"sweep         {study.name} · {sweep.trials} trials of {short_images(round(sweep.kimg * 1000))} · "
        f"{sweep.sampler}, {sweep.pruner} pruner{f' · {len(before)} trials so far' if before else ''}"
    )
    yield SweepEvent(study.name)
    done = sum(trial.images_seen for trial in before)
    total = max(done, round(sweep.trials * sweep.kimg * 1000))
    at_once = _STOPPED.format(" at once.")
    with stop_on_signal(at_once=at_once) as request, progress_bar("sweep", total, done) as bar:
        yield from Runner(study, images, sweep, training, sweep_files, request, bar).run_trials()
        if request.signal_number is not None:
            raise Interrupted(request.signal_number, _STOPPED.format("."))
    trials = study.trials()
    best = best_of(trials)
    found = f"best fd {best.distance:,.0f} in trial {best.number}" if best and best.distance else "no trial ended well"
    logger.info(f"trials        {len(trials)} · {found} · pruning saved {saved_by_pruning(trials):.0%} of the images")
