"""Experiments of DVC in copies of the project: they share a folder of checkpoints in the project itself."""

import shutil
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from kedro_dcgan.datasets import SampleFramesDataset
from kedro_dcgan.errors import DataError
from kedro_dcgan.hooks.checks import LOCK_TIMEOUT, path_of
from kedro_dcgan.locks import lock_output


class ExperimentHooks:
    """Lock the checkpoints of an experiment in a copy, and remove them once its generator is exported."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Keep the catalog."""
        self._catalog, self._outputs, self._lock = catalog, pipeline.all_outputs(), ExitStack()

    @hook_impl
    def before_node_run(self, node: Node, inputs: dict[str, Any]) -> None:
        """Lock the checkpoints of this training, because other experiments train at the same time."""
        if "training_start" in node.inputs and self._has_shared_checkpoints():
            self._lock.enter_context(self._lock_checkpoints(inputs["training_start"].plan.training_id, LOCK_TIMEOUT))

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Remove the checkpoints of an exported generator, unless the same experiment runs a second time."""
        self._lock.close()
        if "exported_generator" in self._outputs and self._has_shared_checkpoints():
            frames: SampleFramesDataset = self._catalog["sample_frames"]  # type: ignore[assignment]
            training_id = frames.training_id()
            with suppress(DataError), self._lock_checkpoints(training_id):
                shutil.rmtree(path_of(self._catalog, "checkpoint") / training_id, ignore_errors=True)

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Release the lock."""
        self._lock.close()

    def _has_shared_checkpoints(self) -> bool:
        return bool(getattr(self._catalog["checkpoint"], "is_shared", False))

    def _lock_checkpoints(self, training_id: str, timeout: float = 0) -> AbstractContextManager[None]:
        return lock_output(path_of(self._catalog, "checkpoint") / training_id, timeout)
