"""The parameters of a sweep, and its search space."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from kedro_dcgan.config.stages import ParameterGroup, Seed

Choice = bool | int | float | str | None


class Dimension(ParameterGroup):
    """The values that a sweep tries for a parameter: `choices`, or the numbers from `low` to `high`.

    `log`: all orders of magnitude are equally likely.
    """

    choices: tuple[Choice, ...] = ()
    low: int | float = 0
    high: int | float = 0
    log: bool = False

    @model_validator(mode="after")
    def _require_values(self) -> Self:
        if self.choices:
            if len(set(map(repr, self.choices))) < max(2, len(self.choices)):
                raise ValueError("must have at least two different choices")
        elif self.low >= self.high:
            raise ValueError(f"must have a `low` below `high` (got {self.low:g} and {self.high:g})")
        elif self.log and self.low <= 0:
            raise ValueError(f"must have a `low` above 0 with `log` (got {self.low:g})")
        return self

    @property
    def ends(self) -> tuple[Choice, ...]:
        """All choices, or the smallest and the largest number."""
        return self.choices or (self.low, self.high)

    def contains(self, value: object) -> bool:
        """Return whether the sweep may try a value."""
        if self.choices:
            return any(
                isinstance(choice, bool) == isinstance(value, bool) and choice == value for choice in self.choices
            )
        return isinstance(value, int | float) and self.low <= value <= self.high

    def __str__(self) -> str:
        return ", ".join(map(str, self.choices)) if self.choices else f"{self.low:g} to {self.high:g}"


def _read_space(value: Any) -> Any:
    """Flatten a space that is nested like `training` into dimensions by dotted key."""
    return dict(_dimensions(value, "")) if isinstance(value, dict) else value


def _dimensions(group: dict[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in group.items():
        key = f"{prefix}{name}"
        match value:
            case None:
                # A preset, or --params, has removed the dimension.
                continue
            case list() | tuple():
                yield key, {"choices": value}
            case {"low": _, "high": _}:
                yield key, value
            case dict() if value and not {"low", "high", "log", "choices"} & set(value):
                yield from _dimensions(value, f"{key}.")
            case _:
                raise ValueError(
                    f"must have low and high, or a list of choices, for each parameter (got {key}: {value})"
                )


SearchSpace = Annotated[dict[str, Dimension], BeforeValidator(_read_space), WithJsonSchema({"type": "object"})]


class SweepParameters(ParameterGroup):
    """The search for better training parameters (`kedro run --pipelines=sweep`)."""

    space: SearchSpace = Field(
        description="Training parameters to search, nested as in training: a range with low, high and log (true: all "
        "orders of magnitude are equally likely), or a list of choices. null removes a parameter."
    )
    kimg: float = Field(
        gt=0,
        le=1e9,
        json_schema_extra={"unit": "kimg"},
        description="Length of each trial, in thousands of real images.",
    )
    trials: int = Field(ge=1, le=100_000, description="Number of trials, those of all processes together.")
    minutes: float | None = Field(
        gt=0,
        le=1e6,
        json_schema_extra={"unit": "minutes"},
        description="Minutes after which a process starts no further trial. null: no limit.",
    )
    validations: int = Field(
        ge=1, le=1000, description="Validations in a trial. After each, the pruner may end the trial."
    )
    sampler: Literal["tpe", "random"] = Field(
        description="tpe: values near those of good trials are more likely (Bergstra et al. 2011); random: no memory."
    )
    pruner: Literal["median", "hyperband", "none"] = Field(
        description="Which trials end early. median: those worse than the median of earlier trials at the same "
        "length; hyperband: all but the best third, at several lengths (Li et al. 2018); none: no trial."
    )
    confirmations: int = Field(
        ge=0,
        le=100,
        description="Other seeds with which the best parameters and the baseline (the current ones) are trained at the "
        "end, because the best of many trials is partly luck.",
    )
    seed: Seed = Field(description="Seed of the sampler.")
    storage: str | None = Field(
        min_length=1,
        description="Database for several machines, as an SQLAlchemy URL: postgresql+psycopg://USER@HOST/NAME. null: a "
        "file in data/06_models/sweep.",
    )
    preset: str = Field(
        pattern=r"^[A-Za-z0-9][\w-]*$", description="Folder of conf/ that the best parameters are written to."
    )
