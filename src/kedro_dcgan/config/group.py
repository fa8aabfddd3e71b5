"""The base class of all parameter models, the field types that they share, and the flat view of a model.

A field's `description` is the only documentation of a parameter: `python -m kedro_dcgan.config` copies it everywhere.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# These change where and how fast the work runs, but not its result.
RUNTIME_ONLY = ("ingestion.workers", "ingestion.engine")

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class ParameterGroup(BaseModel):
    """Parameters under one key of a YAML file. Unknown keys are errors, and values cannot be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def flatten(parameters: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Return the values that affect the result under dotted keys: `{"training.generator.width": 32, ...}`."""
    flat: dict[str, Any] = {}
    for name, value in parameters:
        key = f"{prefix}{name}"
        if isinstance(value, BaseModel):
            flat.update(flatten(value, f"{key}."))
        elif key not in RUNTIME_ONLY:
            flat[key] = value
    return flat


def dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of all groups and parameters of a model, in the order of declaration."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from dotted_keys(field.annotation, f"{prefix}{name}.")
