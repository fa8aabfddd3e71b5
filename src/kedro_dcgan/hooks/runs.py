"""Log to MLflow: one run per trained generator, even if several commands train, evaluate and export it."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from kedro_dcgan.config import flatten
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.experiments import experiment_name
from kedro_dcgan.hooks.checks import checked_parameters, path_of
from kedro_dcgan.hooks.lineage import code_tags, dvc_hash
from kedro_dcgan.progress import short_images
from kedro_dcgan.storage import require_writable
from kedro_dcgan.tracking.connection import TrackingSettings, read_settings
from kedro_dcgan.tracking.journal import RunIdentity, milliseconds
from kedro_dcgan.tracking.run import TrackedRun

if TYPE_CHECKING:
    # Every command imports the hooks, and importing torch takes seconds.
    from kedro_dcgan.datasets import SampleFramesDataset
    from kedro_dcgan.training.checkpoints import TrainingStart

logger = logging.getLogger(__name__)

# Datasets that are logged as files.
_FILES = {
    "evaluation_page",
    "evaluation_table",
    "compared_samples",
    "sample_grid",
    "training_curves",
    "progress",
    "progress_video",
}
_LOGGED = {"generator", "training_history", "sample_frames", "evaluation"} | _FILES
# The parts of a registered model: the generator, its exports for other runtimes, and a sample grid.
_MODEL_PARTS = ("exported_generator", "onnx_generator", "exported_program", "sample_grid")


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
        if self._outputs & _LOGGED:
            require_writable(self._settings.journals, self._settings.journals)
        if "generator" in self._outputs or not self._outputs & _LOGGED:
            return
        if key := catalog.load("training_run").get("run") if catalog.exists("training_run") else None:
            self._add_to(key)
        else:
            logger.warning("Nothing is logged to MLflow: the run that trained this generator is unknown.")

    def _add_to(self, key: str) -> None:
        """Open the run of a training that has ended."""
        identity = RunIdentity(key, self._settings.experiment, "", milliseconds(), must_exist=True)
        self._run = TrackedRun(self._settings, identity)

    @hook_impl
    def before_node_run(self, node: Node, inputs: dict[str, Any]) -> None:
        """Open the run of the training and log its parameters and images."""
        if "training_start" not in inputs:
            return
        from kedro_dcgan.training.devices import hardware_of

        start: TrainingStart = inputs["training_start"]
        key, preset = str(start.run_key), self._context.env or "base"
        first = experiment_name() or preset
        length = start.training.budget or short_images(start.plan.total_images).replace(" ", "")
        name = self._settings.run_name or f"{first}-{length}-{key[:4]}"
        identity = RunIdentity(key, self._settings.experiment, name, milliseconds())
        self._run = run = TrackedRun(self._settings, identity)
        # The training parameters without `auto`, and with what was chosen for a budget.
        given = flatten(checked_parameters(self._context).model_copy(update={"training": start.training}))
        groups = ("ingestion.", "preprocessing.", "training.")
        run.log_parameters({name: value for name, value in given.items() if name.startswith(groups)})
        hardware, classes = hardware_of(start.plan.compute.device), str(len(start.plan.generator.classes))
        tags = {"preset": preset, "hardware": hardware, "classes": classes}
        run.log_tags({**tags, **code_tags(self._context.project_path)})
        self._log_images(run, inputs["images"])
        if start.resume_from and run.last_step < 0:
            # A new run of a resumed training: log the earlier grids now. The next tick logs the earlier history.
            dataset: SampleFramesDataset = self._catalog["sample_frames"]  # type: ignore[assignment]
            _log_grids(run, dataset.earlier_files(start.resume_from.training_id, start.resume_from.images_seen))

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log a dataset that a node has saved."""
        run = self._run
        if dataset_name == "sweep_preset":
            # The sweep has logged the training itself. Its evaluation and export add to that run.
            self._add_to(self._catalog.load("training_run")["run"])
        if run is None:
            return
        match dataset_name:
            case "generator":
                names = ("verdict", "precision", "threads", "execution", "training_id")
                run.log_tags({name: str(data.facts[name]) for name in names})
            case "training_history":
                run.log_history(data)
            case "sample_frames":
                dataset: SampleFramesDataset = self._catalog["sample_frames"]  # type: ignore[assignment]
                _log_grids(run, [dataset.file_of(data.training_id, grid.images_seen) for grid in data.grids])
            case "evaluation":
                run.log_metrics(data["metrics"], data["images_seen"])
                run.log_tags({"quality": data["verdict"], "verdict": data["training"], "advice": data["advice"]})
        if dataset_name in _FILES | {"evaluation"}:
            run.log_file(path_of(self._catalog, dataset_name))

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

    def _close(self, status: str) -> None:
        run, self._run = self._run, None
        if run:
            run.close(status)

    def _log_images(self, run: TrackedRun, images: PreparedImages) -> None:
        # Log the source stored with the images: the ingestion parameters of this command may differ.
        source, project = images.source, self._context.project_path
        paths: dict[str, str | Path] = {"dvc.source_md5": source, "dvc.images_md5": path_of(self._catalog, "images")}
        tags = {tag: hashed for tag, path in paths.items() if (hashed := dvc_hash(project, path))}
        run.log_dataset(images.name, images.digest, source, tags)
        run.log_tags({"dataset_digest": images.digest, **tags})
        # An earlier command, which opened no run, may have written them.
        for name in ("dataset_report", "dataset_card", "accepted_images"):
            if self._catalog.exists(name):
                run.log_file(path_of(self._catalog, name))


def _log_grids(run: TrackedRun, files: Iterable[Path]) -> None:
    for file in files:
        run.log_image(file, "samples", int(file.stem))
