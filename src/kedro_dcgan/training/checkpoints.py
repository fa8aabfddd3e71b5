"""Checkpoints as values, and the choice of the one that a training resumes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from kedro_dcgan.errors import TrainingError
from kedro_dcgan.training.plan import Plan, differences


@dataclass(frozen=True)
class CheckpointHeader:
    """The training that a checkpoint belongs to, its run in MLflow, and the planned length at the time of saving."""

    training_id: str
    images_seen: int
    total_images: int
    is_best: bool
    fingerprint: Mapping[str, Any]
    run_key: str | None = None

    @property
    def is_finished(self) -> bool:
        """Whether nothing was left to do."""
        return self.images_seen >= self.total_images


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to go on as if nothing had happened (`TrainingState.state_dict`).

    So many are to be kept up to this one. `must_be_saved`: none comes after it in this run.
    """

    header: CheckpointHeader
    state: Mapping[str, Any]
    keep: int
    must_be_saved: bool = False


@dataclass(frozen=True)
class TrainingStart:
    """A resolved plan, the checkpoint to resume from (nothing: train from scratch), and the key of the tracked run."""

    plan: Plan
    resume_from: CheckpointHeader | None
    run_key: str | None = None


class StoredCheckpoints(Protocol):
    """Checkpoints of one or several trainings."""

    def newest(self, training_id: str, most_images: int) -> CheckpointHeader | None:
        """Return the newest checkpoint of a training, of no more than so many images."""

    def last_saved(self) -> CheckpointHeader | None:
        """Return the newest checkpoint of the training that was under way last."""

    def read_state(self, header: CheckpointHeader) -> Mapping[str, Any] | None:
        """Return a checkpoint's state, or nothing if it is damaged; it is then set aside."""


def choose_checkpoint(stored: StoredCheckpoints, plan: Plan, resume: str) -> CheckpointHeader | None:
    """Return where to go on: the same training's newest moment, if there is one, or nothing, to start anew.

    `resume` is `training.resume`: `auto`, `never`, or `force`, which goes on with another training's.

    Raises:
        TrainingError: if the training under way last was another, and is not finished.
    """
    if resume == "never":
        return None
    same = stored.newest(plan.training_id, plan.total_images)
    last = stored.last_saved()
    if same or last is None or last.training_id == plan.training_id:
        # (What there is of the same training may be further than it is to go now.)
        return same
    if resume == "force":
        return last
    if not last.is_finished:
        raise TrainingError(
            f"the training that was stopped at {last.images_seen / 1000:.1f} of {last.total_images / 1000:.1f} kimg "
            f"must be gone on with as it was ({'; '.join(differences(last.fingerprint, plan.fingerprint))}). Restore "
            "that, or start anew: --params training.resume=never; force goes on with what has changed."
        )
    return None


def restore(stored: StoredCheckpoints, start: TrainingStart, resume: str) -> Mapping[str, Any] | None:
    """Return the state to resume from; where the chosen checkpoint is damaged, that of the one before it."""
    header = start.resume_from
    while header:
        state = stored.read_state(header)
        if state is not None:
            # Validation distances of another training may not be comparable.
            return state if header.training_id == start.plan.training_id else {**state, "best": None}
        header = choose_checkpoint(stored, start.plan, resume)
    return None
