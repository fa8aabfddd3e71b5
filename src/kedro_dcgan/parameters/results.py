"""The parameters of evaluation and export."""

from typing import Annotated

from pydantic import Field

from kedro_dcgan.parameters.group import Group


class EvaluationParameters(Group):
    """How the generator is measured."""

    samples: Annotated[int, Field(ge=2, description="generated images")]
    seed: Annotated[int, Field(ge=0, lt=2**63)]


class ExportParameters(Group):
    """What is written beside the generator."""

    samples: Annotated[int, Field(ge=1, description="PNG files")]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    frames_per_second: Annotated[float, Field(gt=0, le=50)]
    registered_model: Annotated[str, Field(pattern=r"^[\w.-]+$", description="name in MLflow's registry")]
