"""Datasets of results: checkpoints, generators, evaluations, and cached reference statistics.

Every command imports this module, and most need no torch, which takes seconds to import. So imports are inside methods.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kedro_dcgan.datasets.files import AtomicDataset, FileDataset, FolderDataset
from kedro_dcgan.errors import DataError, DiskFullError
from kedro_dcgan.experiments import checkpoint_folder, in_project
from kedro_dcgan.storage import atomic_file, atomic_folder
from kedro_dcgan.stored_files import FolderName, StoredModel, read_json, write_json

if TYPE_CHECKING:
    from kedro_dcgan.evaluation.reference import ReferenceCache
    from kedro_dcgan.model.saved import TrainedGenerator
    from kedro_dcgan.training.checkpoints import Checkpoint, CheckpointFolder

logger = logging.getLogger(__name__)


class CheckpointsDataset(FolderDataset):
    """Adds the checkpoints of a tick, usually none; loads a `CheckpointFolder`, which may be empty.

    If the disk is full, training continues with a warning, unless the checkpoint ends the run.

    is_shared: the checkpoints are outside of the copy of the project that an experiment runs in, in a folder that
    several experiments may use at the same time.
    """

    def __init__(self, path: str | Path, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(checkpoint_folder(Path(path)), metadata)
        self.is_shared = self.path != Path(path)

    def load(self) -> "CheckpointFolder":
        from kedro_dcgan.training.checkpoints import CheckpointFolder

        return CheckpointFolder(self.path)

    def save(self, data: "list[Checkpoint]") -> None:
        for checkpoint in data:
            try:
                self.load().save(checkpoint)
            except DiskFullError as error:
                if checkpoint.must_be_saved:
                    raise
                logger.warning("NOT SAVED: %s Training continues.", error)


class TrainedGeneratorDataset(FolderDataset):
    """A trained generator in a folder of two files; one that is evaluated also has a model card, `README.md`."""

    INDEX = "generator.json"

    def save(self, data: "TrainedGenerator") -> None:
        from kedro_dcgan.model.saved import write_generator
        from kedro_dcgan.reports.model_card import CARD, has_card, write_model_card

        with atomic_folder(self.path) as folder:
            write_generator(folder, data)
            if has_card(data):
                (folder / CARD).write_text(write_model_card(data), encoding="utf-8")

    def load(self) -> "TrainedGenerator":
        from kedro_dcgan.model.saved import read_generator

        return read_generator(self.path)


class TrainingRun(StoredModel):
    """The key of the run that trained a generator."""

    run: FolderName


class TrainingRunDataset(FileDataset):
    """The key of the MLflow run of a training, `{"run": key}`."""

    def save(self, data: dict[str, str]) -> None:
        with atomic_file(self.path) as temporary:
            write_json(temporary, data)

    def load(self) -> dict[str, str]:
        remedy = "Remove it: then results are not logged to MLflow until you train again: kedro run --pipelines=train."
        return read_json(self.path, TrainingRun, remedy).model_dump()


class EvaluationDataset(AtomicDataset):
    """An evaluation; loading it checks that it has what the export and the pages need."""

    TYPES: ClassVar[dict[str, type]] = {
        "generator": str, "images_seen": int, "verdict": str, "primary_metric": str, "metrics": dict, "numbers": list,
        "protocols": list,
    }  # fmt: skip

    def load(self) -> dict[str, Any]:
        loaded: dict[str, Any] = super().load()
        for key, needed in self.TYPES.items():
            if not isinstance(loaded, dict) or type(loaded.get(key)) is not needed or loaded[key] in ([], {}):
                raise DataError(
                    f"`{key}` in `{self.path}` must be given, as {needed.__name__} (it is not). "
                    "Evaluate again: kedro run --pipelines=evaluation,export."
                )
        return loaded


class ReferenceFeaturesDataset(FolderDataset):
    """A cache of reference statistics. Evaluation fills it; nothing is saved through the catalog.

    Experiments share that of the project.
    """

    def __init__(self, path: str | Path, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(in_project(Path(path)), metadata)

    def load(self) -> "ReferenceCache":
        from kedro_dcgan.evaluation.reference import ReferenceCache

        return ReferenceCache(self.path)
