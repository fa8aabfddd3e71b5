"""A moment of a training as a value, and which of the stored ones a training goes on from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from kedro_dcgan.errors import TrainingError
from kedro_dcgan.gan.training.plan import Plan, differences
from kedro_dcgan.parameters import TrainingParameters


@dataclass(frozen=True)
class CheckpointHeader:
    """What a checkpoint is of. `total_images` is how long training was to be when it was made."""

    training_id: str
    images_seen: int
    total_images: int
    is_best: bool
    fingerprint: Mapping[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)

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


def restore(stored: StoredCheckpoints, plan: Plan, training: TrainingParameters) -> Mapping[str, Any] | None:
    """Return the state to go on from: of the newest checkpoint that is not damaged."""
    while header := choose_checkpoint(stored, plan, training.resume):
        state = stored.read_state(header)
        if state is not None:
            # With something changed, distances may be other ones than before.
            return state if header.training_id == plan.training_id else {**state, "best": None}
    return None
