"""One MLflow run for each trained generator, whichever commands made it."""

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
from kedro_dcgan.tracking.journal import RunIdentity, milliseconds
from kedro_dcgan.tracking.run import TrackedRun
from kedro_dcgan.tracking.settings import TrackingSettings, read_settings

if TYPE_CHECKING:
    # Hooks are imported by every command: most need no torch, which takes seconds to import.
    from kedro_dcgan.datasets import SampleFramesDataset
    from kedro_dcgan.model.saved import TrainedGenerator
    from kedro_dcgan.training.checkpoints import TrainingStart

logger = logging.getLogger(__name__)


class TrackingHooks:
    """Report what is saved to the run that it belongs to.

    A run is opened, or gone on with, when training starts. Evaluation and export, run by themselves, go on in
    the run of the generator that they find; ingestion and preprocessing alone open none.
    """

    _run: TrackedRun | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read where runs are tracked."""
        self._context, self._run = context, None
        self._settings: TrackingSettings = read_settings(context.config_loader["tracking"])

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Go on in the run of a generator that is there; that of a new one is opened when training starts."""
        self._catalog, self._outputs = catalog, pipeline.all_outputs()
        if "generator" not in self._outputs and self._outputs & set(_REPORTED):
            self._reopen_run_of_generator()

    @hook_impl
    def before_node_run(self, node: Node, inputs: dict[str, Any]) -> None:
        """Open the run of a training; log its parameters and images."""
        if "generator" in node.outputs:
            self._open_run_of_training(inputs["training_start"], inputs["images"])

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Report what a node has just made."""
        if self._run and dataset_name in _REPORTED:
            _REPORTED[dataset_name](self, self._run, dataset_name, data)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Register what was exported; end the run as finished."""
        try:
            if self._run and "exported_generator" in self._outputs:
                parts = [path_of(self._catalog, name) for name in _OF_A_MODEL]
                self._run.register_generator(parts, checked_parameters(self._context).export.registered_model)
        finally:
            self._close("FINISHED")

    @hook_impl
    def on_pipeline_error(self) -> None:
        """End the run as failed."""
        self._close("FAILED")

    def interrupt(self) -> None:
        """End the run as killed. Kedro calls no hook when a signal ends a run: the command line calls this."""
        self._close("KILLED")

    def _open_run_of_training(self, start: "TrainingStart", images: PreparedImages) -> None:
        from kedro_dcgan.training.devices import hardware_of

        plan, resume_from, key = start.plan, start.resume_from, str(start.run_key)
        preset = self._context.env or "base"
        name = self._settings.run_name or f"{preset}-{round(plan.total_images / 1000, 1):g}kimg-{key[:4]}"
        identity = RunIdentity(key, self._settings.experiment, name, milliseconds())
        self._run = run = TrackedRun(self._settings, identity, watch_system=True)
        parameters = checked_parameters(self._context)
        of_training = {key: getattr(parameters, key) for key in ("ingestion", "preprocessing", "training")}
        flat = {name: value for key, model in of_training.items() for name, value in flatten(model, f"{key}.").items()}
        run.log_parameters(flat)
        run.log_tags(
            {"preset": preset, "hardware": hardware_of(plan.compute.device), **code_tags(self._context.project_path)}
        )
        self._report_images(run, images)
        if resume_from and run.last_step < 0:
            # A new run of a training that has a past: its history comes with the next tick.
            dataset: SampleFramesDataset = self._catalog["sample_frames"]  # type: ignore[assignment]
            past = dataset.of(resume_from.training_id, resume_from.images_seen)
            self._report_grids(run, resume_from.training_id, [frame.images_seen for frame in past])

    def _reopen_run_of_generator(self) -> None:
        key = self._catalog.load("training_run").get("run") if self._catalog.exists("training_run") else None
        if key:
            identity = RunIdentity(key, self._settings.experiment, "", milliseconds(), must_exist=True)
            self._run = TrackedRun(self._settings, identity)
        else:
            logger.warning("Which MLflow run trained this generator is not known: nothing is logged.")

    def _close(self, status: str) -> None:
        run, self._run = self._run, None
        if run:
            run.close(status)

    def _report_images(self, run: TrackedRun, images: PreparedImages) -> None:
        # What they were made of, which the parameters of this run need not say.
        source, project = images.source, self._context.project_path
        hashes = {
            "dvc.source_md5": dvc_hash(project, source),
            "dvc.images_md5": dvc_hash(project, path_of(self._catalog, "images")),
        }
        tags = {name: value for name, value in hashes.items() if value}
        run.log_dataset(Path(source).name, images.digest, source, tags)
        run.log_tags({"dataset_digest": images.digest, **tags})
        # The dataset may have been made by a command of its own, when no run was open.
        for name in ("dataset_report", "accepted_images"):
            if self._catalog.exists(name):
                run.log_file(path_of(self._catalog, name))

    def _report_generator(self, run: TrackedRun, name: str, generator: "TrainedGenerator") -> None:
        run.log_tags({name: str(generator.facts[name]) for name in ("verdict", "precision", "threads", "execution")})

    def _report_history(self, run: TrackedRun, name: str, history: pd.DataFrame) -> None:
        # All that the run does not have yet: a training that is made longer begins a new run with its whole past.
        for _, row in history[history["images_seen"] > run.last_step].iterrows():
            numbers = {str(name): float(value) for name, value in row.items() if name != "health" and pd.notna(value)}
            run.log_history(numbers, int(numbers.pop("images_seen")))

    def _report_frames(self, run: TrackedRun, name: str, frames: SampleFrames) -> None:
        self._report_grids(run, frames.training_id, [grid.images_seen for grid in frames.grids])

    def _report_grids(self, run: TrackedRun, training_id: str, moments: Sequence[int]) -> None:
        dataset: SampleFramesDataset = self._catalog["sample_frames"]  # type: ignore[assignment]
        for images_seen in moments:
            run.log_picture(dataset.file_of(training_id, images_seen), "samples", images_seen)

    def _report_evaluation(self, run: TrackedRun, name: str, evaluation: dict[str, Any]) -> None:
        run.log_metrics(evaluation["metrics"], evaluation["images_seen"])
        run.log_tags({"quality": evaluation["verdict"]})
        self._report_file(run, name, evaluation)

    def _report_file(self, run: TrackedRun, name: str, _: Any) -> None:
        run.log_file(path_of(self._catalog, name))


# What is registered as one model: its folder, the same for other runtimes, and what it draws.
_OF_A_MODEL = ("exported_generator", "onnx_generator", "exported_program", "sample_grid")

# What is reported of which dataset: these files as they are.
_FILES = ("evaluation_page", "evaluation_table", "compared_samples", "sample_grid", "training_curves")
_REPORTED: dict[str, Callable[[TrackingHooks, TrackedRun, str, Any], None]] = {
    "generator": TrackingHooks._report_generator,
    "training_history": TrackingHooks._report_history,
    "sample_frames": TrackingHooks._report_frames,
    "evaluation": TrackingHooks._report_evaluation,
    **dict.fromkeys((*_FILES, "progress", "progress_video"), TrackingHooks._report_file),
}
