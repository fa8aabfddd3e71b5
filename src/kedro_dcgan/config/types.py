"""What all groups of parameters have in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]


class Group(BaseModel):
    """Some keys of a parameters file; an unknown key is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid")
