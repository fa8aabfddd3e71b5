"""One MLflow run for each trained generator, whichever commands made it."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from kedro_dcgan import tracking
from kedro_dcgan.hooks.checks import checked_parameters
from kedro_dcgan.hooks.lineage import dvc_hash
from kedro_dcgan.hooks.places import saved_at
from kedro_dcgan.images.grid import SampleGrid
from kedro_dcgan.images.shards import PreparedImages
from kedro_dcgan.parameters import flatten

if TYPE_CHECKING:
    # Hooks are imported by every command: most need no torch, which takes seconds to import.
    from kedro_dcgan.gan.trained import TrainedGenerator

logger = logging.getLogger(__name__)


class TrackingHooks:
    """Report what is saved to the run that it belongs to.

    A run is opened when a pipeline trains. Evaluation and export, run by themselves, go on in the
    run of the generator that they find; ingestion and preprocessing alone open none.
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Remember where MLflow's settings are: kedro-mlflow reads them."""
        self._context = context
        self._run_is_open = self._trains = False

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Open the run that the pipeline's results belong to."""
        self._catalog, outputs = catalog, pipeline.all_outputs()
        if outputs & {"manifest", "images", *_REPORTED}:
            # Our data are tracked here; kedro-mlflow would log each parameter model as one long string.
            names = run_params["pipeline_names"] or ["__default__"]
            self._context.mlflow.tracking.disable_tracking.pipelines = names  # type: ignore[attr-defined]
        self._trains = "generator" in outputs
        if self._trains:
            self._open_new_run()
        elif outputs & set(_REPORTED):
            self._reopen_run_of_generator()

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Report what the generator is trained on."""
        if self._run_is_open and self._trains and dataset_name == "images":
            self._report_images(data)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Report what a node has just made."""
        if self._run_is_open and dataset_name in _REPORTED:
            _REPORTED[dataset_name](self, dataset_name, data)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """End the run as finished."""
        self._close("FINISHED")

    @hook_impl
    def on_pipeline_error(self) -> None:
        """End the run as failed."""
        self._close("FAILED")

    def _open_new_run(self) -> None:
        settings = self._context.mlflow.tracking  # type: ignore[attr-defined]
        former = settings.run.id
        self._run_id = (
            tracking.reopen_run(former) if former else tracking.open_run(settings.experiment.name, settings.run.name)
        )
        self._run_is_open = True
        parameters = checked_parameters(self._context)
        of_training = {key: getattr(parameters, key) for key in ("ingestion", "preprocessing", "training")}
        flat = {name: value for key, model in of_training.items() for name, value in flatten(model, f"{key}.").items()}
        tracking.log_parameters(flat, {"preset": self._context.env or "base"})

    def _reopen_run_of_generator(self) -> None:
        former = self._catalog.load("training_run")["mlflow_run_id"] if self._catalog.exists("training_run") else None
        if former and tracking.run_exists(former):
            self._run_id = tracking.reopen_run(former)
            self._run_is_open = True
        else:
            logger.warning("The MLflow run that trained this generator is not in this database: nothing is logged.")

    def _close(self, status: str) -> None:
        if self._run_is_open:
            tracking.close_run(status)
            self._run_is_open = False

    def _report_images(self, images: PreparedImages) -> None:
        # What they were made of, which the parameters of this run need not say.
        source, project = images.source, self._context.project_path
        hashes = {
            "dvc.source_md5": dvc_hash(project, source),
            "dvc.images_md5": dvc_hash(project, saved_at(self._catalog, "images")),
        }
        tags = {name: value for name, value in hashes.items() if value}
        tracking.log_dataset(Path(source).name, images.digest, source, tags)
        # The dataset may have been made by a command of its own, when no run was open.
        for name in ("dataset_report", "accepted_images"):
            if self._catalog.exists(name):
                tracking.log_file(saved_at(self._catalog, name))
        # It is the same for all further loads in this run.
        self._trains = False

    def _report_generator(self, name: str, generator: "TrainedGenerator") -> None:
        # Evaluation and export find the run by this; it changes only when the generator does.
        self._catalog.save("training_run", {"mlflow_run_id": self._run_id})
        tracking.log_parameters({}, {"dataset_digest": generator.dataset_digest})

    def _report_history(self, name: str, history: pd.DataFrame) -> None:
        if len(history):
            newest = {str(name): float(value) for name, value in history.iloc[-1].items()}
            tracking.log_metrics(newest, int(newest.pop("images_seen")))

    def _report_frames(self, name: str, frames: list[SampleGrid]) -> None:
        for frame in frames:
            tracking.log_samples(frame.picture, frame.images_seen)

    def _report_evaluation(self, name: str, evaluation: dict[str, Any]) -> None:
        tracking.log_metrics(evaluation["metrics"], evaluation["images_seen"])
        self._report_file(name, evaluation)

    def _report_file(self, name: str, _: Any) -> None:
        tracking.log_file(saved_at(self._catalog, name))

    def _report_exported_generator(self, name: str, generator: "TrainedGenerator") -> None:
        registered = tracking.register_generator(
            saved_at(self._catalog, name), generator, checked_parameters(self._context).export.registered_model
        )
        logger.info("registered    %s", registered)


# What is reported of which dataset.
_REPORTED: dict[str, Callable[[TrackingHooks, str, Any], None]] = {
    "generator": TrackingHooks._report_generator,
    "training_history": TrackingHooks._report_history,
    "sample_frames": TrackingHooks._report_frames,
    "evaluation": TrackingHooks._report_evaluation,
    "sample_grid": TrackingHooks._report_file,
    "training_curves": TrackingHooks._report_file,
    "progress": TrackingHooks._report_file,
    "exported_generator": TrackingHooks._report_exported_generator,
}
