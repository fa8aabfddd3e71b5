"""Checks that stop a run early, with one line that says what to fix.

Parameters, source, networks, memory and disk are checked before any work starts. The images are checked as soon as the
manifest is known; a run that writes the dataset report writes it first, because it shows what to fix.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from kedro_dcgan.config import Parameters, read_parameters
from kedro_dcgan.data import ACCEPTED, SKIPPED, Reason
from kedro_dcgan.data.manifest import count_reasons, summarise
from kedro_dcgan.data.workers import join_ray
from kedro_dcgan.errors import DataError, SourceError
from kedro_dcgan.hooks.locks import path_of
from kedro_dcgan.storage import require_disk_space

# Nobody means these as images: a zip made on a Mac, for example, has a hidden entry per file.
_NOT_MEANT_AS_IMAGES = (Reason.HIDDEN, Reason.LINK, Reason.NOT_A_FILE)


class CheckHooks:
    """Refuse runs that cannot succeed."""

    _manifest: pd.DataFrame | None = None

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Check all parameters."""
        self._parameters = checked_parameters(context)
        self._requested_source = runtime_parameters(context).get("ingestion", {}).get("source")

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Check the source, the networks and the machine."""
        self._outputs = pipeline.all_outputs()
        self._manifest = None
        if "generator" in self._outputs:
            self._check_training(catalog)
        if "manifest" in self._outputs:
            self._check_source(catalog)
        elif "image_shards" in pipeline.inputs() and self._requested_source:
            _require_shards_of(catalog, self._requested_source)

    @hook_impl(tryfirst=True)
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Check the images of an earlier run, unless this run writes the report first."""
        if dataset_name == "manifest":
            self._remember(data)
            if "dataset_report" not in self._outputs:
                self._check_images(data)

    @hook_impl(tryfirst=True)
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Check the images of this run when the report is written."""
        if dataset_name == "manifest":
            self._remember(data)
        if dataset_name == "dataset_report" and self._manifest is not None:
            self._check_images(self._manifest)

    def _remember(self, manifest: pd.DataFrame) -> None:
        # Only three columns: a full row takes hundreds of bytes, and there can be millions of rows.
        self._manifest = manifest[["verdict", "reason", "split"]]

    def _check_training(self, catalog: DataCatalog) -> None:
        # Imported here, because most commands work without torch, which takes seconds to import.
        from kedro_dcgan.model.recipes import network_configs
        from kedro_dcgan.training.costs import checkpoint_bytes, require_memory
        from kedro_dcgan.training.plan import compute_of, require_networks

        images, training = self._parameters.preprocessing, self._parameters.training
        networks = network_configs(images.image_size, images.channels, training)
        require_networks(*networks, training)
        compute = compute_of(training)
        if isinstance(training.devices, int):
            require_memory(*networks, training.micro_batch_size, compute.device)
        # A new checkpoint is written before an old one is deleted.
        require_disk_space(path_of(catalog, "checkpoint"), 2 * checkpoint_bytes(*networks), "two checkpoints")

    def _check_source(self, catalog: DataCatalog) -> None:
        # Imported here, because it imports matplotlib, which only ingestion needs.
        from kedro_dcgan.pipelines.ingestion.nodes import limits_of

        ingestion, batch = self._parameters.ingestion, self._parameters.training.batch_size
        if ingestion.engine == "ray":
            join_ray()
        sources = catalog.load("raw_images")
        count = sources.open(ingestion.source, limits_of(ingestion)).count
        if self._parameters.preprocessing.crop.boxes:
            sources.boxes(self._parameters.preprocessing.crop.boxes)
        if "generator" in self._outputs and count is not None and count < batch:
            raise SourceError(
                f"`ingestion.source` must hold at least one batch of `training.batch_size` {batch} images "
                f"(got {count} files in {ingestion.source}). Add images, or pass --params training.batch_size=N."
            )

    def _check_images(self, manifest: pd.DataFrame) -> None:
        _require_accepted_image(manifest)
        _require_few_skipped(manifest, self._parameters.ingestion.max_skipped_fraction)
        batch = self._parameters.training.batch_size
        if "generator" in self._outputs:
            remedy = f"for a batch. Lower `training.batch_size` (it is {batch})"
            _require_split(manifest, "train", batch, remedy)
        if "evaluation" in self._outputs:
            _require_split(manifest, "test", 2, "for an evaluation. Run --pipelines=train to skip it")


def _require_shards_of(catalog: DataCatalog, source: str) -> None:
    ingested = catalog.load("image_shards").source
    if Path(ingested).expanduser() != Path(source).expanduser():
        raise DataError(
            f"`ingestion.source` must be the source of the image shards, {ingested} (got {source}). "
            "Ingest it first: kedro run --pipelines=ingestion,preprocessing, with the same --params."
        )


def _require_accepted_image(manifest: pd.DataFrame) -> None:
    if not (manifest["verdict"] == ACCEPTED).any():
        reason = next(iter(count_reasons(manifest)))
        raise SourceError(
            f"the source must hold at least one usable image (got none of {len(manifest):,}; most frequent reason: "
            f"{reason}, {Reason(reason).meaning}). See data/08_reporting/dataset.html, then fix the files or pass "
            "another source."
        )


def _require_few_skipped(manifest: pd.DataFrame, maximum: float) -> None:
    meant = manifest[~manifest["reason"].isin([str(reason) for reason in _NOT_MEANT_AS_IMAGES])]
    skipped = float((meant["verdict"] == SKIPPED).mean())
    if skipped > maximum:
        raise SourceError(
            "the fraction of skipped files (hidden files, links and special files do not count) must be at most "
            f"`ingestion.max_skipped_fraction` {maximum:g} (got {skipped:.2f}: {summarise(manifest)}). "
            "See data/08_reporting/dataset.html, then fix the files or raise the maximum."
        )


def _require_split(manifest: pd.DataFrame, split: str, minimum: int, purpose_and_remedy: str) -> None:
    count = int((manifest["split"] == split).sum())
    if count < minimum:
        raise SourceError(
            f"the {split} split must hold at least {minimum} images (got {count}) {purpose_and_remedy}, add images, or "
            "give the split a larger share in `ingestion.splits`."
        )


def checked_parameters(context: KedroContext) -> Parameters:
    """Return the typed parameters of a context.

    Raises:
        ParameterError: for the first error, in one line.
    """
    return read_parameters(context.config_loader["parameters"], runtime_parameters(context))


def runtime_parameters(context: KedroContext) -> dict[str, Any]:
    """Return the parameters given to `kedro run --params`."""
    return context.config_loader.runtime_params or {}
