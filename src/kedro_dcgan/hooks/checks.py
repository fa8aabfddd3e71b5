"""Refuse what cannot work, in one line, before anything is done."""

import contextlib
import logging
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from kedro_dcgan.config import Parameters, read_parameters
from kedro_dcgan.data.manifest import count_reasons, summarise
from kedro_dcgan.data.verdicts import ACCEPTED, SKIPPED, Reason, meaning_of
from kedro_dcgan.data.workers import join_ray
from kedro_dcgan.errors import DataError, SourceError
from kedro_dcgan.storage import require_room, sweep

# The clutter of a system, and what is never read: an archive of a Mac has a hidden entry for each of its files.
_NEVER_MEANT_AS_PICTURES = (Reason.HIDDEN, Reason.LINK, Reason.NOT_A_FILE)


class CheckHooks:
    """Refuse what cannot work before anything is done."""

    _manifest: pd.DataFrame | None = None

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Check all parameters."""
        self._parameters = checked_parameters(context)
        self._asked_source = _runtime_parameters(context).get("ingestion", {}).get("source")

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Check what the run will ask of the source and of the machine."""
        self._outputs = pipeline.all_outputs()
        self._manifest = None
        if "generator" in self._outputs:
            self._check_training(catalog)
        if "manifest" in self._outputs:
            self._check_source(catalog)
        elif "image_shards" in pipeline.inputs() and self._asked_source:
            self._check_source_of_shards(catalog, self._asked_source)

    @hook_impl(tryfirst=True)
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Remember the images that an earlier run may have listed; check them if no report is going to be made."""
        if dataset_name == "manifest":
            self._remember(data)
            if "dataset_report" not in self._outputs:
                self._check_images(data)

    @hook_impl(tryfirst=True)
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Check, when the images are known, that they will do for all that the run is to make of them."""
        if dataset_name == "manifest":
            self._remember(data)
        # The page comes first: it says what to mend.
        if dataset_name == "dataset_report" and self._manifest is not None:
            self._check_images(self._manifest)

    def _check_images(self, manifest: pd.DataFrame) -> None:
        _require_a_usable_image(manifest)
        self._check_skipped_fraction(manifest)
        self._check_split_sizes(manifest)

    def _remember(self, manifest: pd.DataFrame) -> None:
        # Not all of it: a row takes hundreds of bytes, and there may be millions.
        self._manifest = manifest[["verdict", "reason", "split"]]

    def _check_split_sizes(self, manifest: pd.DataFrame) -> None:
        batch = self._parameters.training.batch_size
        least = {
            "generator": ("train", batch, f"a batch (`training.batch_size` is {batch}: lower it"),
            "evaluation": ("test", 2, "an evaluation (run --pipelines=train to go without"),
        }
        for output, (split, count, what) in least.items():
            held = int((manifest["split"] == split).sum())
            if output in self._outputs and held < count:
                raise SourceError(
                    f"the {split} split must hold at least {count} images for {what}; got {held}). "
                    "Add images, or give it a larger share of `ingestion.splits`."
                )

    def _check_skipped_fraction(self, manifest: pd.DataFrame) -> None:
        most = self._parameters.ingestion.max_skipped_fraction
        meant = manifest[~manifest["reason"].isin([str(reason) for reason in _NEVER_MEANT_AS_PICTURES])]
        skipped = float((meant["verdict"] == SKIPPED).mean())
        if skipped > most:
            raise SourceError(
                "the share of skipped files, without those that are hidden, links or no files, must be at most "
                f"`ingestion.max_skipped_fraction` {most:g} (got {skipped:.2f}: {summarise(manifest)}). "
                "Look at data/08_reporting/dataset.html, then mend the files or raise it."
            )

    def _check_source_of_shards(self, catalog: DataCatalog, asked: str) -> None:
        made_of = catalog.load("image_shards").source
        if Path(made_of).expanduser() != Path(asked).expanduser():
            raise DataError(
                f"`ingestion.source` must be the one that the image shards were made from ({made_of}; got {asked}). "
                "Ingest it first: kedro run --pipelines=ingestion,preprocessing, with the same --params."
            )

    def _check_training(self, catalog: DataCatalog) -> None:
        # Here, because most commands do without torch, which takes seconds to import.
        from kedro_dcgan.model.recipes import network_configs
        from kedro_dcgan.training.costs import checkpoint_bytes, require_memory
        from kedro_dcgan.training.plan import compute_of, require_networks

        images, training = self._parameters.preprocessing, self._parameters.training
        networks = network_configs(images.image_size, images.channels, training)
        require_networks(*networks, training)
        compute = compute_of(training)
        if isinstance(training.devices, int):
            require_memory(*networks, training.micro_batch_size, compute.device)
        # A new one is written before an old one goes.
        require_room(saved_at(catalog, "checkpoint"), 2 * checkpoint_bytes(*networks), "two checkpoints")

    def _check_source(self, catalog: DataCatalog) -> None:
        # Here, because it brings matplotlib with it, which only ingestion needs.
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


def _require_a_usable_image(manifest: pd.DataFrame) -> None:
    if not (manifest["verdict"] == ACCEPTED).any():
        commonest = next(iter(count_reasons(manifest)))
        raise SourceError(
            f"the source must hold at least one usable image (got none of {len(manifest):,}; most are "
            f"{commonest}: {meaning_of(commonest)}). Look at data/08_reporting/dataset.html, then mend the files or "
            "pass another folder or archive."
        )


def checked_parameters(context: KedroContext) -> Parameters:
    """Return the typed parameters of a context.

    Raises:
        ParameterError: in one line, for the first fault.
    """
    return read_parameters(context.config_loader["parameters"], _runtime_parameters(context))


def _runtime_parameters(context: KedroContext) -> dict[str, Any]:
    # Those of `kedro run --params`.
    return context.config_loader.runtime_params or {}


# TODO(merge) hooks.locks

logger = logging.getLogger(__name__)


class LockHooks:
    """Holds a lock on each place that a run writes to, from its beginning to its end.

    The locks are the kernel's: those of a process that was killed are free at once.
    """

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Take the locks, all or none; then remove what killed runs have left in their places."""
        self._locks = contextlib.ExitStack()
        places = places_of(catalog, pipeline.all_outputs())
        with self._locks:
            for place in places:
                self._locks.enter_context(_locked(place))
                sweep(place)
            # All taken: they are kept until the run ends.
            self._locks = self._locks.pop_all()

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """Give the locks back."""
        self._locks.close()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """Give the locks back."""
        self._locks.close()


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    locks = place.parent / ".locks"
    _require_writable(place, locks)
    lock, owner = FileLock(locks / f"{place.name}.lock", timeout=0), locks / f"{place.name}.owner"
    try:
        lock.acquire()
    except Timeout:
        raise DataError(
            f"`{place}` must not be written to by two runs at once ({_read(owner)} is at it). "
            "Wait for it to end, or end it."
        ) from None
    try:
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        owner.write_text(f"process {os.getpid()}, `{command}`, since {time.strftime('%H:%M:%S')},", encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _require_writable(place: Path, locks: Path) -> None:
    try:
        for folder in (locks, place) if place.is_dir() else (locks,):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise DataError(
            f"`{place}` must be where files can be written ({error.strerror}: {error.filename or place}). "
            "Mend that, or name another place in conf/base/catalog.yml."
        ) from None


def _read(owner: Path) -> str:
    try:
        return owner.read_text(encoding="utf-8")
    except OSError:
        return "another process"


# TODO(merge) hooks.places


def saved_at(catalog: DataCatalog, name: str) -> Path:
    """Return the file or folder of a dataset that is saved to disk."""
    return Path(catalog[name].path)  # type: ignore[attr-defined]


def places_of(catalog: DataCatalog, names: Iterable[str]) -> list[Path]:
    """Return the files and folders of those datasets that are saved to disk, not kept in memory."""
    return sorted(saved_at(catalog, name) for name in names if hasattr(catalog[name], "path"))
