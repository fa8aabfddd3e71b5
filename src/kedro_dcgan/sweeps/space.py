"""The search space of a sweep: its checks, its distributions in Optuna, and the training parameters of a trial."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import ValidationError

from kedro_dcgan.config import Dimension, SweepParameters, TrainingParameters, flatten, rule_of
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.errors import ParameterError
from kedro_dcgan.training.plan import plan_training

Values = Mapping[str, Any]

# A sweep sets the length of a trial itself, and the speed does not affect its result.
OF_LENGTH_AND_SPEED = {
    "budget", "budget_keeps", "epochs", "kimg", "minutes", "images_per_tick", "images_per_validation", "patience",
    "images_per_checkpoint", "checkpoints_kept", "resume", "grid_images", "device", "devices", "threads", "compile",
}  # fmt: skip
# Other values would make the distances of trials incomparable.
_FIXED = OF_LENGTH_AND_SPEED | {"validation_samples", "seed", "sync_batch_norm", "precision", "deterministic"}


def require_searchable(space: Mapping[str, Dimension], training: TrainingParameters) -> None:
    """Check that the space can be searched, starting from the current values.

    Raises:
        ParameterError: for a budget, an unknown or fixed parameter, a range without the current value, or an impossible
            value.
    """
    if training.budget:
        raise ParameterError(
            f"`training.budget` must be null for a sweep (got {training.budget}): it chooses what a sweep searches. "
            "Set the length of the trials with sweep.kimg."
        )
    if not space:
        raise ParameterError("`sweep.space` must have at least one parameter (it is empty). Add one to search.")
    known = {name: value for name, value in flatten(training).items() if name not in _FIXED}
    for name, dimension in space.items():
        if name not in known:
            close = get_close_matches(name, known, n=1) or ["generator.learning_rate"]
            problem = "a sweep cannot change it" if name in _FIXED else "`training` has no such parameter"
            raise ParameterError(
                f"`sweep.space.{name}` must name a parameter of `training` that a sweep can change ({problem}). "
                f"For example: {close[0]}."
            )
        if not dimension.contains(known[name]):
            raise ParameterError(
                f"`sweep.space.{name}` must contain the value to start from (got {dimension}; training.{name} is "
                f"{known[name]}). Change one of them, or remove the parameter: --params sweep.space.{name}=null."
            )
    for _ in trainings_at_ends(space, training):
        pass


def trainings_at_ends(space: Mapping[str, Dimension], training: TrainingParameters) -> Iterator[TrainingParameters]:
    """Yield the training parameters with one searched parameter at an end of its range, or at each of its choices.

    Raises:
        ParameterError: for the first impossible value.
    """
    for name, dimension in space.items():
        for end in dimension.ends:
            try:
                yield training.with_values({name: end})
            except ValidationError as error:
                raise ParameterError(
                    f"`sweep.space.{name}` must have possible values of training.{name} (got {end}: {rule_of(error)}). "
                    "Change it in conf/*/parameters_sweep.yml."
                ) from None


def require_trainable(images: PreparedImages, sweep: SweepParameters, training: TrainingParameters) -> None:
    """Check that the images have a validation split, and that each end of the space can be trained on them here.

    Raises:
        ParameterError, DataError: for the first training that cannot be planned.
    """
    require_searchable(sweep.space, training)
    images.require("validation", 2, "a sweep", "Add images, or give it a larger share of `ingestion.splits`.")
    if training.devices != 1:
        raise ParameterError(
            f"`training.devices` must be 1 for a sweep (got {training.devices}): a trial runs in one process. To use "
            "more devices, run more processes: kedro run --pipelines=trials."
        )
    for parameters in trainings_at_ends(sweep.space, training):
        plan_training(images, parameters.for_images(images.count("train"), images.class_counts()))


def start_values(space: Mapping[str, Dimension], training: TrainingParameters) -> dict[str, Any]:
    """Return the current values of the searched parameters."""
    current = flatten(training)
    return {name: current[name] for name in space}


def distributions(space: Mapping[str, Dimension], training: TrainingParameters) -> dict[str, BaseDistribution]:
    """Return the distribution of each searched parameter. One whose ends and current value are integers stays so."""
    current = flatten(training)
    found: dict[str, BaseDistribution] = {}
    for name, dimension in space.items():
        low, high, log = dimension.low, dimension.high, dimension.log
        if dimension.choices:
            found[name] = CategoricalDistribution(dimension.choices)
        elif all(isinstance(value, int) for value in (low, high, current[name])):
            found[name] = IntDistribution(int(low), int(high), log)
        else:
            found[name] = FloatDistribution(low, high, log)
    return found


def trial_parameters(training: TrainingParameters, sweep: SweepParameters, values: Values) -> TrainingParameters:
    """Return the parameters of a trial: those of `training` with its values, and with the length that `sweep` sets."""
    changed = training.with_values(values)
    total = round(sweep.kimg * 1000)
    every = max(1, total // sweep.validations)
    return changed.model_copy(
        update={
            "kimg": sweep.kimg,
            "minutes": None,
            "patience": None,
            "images_per_tick": every,
            "images_per_validation": every,
            "images_per_checkpoint": every,
            "checkpoints_kept": 1,
            "resume": "auto",
        }
    )
