"""Refuse what cannot work, in one line, before anything is done."""

from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from kedro_dcgan.errors import SourceError
from kedro_dcgan.parameters import Parameters, read_parameters


class CheckHooks:
    """Refuse what cannot work before anything is done."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Check all parameters."""
        self._parameters = checked_parameters(context)

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Check that the source is there, and holds a batch if a batch will be asked of it."""
        self._outputs = pipeline.all_outputs()
        if "manifest" not in self._outputs:
            return
        source, batch = self._parameters.ingestion.source, self._parameters.training.batch_size
        count = len(catalog.load("raw_images").open(source).paths())
        if "generator" in self._outputs and count < batch:
            raise SourceError(
                f"`ingestion.source` must hold at least one batch of `training.batch_size` {batch} images "
                f"(got {count} files in {source}). Add images, or pass --params training.batch_size=N."
            )

    @hook_impl(tryfirst=True)
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Check, before any image is prepared, that the splits will do for all that the run is to make of them."""
        if dataset_name != "manifest":
            return
        least = {
            "generator": ("train", self._parameters.training.batch_size, "training.batch_size"),
            "evaluation": ("test", 2, "a distance"),
        }
        for output, (split, count, what) in least.items():
            held = int((data["split"] == split).sum())
            if output in self._outputs and held < count:
                raise SourceError(
                    f"the {split} split must hold at least {count} images for {what} (got {held}). "
                    f"Add images, or raise `ingestion.splits.{split}`."
                )


def checked_parameters(context: KedroContext) -> Parameters:
    """Return the typed parameters of a context.

    Raises:
        ParameterError: in one line, for the first fault.
    """
    return read_parameters(context.config_loader["parameters"], context._runtime_params or {})
