"""Log a sweep to MLflow: a run of its own, and one nested in it for each training."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog

from kedro_dcgan.config import flatten
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.errors import TrackingError
from kedro_dcgan.hooks.checks import checked_parameters, path_of
from kedro_dcgan.hooks.lineage import code_tags
from kedro_dcgan.storage import require_writable
from kedro_dcgan.tracking.connection import TrackingSettings, read_settings
from kedro_dcgan.tracking.journal import RunIdentity, milliseconds
from kedro_dcgan.tracking.run import TrackedRun

if TYPE_CHECKING:
    from kedro_dcgan.sweeps.jobs import JobTick
    from kedro_dcgan.sweeps.runner import SweepEvent

_EVENTS = {"sweep_trials", "sweep_confirmations"}
_STATUS = {"completed": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}


class SweepHooks:
    """Log each event of a sweep to the run of its training, which is nested in that of the sweep.

    A process that helps a sweep in the same folder does not log to the run of the sweep.
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
    def before_pipeline_run(self, catalog: DataCatalog) -> None:
        """Keep the catalog, for the paths of results."""
        self._catalog, self._is_open = catalog, False

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Keep the images: the runs name them."""
        if dataset_name == "images":
            self._images: PreparedImages = data

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log an event, or the page of the sweep."""
        if dataset_name in _EVENTS:
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
        tick = event.tick
        if tick is None:
            return
        run = self._run_of(event.sweep, event.key, tick)
        new_ticks = tick.history[tick.history["images_seen"] > run.last_step].drop(columns="health", errors="ignore")
        for _, row in new_ticks.iterrows():
            numbers = {str(name): float(value) for name, value in row.dropna().items()}
            run.log_tick(numbers, int(numbers.pop("images_seen")))
        if tick.picture:
            run.log_image(Path(tick.picture), "samples", tick.images_seen)
        if event.outcome:
            tags = {"outcome": event.outcome, "verdict": event.fault or tick.health}
            if event.outcome == "pruned":
                tags["pruned"] = "true"
            run.log_tags(tags)
            self._training = None
            run.close(_STATUS[event.outcome])

    def _open_sweep(self, event: "SweepEvent") -> None:
        self._is_open = True
        require_writable(self._settings.journals, self._settings.journals)
        identity = RunIdentity(event.key, self._settings.experiment, event.sweep, milliseconds())
        # The runs of the trainings have the metrics of the system.
        settings = self._settings.model_copy(update={"system_metrics_seconds": 0})
        try:
            self._sweep = TrackedRun(settings, identity)
        except TrackingError:
            # Another process of this folder runs the sweep.
            return
        values, groups = (
            flatten(checked_parameters(self._context)),
            ("ingestion.", "preprocessing.", "training.", "sweep."),
        )
        # The address of a database may have a password.
        values.pop("sweep.storage")
        self._sweep.log_parameters({name: value for name, value in values.items() if name.startswith(groups)})
        self._sweep.log_tags({"preset": self._context.env or "base", **code_tags(self._context.project_path)})
        self._log_images(self._sweep)

    def _run_of(self, sweep: str, sweep_key: str, tick: "JobTick") -> TrackedRun:
        if self._training is None or self._training_key != tick.job.key:
            from kedro_dcgan.training.devices import hardware_of

            job, preset = tick.job, self._context.env or "base"
            identity = RunIdentity(job.key, self._settings.experiment, job.name, milliseconds(), parent=sweep_key)
            self._training, self._training_key = TrackedRun(self._settings, identity), job.key
            values = flatten(checked_parameters(self._context))
            groups = ("ingestion.", "preprocessing.")
            of_data = {name: value for name, value in values.items() if name.startswith(groups)}
            self._training.log_parameters({**of_data, **flatten(job.training, "training.")})
            tags = {"preset": preset, "hardware": hardware_of(tick.plan.compute.device), "sweep": sweep}
            self._training.log_tags({**tags, **code_tags(self._context.project_path)})
            self._log_images(self._training)
        return self._training

    def _log_images(self, run: TrackedRun) -> None:
        images = self._images
        run.log_dataset(Path(images.source).name, images.digest, images.source, {})
        run.log_tags({"dataset_digest": images.digest})

    def _close(self, status: str) -> None:
        for run in (self._training, self._sweep):
            if run:
                run.close(status)
        self._sweep = self._training = None
