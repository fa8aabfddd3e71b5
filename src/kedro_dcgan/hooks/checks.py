"""Checks that stop a run early, with one line that says what to fix, and locks on the files that it writes.

The images are checked once there is a manifest, but after the dataset report if the run writes one: the report shows
what to fix.
"""

import contextlib
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from kedro_dcgan.config import Parameters, read_parameters
from kedro_dcgan.data import ACCEPTED, NOT_COUNTED, SKIPPED, Reason
from kedro_dcgan.data.manifest import count_reasons, summarise
from kedro_dcgan.data.workers import join_ray
from kedro_dcgan.errors import DataError, ParameterError, SourceError
from kedro_dcgan.experiments import is_stage
from kedro_dcgan.locks import lock_output
from kedro_dcgan.storage import remove_leftovers, require_disk_space
from kedro_dcgan.tracking.connection import read_settings
from kedro_dcgan.tracking.database import is_same_database

# The columns of the manifest to keep: a full row takes hundreds of bytes, and there can be millions of rows.
_CHECKED = ["verdict", "reason", "split"]
# Seconds that a stage of DVC waits for one that is still stopping, because its `dvc` was killed.
LOCK_TIMEOUT = 60.0


class CheckHooks:
    """Refuse runs that cannot succeed."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Check all parameters."""
        self._context, self._parameters = context, checked_parameters(context)
        # The source in `--params`.
        self._requested_source = context.config_loader.runtime_params.get("ingestion", {}).get("source")

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Check the source, the networks and the machine."""
        self._outputs, self._training = pipeline.all_outputs(), self._parameters.training
        self._manifest: pd.DataFrame | None = None
        if "generator" in self._outputs:
            self._check_training(catalog)
        if self._outputs & {"sweep_trials", "sweep_confirmations"}:
            self._check_sweep(pipeline, catalog)
        if "manifest" in self._outputs:
            self._check_source(catalog)
        elif "image_shards" in pipeline.inputs() and self._requested_source:
            ingested, requested = catalog.load("image_shards").source, self._requested_source
            if Path(ingested).expanduser() != Path(requested).expanduser():
                raise DataError(
                    f"`ingestion.source` must be the source of the image shards, {ingested} (got {requested}). "
                    "Ingest it first: kedro run --pipelines=ingestion,preprocessing, with the same --params."
                )

    @hook_impl(tryfirst=True)
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Check the images of an earlier run, unless this run writes the report first."""
        if dataset_name == "manifest":
            self._manifest = data[_CHECKED]
            if "dataset_report" not in self._outputs:
                self._check_images(data)

    @hook_impl(tryfirst=True)
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Check the images of this run when the report is written."""
        if dataset_name == "manifest":
            self._manifest = data[_CHECKED]
        if dataset_name == "dataset_report" and self._manifest is not None:
            self._check_images(self._manifest)

    def _check_training(self, catalog: DataCatalog) -> None:
        # Imported here, because most commands work without torch, which takes seconds to import.
        from kedro_dcgan.model.recipes import network_configs
        from kedro_dcgan.training.budget import smallest_recipe
        from kedro_dcgan.training.costs import checkpoint_bytes, require_memory
        from kedro_dcgan.training.plan import compute_of, require_networks

        images = self._parameters.preprocessing
        self._training = training = smallest_recipe(self._parameters.training, images.image_size)
        networks = network_configs(images.image_size, images.channels, training)
        require_networks(*networks, training)
        compute = compute_of(training)
        if isinstance(training.devices, int):
            require_memory(*networks, training.micro_batch_size, compute.device, training.precision)
        # A new checkpoint is written before an old one is deleted.
        require_disk_space(path_of(catalog, "checkpoint"), 2 * checkpoint_bytes(*networks), "two checkpoints")

    def _check_sweep(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        # Imported here, because Optuna takes seconds to import.
        from kedro_dcgan.sweeps.space import require_searchable

        if "sweep_trials" in pipeline.inputs():
            raise ParameterError("`--pipelines=selection` must follow the trials in one run: --pipelines=sweep.")
        sweep = self._parameters.sweep
        require_searchable(sweep.space, self._parameters.training)
        if is_same_database(sweep.storage, read_settings(self._context.config_loader["tracking"]).server):
            raise ParameterError(
                "`sweep.storage` must not be the database of MLflow (it is). Name another one, or set it to null."
            )
        if "sweep_preset" in self._outputs:
            catalog["sweep_preset"].require_free(sweep.preset)  # type: ignore[attr-defined]

    def _check_source(self, catalog: DataCatalog) -> None:
        # Imported here, because it imports matplotlib, which only ingestion needs.
        from kedro_dcgan.pipelines.ingestion.nodes import limits_of

        ingestion, batch = self._parameters.ingestion, self._training.batch_size
        if ingestion.engine == "ray":
            join_ray()
        sources = catalog.load("raw_images")
        count = sources.open(ingestion.source, limits_of(ingestion)).count
        if self._parameters.preprocessing.crop.boxes:
            sources.boxes(self._parameters.preprocessing.crop.boxes)
        if ingestion.labels:
            sources.labels(ingestion.labels)
        if "generator" in self._outputs and count is not None and count < batch:
            raise SourceError(
                f"`ingestion.source` must hold at least one batch of `training.batch_size` {batch} images "
                f"(got {count} files in {ingestion.source}). Add images, or pass --params training.batch_size=N."
            )

    def _check_images(self, manifest: pd.DataFrame) -> None:
        if not (manifest["verdict"] == ACCEPTED).any():
            reason = next(iter(count_reasons(manifest)))
            raise SourceError(
                f"the source must hold at least one usable image (got none of {len(manifest):,}; most frequent reason: "
                f"{reason}, {Reason(reason).meaning}). See data/08_reporting/dataset.html, then fix or replace files."
            )
        maximum = self._parameters.ingestion.max_skipped_fraction
        counted = ~manifest["reason"].isin([str(reason) for reason in NOT_COUNTED])
        skipped = float((manifest[counted]["verdict"] == SKIPPED).mean())
        if skipped > maximum:
            raise SourceError(
                "the fraction of skipped files (hidden, side and special files and links do not count) must be at most "
                f"`ingestion.max_skipped_fraction` {maximum:g} (got {skipped:.2f}: {summarise(manifest)}). "
                "See data/08_reporting/dataset.html, then fix the files or raise the maximum."
            )
        batch = self._training.batch_size
        for output, split, minimum, purpose_and_remedy in (
            ("generator", "train", batch, f"for a batch. Lower `training.batch_size` (it is {batch})"),
            ("evaluation", "test", 2, "for an evaluation. Run --pipelines=train to skip it"),
        ):
            count = int((manifest["split"] == split).sum())
            if output in self._outputs and count < minimum:
                raise SourceError(
                    f"the {split} split must hold at least {minimum} images (got {count}) {purpose_and_remedy}, add "
                    "images, or give the split a larger share in `ingestion.splits`."
                )


class LockHooks:
    """Lock the path of each dataset that a run writes, from start to end, unless several runs may share it."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Take all locks or none, then remove the temporary files of killed runs."""
        outputs = [catalog[name] for name in pipeline.all_outputs()]
        paths = [Path(one.path) for one in outputs if hasattr(one, "path") and not getattr(one, "is_shared", False)]
        with contextlib.ExitStack() as taken:
            for path in sorted(paths):
                taken.enter_context(lock_output(path, LOCK_TIMEOUT if is_stage() else 0))
                remove_leftovers(path)
            self._locks = taken.pop_all()

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """Release the locks."""
        self._locks.close()

    on_pipeline_error = after_pipeline_run


def path_of(catalog: DataCatalog, name: str) -> Path:
    """Return the file or folder of a dataset on disk."""
    return Path(catalog[name].path)  # type: ignore[attr-defined]


def checked_parameters(context: KedroContext) -> Parameters:
    """Return the typed parameters of a context; raise ParameterError for the first error."""
    return read_parameters(context.config_loader["parameters"], context.config_loader.runtime_params)
