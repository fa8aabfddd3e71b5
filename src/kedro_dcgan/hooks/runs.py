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

from kedro_dcgan import tracking
from kedro_dcgan.hooks.checks import checked_parameters
from kedro_dcgan.hooks.lineage import dvc_hash
from kedro_dcgan.hooks.places import saved_at
from kedro_dcgan.images.grid import SampleFrames, SampleGrid
from kedro_dcgan.images.shards import PreparedImages
from kedro_dcgan.parameters import flatten

if TYPE_CHECKING:
    # Hooks are imported by every command: most need no torch, which takes seconds to import.
    from kedro_dcgan.datasets import SampleFramesDataset
    from kedro_dcgan.gan.trained import TrainedGenerator
    from kedro_dcgan.gan.training.checkpoints import CheckpointHeader

logger = logging.getLogger(__name__)


class TrackingHooks:
    """Report what is saved to the run that it belongs to.

    A run is opened, or gone on with, when training starts. Evaluation and export, run by themselves, go on in
    the run of the generator that they find; ingestion and preprocessing alone open none.
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Remember where MLflow's settings are: kedro-mlflow reads them."""
        self._context = context
        self._run_is_open = self._has_warned = False

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Go on in the run of a generator that is there; that of a new one is opened when training starts."""
        self._catalog, outputs = catalog, pipeline.all_outputs()
        if outputs & {"manifest", "images", *_REPORTED}:
            # Our data are tracked here; kedro-mlflow would log each parameter model as one long string.
            names = run_params["pipeline_names"] or ["__default__"]
            self._context.mlflow.tracking.disable_tracking.pipelines = names  # type: ignore[attr-defined]
        if "generator" not in outputs and outputs & set(_REPORTED):
            self._reopen_run_of_generator()

    @hook_impl
    def before_node_run(self, node: Node, inputs: dict[str, Any]) -> None:
        """Open the run of a training, or that of the training which is gone on with; report its images."""
        if "generator" in node.outputs:
            self._open_run_of_training(inputs)
            self._report_images(inputs["images"])

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Let each checkpoint know its run."""
        if self._run_is_open and dataset_name == "checkpoint":
            for checkpoint in data:
                checkpoint.header.facts["mlflow_run_id"] = self._run_id

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Report what a node has just made. A tick of training that MLflow does not take is no reason to stop."""
        if not self._run_is_open or dataset_name not in _REPORTED:
            return
        try:
            _REPORTED[dataset_name](self, dataset_name, data)
        except tracking.Unavailable as error:
            if dataset_name not in _OF_A_TICK:
                raise
            if not self._has_warned:
                logger.warning("MLflow takes no records (%s). Training goes on; its files have them all.", error)
            self._has_warned = True

    @hook_impl
    def after_pipeline_run(self) -> None:
        """End the run as finished."""
        self._close("FINISHED")

    @hook_impl
    def on_pipeline_error(self) -> None:
        """End the run as failed."""
        self._close("FAILED")

    def _open_run_of_training(self, inputs: dict[str, Any]) -> None:
        settings = self._context.mlflow.tracking  # type: ignore[attr-defined]
        gone_on_from, is_same_row = _checkpoint_to_go_on_from(inputs)
        former = settings.run.id or (gone_on_from.facts.get("mlflow_run_id") if gone_on_from and is_same_row else None)
        if former and tracking.run_exists(former):
            self._run_id = tracking.reopen_run(former)
        else:
            self._run_id = tracking.open_run(settings.experiment.name, settings.run.name)
        self._run_is_open, self._reported_until = True, tracking.last_step(self._run_id)
        parameters = checked_parameters(self._context)
        of_training = {key: getattr(parameters, key) for key in ("ingestion", "preprocessing", "training")}
        flat = {name: value for key, model in of_training.items() for name, value in flatten(model, f"{key}.").items()}
        tracking.log_parameters(flat, {"preset": self._context.env or "base"})
        if gone_on_from and not self._reported_until:
            # A new row for a training that has a past: its history comes with the next tick.
            dataset: SampleFramesDataset = self._catalog["sample_frames"]  # type: ignore[assignment]
            self._report_grids(dataset.of(gone_on_from.training_id, gone_on_from.images_seen))

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

    def _report_generator(self, name: str, generator: "TrainedGenerator") -> None:
        # Evaluation and export find the run by this; it changes only when the generator does.
        self._catalog.save("training_run", {"mlflow_run_id": self._run_id})
        tags = {"dataset_digest": generator.dataset_digest, "verdict": generator.facts["verdict"]}
        tracking.log_parameters({}, tags)

    def _report_history(self, name: str, history: pd.DataFrame) -> None:
        # All that the run does not have yet: a training that is made longer begins a new run with its whole past.
        for _, row in history[history["images_seen"] > self._reported_until].iterrows():
            numbers = {str(name): float(value) for name, value in row.items() if name != "health" and pd.notna(value)}
            images_seen = int(numbers.pop("images_seen"))
            tracking.log_metrics(numbers, images_seen)
            self._reported_until = images_seen

    def _report_frames(self, name: str, frames: SampleFrames) -> None:
        self._report_grids(frames.grids)

    def _report_grids(self, grids: Sequence[SampleGrid]) -> None:
        for grid in grids:
            tracking.log_samples(grid.picture, grid.images_seen)

    def _report_evaluation(self, name: str, evaluation: dict[str, Any]) -> None:
        tracking.log_metrics(evaluation["metrics"], evaluation["images_seen"])
        tracking.log_parameters({}, {"quality": evaluation["verdict"]})
        self._report_file(name, evaluation)

    def _report_file(self, name: str, _: Any) -> None:
        tracking.log_file(saved_at(self._catalog, name))

    def _report_exported_generator(self, name: str, generator: "TrainedGenerator") -> None:
        registered = tracking.register_generator(
            saved_at(self._catalog, name), generator, checked_parameters(self._context).export.registered_model
        )
        logger.info("registered    %s", registered)


def _checkpoint_to_go_on_from(inputs: dict[str, Any]) -> "tuple[CheckpointHeader | None, bool]":
    # And whether it belongs to the same row: a longer training, or a changed one, is another.
    from kedro_dcgan.gan.training.checkpoints import choose_checkpoint
    from kedro_dcgan.gan.training.plan import plan_training

    training = inputs["params:training"]
    plan = plan_training(inputs["images"], training)
    header = choose_checkpoint(inputs["resume_checkpoint"], plan, training.resume)
    is_same = header and (header.training_id, header.total_images) == (plan.training_id, plan.total_images)
    return header, bool(is_same)


_OF_A_TICK = {"generator", "training_history", "sample_frames"}

# What is reported of which dataset: these files as they are.
_FILES = ("evaluation_page", "evaluation_table", "compared_samples", "sample_grid", "training_curves")
_REPORTED: dict[str, Callable[[TrackingHooks, str, Any], None]] = {
    "generator": TrackingHooks._report_generator,
    "training_history": TrackingHooks._report_history,
    "sample_frames": TrackingHooks._report_frames,
    "evaluation": TrackingHooks._report_evaluation,
    "exported_generator": TrackingHooks._report_exported_generator,
    **dict.fromkeys((*_FILES, "progress", "progress_video"), TrackingHooks._report_file),
}
