"""Checkpoints in memory and on disk, and the choice of the one to resume from.

On disk, a checkpoint is a folder `<training>/<images seen>/` with `state.pt` (tensors) and `checkpoint.json` (header
and SHA-256). Folders are written atomically.
"""

import logging
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from pydantic import Field, JsonValue
from torch import distributed

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.errors import TrainingError
from kedro_dcgan.progress import short_images
from kedro_dcgan.storage import atomic_folder, sha256_of
from kedro_dcgan.stored_files import (
    Count,
    DamagedFileError,
    FolderName,
    OtherFormatError,
    Sha256,
    StoredModel,
    read_json,
    require_sha256,
    write_json,
)
from kedro_dcgan.training.plan import Plan, differences

logger = logging.getLogger(__name__)

STATE, HEADER = "state.pt", "checkpoint.json"


@dataclass(frozen=True)
class CheckpointHeader:
    """The training that a checkpoint belongs to, its run in MLflow, and its planned length at the time of saving.

    `ended_early`: it is the last one of a training that `training.minutes` or `training.patience` has ended.
    `minutes` is `training.minutes`. `chosen` are the parameters that were chosen for `training.budget`, by dotted name,
    and the budget itself.
    """

    training_id: str
    images_seen: int
    total_images: int
    is_best: bool
    fingerprint: Mapping[str, Any]
    run_key: str | None = None
    ended_early: bool = False
    minutes: float | None = None
    chosen: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_finished(self) -> bool:
        """Whether its training had ended."""
        return self.images_seen >= self.total_images or self.ended_early


class StoredHeader(StoredModel):
    """The content of `checkpoint.json`: a `CheckpointHeader` and the hash of the state."""

    # Format 2 has neither `minutes` nor `chosen`; earlier versions of this package skip checkpoints of format 3.
    format: Literal[2, 3] = 3
    sha256: Sha256
    training_id: FolderName
    images_seen: Count
    total_images: Count
    is_best: bool
    fingerprint: dict[str, JsonValue]
    run_key: FolderName | None = None
    ended_early: bool = False
    minutes: float | None = None
    chosen: dict[str, JsonValue] = Field(default_factory=dict)
    facts: JsonValue = None  # of versions before `run_key`

    @property
    def header(self) -> CheckpointHeader:
        """The header without what is only needed to read the state."""
        return CheckpointHeader(**{one.name: getattr(self, one.name) for one in fields(CheckpointHeader)})


@dataclass(frozen=True)
class Checkpoint:
    """A header, a state (`TrainingState.state_dict`), and the number of checkpoints to keep, this one included."""

    header: CheckpointHeader
    state: Mapping[str, Any]
    keep: int
    must_be_saved: bool = False  # the last one of this run


@dataclass(frozen=True)
class TrainingStart:
    """A resolved plan, its parameters, and the checkpoint to resume from (None: train from scratch).

    The parameters have no `auto` that depends on the images. `run_key` is the key of the tracked run, `chosen` what was
    chosen for `training.budget`.
    """

    plan: Plan
    training: TrainingParameters
    resume_from: CheckpointHeader | None
    run_key: str | None = None
    chosen: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckpointFolder:
    """All checkpoints below one folder."""

    root: Path

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, or raise DiskFullError; of the earlier ones, keep the best and the newest."""
        header = checkpoint.header
        for leftover in (self.root / header.training_id).glob(".*"):
            shutil.rmtree(leftover, ignore_errors=True)

        with atomic_folder(self._place(header)) as folder:
            # Write to a Python file, because torch's own writer does not report a full disk.
            with (folder / STATE).open("wb") as file:
                torch.save(dict(checkpoint.state), file)
            write_json(folder / HEADER, {"format": 3, "sha256": sha256_of(folder / STATE), **asdict(header)})

        # Keep later checkpoints, too: they belong to a longer run of the same training.
        headers = [one for one in self.headers(header.training_id) if one.images_seen <= header.images_seen]
        best = next((one for one in headers[::-1] if one.is_best), None)
        for old in headers[: -checkpoint.keep]:
            if old is not best:
                # Rename it first, so that a half-removed folder is not taken for a checkpoint.
                place = self._place(old)
                shutil.rmtree(place.rename(place.with_name(f".{place.name}.removed")), ignore_errors=True)

    def newest(self, training_id: str, most_images: float = math.inf) -> CheckpointHeader | None:
        """Return the newest checkpoint of a training with at most `most_images` images seen."""
        headers = [header for header in self.headers(training_id) if header.images_seen <= most_images]
        return headers[-1] if headers else None

    def last_saved(self) -> CheckpointHeader | None:
        """Return the newest checkpoint of the training that saved last."""
        return next(self.newest_of_each(), None)

    def newest_of_each(self) -> Iterator[CheckpointHeader]:
        """Yield the newest checkpoint of each training, beginning with the one that saved last."""
        files = sorted(self.root.glob(f"*/[0-9]*/{HEADER}"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        for training_id in dict.fromkeys(file.parents[1].name for file in files):
            if newest := self.newest(training_id):
                yield newest

    def read_state(self, header: CheckpointHeader) -> Mapping[str, Any] | None:
        """Return the state of a checkpoint. If it is damaged, set it aside and return None."""
        place = self._place(header)
        if not place.exists():
            # Another rank has set it aside, or another process has replaced it by a newer one.
            return None
        try:
            stored = read_json(place / HEADER, StoredHeader, "")
            # torch itself checks no hash, and without `weights_only` it runs pickled code.
            require_sha256(place / STATE, stored.sha256, "")
            state = torch.load(place / STATE, weights_only=True, map_location="cpu")
            if not isinstance(state, dict) or state.get("images_seen") != header.images_seen:
                raise ValueError("its state is of another number of images")
        except (DamagedFileError, EOFError, ValueError, UnpicklingError) as error:
            self._set_aside(place, error)
            return None
        return state

    def headers(self, training_id: str) -> list[CheckpointHeader]:
        """Return the checkpoints of a training by images seen; set damaged ones aside, and skip other formats."""
        headers = []
        for place in sorted(self.root.glob(f"{training_id}/[0-9]*")):
            try:
                header = read_json(place / HEADER, StoredHeader, "").header
                if self._place(header) != place:
                    raise DamagedFileError("its header belongs to another folder")
                headers.append(header)
            except OtherFormatError:
                continue
            except DamagedFileError as error:
                self._set_aside(place, error)
        return headers

    def _set_aside(self, place: Path, error: Exception) -> None:
        aside = place.with_name(f"damaged-{place.name}")
        shutil.rmtree(aside, ignore_errors=True)
        place.rename(aside)
        fault = (str(error) or type(error).__name__).splitlines()[0].strip()
        logger.warning("The checkpoint %s is damaged: set aside as %s. %s", place, aside.name, fault)

    def _place(self, header: CheckpointHeader) -> Path:
        return self.root / header.training_id / f"{header.images_seen:012d}"


def choose_checkpoint(
    stored: CheckpointFolder, plan: Plan, resume: str, may_differ: bool = False
) -> CheckpointHeader | None:
    """Return the newest checkpoint of this training, if any; with `resume: force`, else that of the last training.

    may_differ: the parameters may differ from those of a last training that is not finished.

    Raises:
        TrainingError: if they differ otherwise.
    """
    if resume == "never":
        return None
    same, last = stored.newest(plan.training_id, plan.total_images), stored.last_saved()
    if same or last is None or last.training_id == plan.training_id:
        # (All checkpoints of the same training may be beyond the configured length.)
        return same
    if resume == "force":
        return last
    if not last.is_finished and not may_differ:
        raise not_resumable(last, differences(last.fingerprint, plan.fingerprint))
    return None


def not_resumable(last: CheckpointHeader, changes: Sequence[str]) -> TrainingError:
    """Return the error for a training that is not finished and cannot resume because of some changes."""
    of_length = f" of {short_images(last.total_images)}" if last.minutes is None else ""
    return TrainingError(
        f"the training that was stopped at {short_images(last.images_seen)}{of_length} cannot resume, because these "
        f"changed: {'; '.join(changes)}. Change them back, or pass --params training.resume=never (train from scratch) "
        "or force (resume anyway)."
    )


def restore(stored: CheckpointFolder, start: TrainingStart) -> Mapping[str, Any] | None:
    """Return the state to resume from; if the chosen checkpoint is damaged or gone, that of the newest one left."""
    # The others wait for the first rank, which sets damaged checkpoints aside.
    ranks = start.plan.compute.ranks
    if not ranks.is_first:
        distributed.barrier()
    header, state = start.resume_from, None
    most = max(start.plan.total_images, header.images_seen) if header else 0
    while header and (state := stored.read_state(header)) is None:
        header = stored.newest(header.training_id, most)
    if ranks.is_first and ranks.count > 1:
        distributed.barrier()

    # Validation distances of another training may not be comparable.
    is_same = header is None or header.training_id == start.plan.training_id
    return state if is_same or state is None else {**state, "best": None}
