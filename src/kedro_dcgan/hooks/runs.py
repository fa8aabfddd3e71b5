"""Log to MLflow: one run per trained generator, even if several commands train, evaluate and export it."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from kedro_dcgan.config import flatten
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.hooks.checks import checked_parameters
from kedro_dcgan.hooks.lineage import code_tags, dvc_hash
from kedro_dcgan.hooks.locks import path_of
from kedro_dcgan.reports.pictures import SampleFrames
from kedro_dcgan.tracking.connection import TrackingSettings, read_settings
from kedro_dcgan.tracking.journal import RunIdentity, milliseconds
from kedro_dcgan.tracking.run import TrackedRun

if TYPE_CHECKING:
    # Every command imports the hooks, and importing torch takes seconds.
    from kedro_dcgan.datasets import SampleFramesDataset
    from kedro_dcgan.model.saved import TrainedGenerator
    from kedro_dcgan.training.checkpoints import TrainingStart

logger = logging.getLogger(__name__)


class TrackingHooks:
    """Log each saved dataset to the run that it belongs to.

    The training node opens or resumes a run. Evaluation and export without training add to the run of the existing
    generator. Ingestion and preprocessing alone open no run.
    """

    _run: TrackedRun | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read the tracking settings."""
        self._context, self._run = context, None
        self._settings: TrackingSettings = read_settings(context.config_loader["tracking"])

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Open the run of the existing generator, unless this pipeline trains a new one."""
        self._catalog, self._outputs = catalog, pipeline.all_outputs()
        if "generator" not in self._outputs and self._outputs & set(_LOGGERS):
            self._open_run_of_generator()

    @hook_impl
    def before_node_run(self, node: Node, inputs: dict[str, Any]) -> None:
        """Open the run of the training and log its parameters and images."""
        if "generator" in node.outputs:
            self._open_run_of_training(inputs["training_start"], inputs["images"])

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log a dataset that a node has saved."""
        if self._run and dataset_name in _LOGGERS:
            _LOGGERS[dataset_name](self, self._run, dataset_name, data)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Register the exported generator and end the run as FINISHED."""
        try:
            if self._run and "exported_generator" in self._outputs:
                parts = [path_of(self._catalog, name) for name in _MODEL_PARTS]
                self._run.register_generator(parts, checked_parameters(self._context).export.registered_model)
        finally:
            self._close("FINISHED")

    @hook_impl
    def on_pipeline_error(self) -> None:
        """End the run as FAILED."""
        self._close("FAILED")

    def interrupt(self) -> None:
        """End the run as KILLED. Kedro calls no hook when a signal ends a run, so the command line calls this."""
        self._close("KILLED")

    def _open_run_of_training(self, start: "TrainingStart", images: PreparedImages) -> None:
        from kedro_dcgan.training.devices import hardware_of

        plan, resume_from, key = start.plan, start.resume_from, str(start.run_key)
        preset = self._context.env or "base"
        name = self._settings.run_name or f"{preset}-{round(plan.total_images / 1000, 1):g}kimg-{key[:4]}"
        identity = RunIdentity(key, self._settings.experiment, name, milliseconds())
        self._run = run = TrackedRun(self._settings, identity, log_system_metrics=True)
        checked, values = checked_parameters(self._context), dict[str, Any]()
        for group in ("ingestion", "preprocessing", "training"):
            values |= flatten(getattr(checked, group), f"{group}.")
        run.log_parameters(values)
        run.log_tags(
            {"preset": preset, "hardware": hardware_of(plan.compute.device), **code_tags(self._context.project_path)}
        )
        self._log_images(run, images)
        if resume_from and run.last_step < 0:
            # A new run of a resumed training: log the earlier grids now. The next tick logs the earlier history.
            dataset: SampleFramesDataset = self._catalog["sample_frames"]  # type: ignore[assignment]
            earlier = dataset.of(resume_from.training_id, resume_from.images_seen)
            self._log_grids(run, resume_from.training_id, [frame.images_seen for frame in earlier])

    def _open_run_of_generator(self) -> None:
        key = self._catalog.load("training_run").get("run") if self._catalog.exists("training_run") else None
        if key:
            identity = RunIdentity(key, self._settings.experiment, "", milliseconds(), must_exist=True)
            self._run = TrackedRun(self._settings, identity)
        else:
            logger.warning("Nothing is logged to MLflow: the run that trained this generator is unknown.")

    def _close(self, status: str) -> None:
        run, self._run = self._run, None
        if run:
            run.close(status)

    def _log_images(self, run: TrackedRun, images: PreparedImages) -> None:
        # Their own source: the ingestion parameters of this command may differ.
        source, project = images.source, self._context.project_path
        hashes = {
            "dvc.source_md5": dvc_hash(project, source),
            "dvc.images_md5": dvc_hash(project, path_of(self._catalog, "images")),
        }
        tags = {name: value for name, value in hashes.items() if value}
        run.log_dataset(Path(source).name, images.digest, source, tags)
        run.log_tags({"dataset_digest": images.digest, **tags})
        # An earlier command, without a run, may have prepared the images.
        for name in ("dataset_report", "accepted_images"):
            if self._catalog.exists(name):
                run.log_file(path_of(self._catalog, name))

    def _log_generator(self, run: TrackedRun, name: str, generator: "TrainedGenerator") -> None:
        run.log_tags({name: str(generator.facts[name]) for name in ("verdict", "precision", "threads", "execution")})

    def _log_history(self, run: TrackedRun, name: str, history: pd.DataFrame) -> None:
        # All ticks that the run does not have yet: extending a training starts a new run with the whole history.
        for _, row in history[history["images_seen"] > run.last_step].iterrows():
            numbers = {str(name): float(value) for name, value in row.items() if name != "health" and pd.notna(value)}
            run.log_tick(numbers, int(numbers.pop("images_seen")))

    def _log_frames(self, run: TrackedRun, name: str, frames: SampleFrames) -> None:
        self._log_grids(run, frames.training_id, [grid.images_seen for grid in frames.grids])

    def _log_grids(self, run: TrackedRun, training_id: str, steps: Sequence[int]) -> None:
        dataset: SampleFramesDataset = self._catalog["sample_frames"]  # type: ignore[assignment]
        for images_seen in steps:
            run.log_image(dataset.file_of(training_id, images_seen), "samples", images_seen)

    def _log_evaluation(self, run: TrackedRun, name: str, evaluation: dict[str, Any]) -> None:
        run.log_metrics(evaluation["metrics"], evaluation["images_seen"])
        run.log_tags({"quality": evaluation["verdict"]})
        self._log_file(run, name, evaluation)

    def _log_file(self, run: TrackedRun, name: str, _: Any) -> None:
        run.log_file(path_of(self._catalog, name))


# The parts of a registered model: the generator, its exports for other runtimes, and a sample grid.
_MODEL_PARTS = ("exported_generator", "onnx_generator", "exported_program", "sample_grid")

# Datasets that are logged as files.
_FILES = (
    "evaluation_page",
    "evaluation_table",
    "compared_samples",
    "sample_grid",
    "training_curves",
    "progress",
    "progress_video",
)
# How to log each dataset.
_LOGGERS: dict[str, Callable[[TrackingHooks, TrackedRun, str, Any], None]] = {
    "generator": TrackingHooks._log_generator,
    "training_history": TrackingHooks._log_history,
    "sample_frames": TrackingHooks._log_frames,
    "evaluation": TrackingHooks._log_evaluation,
    **dict.fromkeys(_FILES, TrackingHooks._log_file),
}
