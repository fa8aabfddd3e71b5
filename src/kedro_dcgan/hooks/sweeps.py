"""Log a sweep to MLflow: a run of its own, and one nested in it for each training."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from kedro_dcgan.config import flatten
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.hooks.checks import checked_parameters, path_of
from kedro_dcgan.hooks.lineage import code_tags
from kedro_dcgan.storage import require_writable
from kedro_dcgan.tracking.connection import TrackingSettings, read_settings
from kedro_dcgan.tracking.journal import Journal, RunIdentity, milliseconds
from kedro_dcgan.tracking.run import TrackedRun

if TYPE_CHECKING:
    from kedro_dcgan.sweeps.jobs import Job
    from kedro_dcgan.sweeps.runner import SweepEvent

_EVENTS = {"sweep_trials", "sweep_confirmations"}
_STATUS = {"completed": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}


class SweepHooks:
    """Log each event of a sweep to the run of its training, which is nested in that of the sweep.

    Only the process that selects the best trial logs to the run of the sweep; others train for it.
    """

    _sweep: TrackedRun | None = None
    _training: TrackedRun | None = None
    _training_key = ""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read the tracking settings."""
        self._context, self._sweep, self._training = context, None, None
        self._settings: TrackingSettings = read_settings(context.config_loader["tracking"])

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Keep the catalog, for the paths of results."""
        self._catalog, self._is_open, self._is_leader = catalog, False, "sweep_page" in pipeline.all_outputs()

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Keep the images: the runs name them."""
        if dataset_name == "images":
            self._images: PreparedImages = data

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log an event, or the page of the sweep."""
        # (The trainings with more seeds end with the finalists, not with an event.)
        if dataset_name in _EVENTS and hasattr(data, "outcome"):
            self._log(data)
        elif dataset_name == "sweep_page" and self._sweep:
            self._sweep.log_file(path_of(self._catalog, dataset_name))

    @hook_impl
    def after_pipeline_run(self) -> None:
        """End the run of the sweep as FINISHED."""
        self._close("FINISHED")

    @hook_impl
    def on_pipeline_error(self) -> None:
        """End the open runs as FAILED."""
        self._close("FAILED")

    def interrupt(self) -> None:
        """End the open runs as KILLED. Kedro calls no hook when a signal ends a run."""
        self._close("KILLED")

    def _log(self, event: "SweepEvent") -> None:
        if not self._is_open:
            self._open_sweep(event)
        if event.job is None:
            return
        run, tick = self._run_of(event.job, event.sweep, event.key), event.tick
        if tick:
            run.log_history(tick.history)
            if tick.picture:
                run.log_image(Path(tick.picture), "samples", tick.images_seen)
        if event.outcome:
            tags = {"outcome": event.outcome, "verdict": event.fault or (tick.health if tick else "")}
            run.log_tags({**tags, "pruned": "true"} if event.outcome == "pruned" else tags)
            self._training = None
            run.close(_STATUS[event.outcome])

    def _open_sweep(self, event: "SweepEvent") -> None:
        self._is_open = True
        require_writable(self._settings.journals, self._settings.journals)
        identity = RunIdentity(event.key, self._settings.experiment, event.sweep, milliseconds())
        if not self._is_leader:
            # The first training to be uploaded creates the run, if the sweep has not done so yet.
            Journal.create(self._settings.journals, identity)
            return
        # The runs of the trainings have the metrics of the system.
        self._sweep = TrackedRun(self._settings.model_copy(update={"system_metrics_seconds": 0}), identity)
        values = flatten(checked_parameters(self._context))
        groups = ("ingestion.", "preprocessing.", "training.", "sweep.")
        # The address of a database may have a password.
        values.pop("sweep.storage")
        self._sweep.log_parameters({name: value for name, value in values.items() if name.startswith(groups)})
        self._sweep.log_tags({"preset": self._context.env or "base", **code_tags(self._context.project_path)})
        self._log_images(self._sweep)

    def _run_of(self, job: "Job", sweep: str, sweep_key: str) -> TrackedRun:
        if self._training is None or self._training_key != job.key:
            from kedro_dcgan.training.devices import hardware_of
            from kedro_dcgan.training.plan import class_shares, compute_of

            identity = RunIdentity(job.key, self._settings.experiment, job.name, milliseconds(), parent=sweep_key)
            self._training, self._training_key = TrackedRun(self._settings, identity), job.key
            values = flatten(checked_parameters(self._context))
            of_data = {
                name: value for name, value in values.items() if name.startswith(("ingestion.", "preprocessing."))
            }
            self._training.log_parameters({**of_data, **flatten(job.training, "training.")})
            hardware = hardware_of(compute_of(job.training).device)
            training = job.training.for_images(self._images.count("train"), self._images.class_counts())
            classes = str(len(class_shares(self._images, training)))
            tags = {"preset": self._context.env or "base", "hardware": hardware, "classes": classes, "sweep": sweep}
            self._training.log_tags({**tags, **code_tags(self._context.project_path)})
            self._log_images(self._training)
        return self._training

    def _log_images(self, run: TrackedRun) -> None:
        images = self._images
        run.log_dataset(images.name, images.digest, images.source, {})
        run.log_tags({"dataset_digest": images.digest})

    def _close(self, status: str) -> None:
        for run in (self._training, self._sweep):
            if run:
                run.close(status)
        self._sweep = self._training = None
