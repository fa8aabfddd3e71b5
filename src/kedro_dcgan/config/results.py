"""The parameters of evaluation and export."""

from typing import Annotated, Literal

from pydantic import Field

from kedro_dcgan.config.training import DeviceName
from kedro_dcgan.config.types import Group


class EvaluationParameters(Group):
    """How the generator is measured."""

    samples: Annotated[int, Field(ge=2, description="generated images")]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    input_size: Annotated[int, Field(ge=32, le=512, description="pixels that images are resized to for EfficientNet")]
    real_images: Annotated[int, Field(ge=2)] | None
    device: DeviceName
    precision: Annotated[
        Literal["float32", "bfloat16", "auto"],
        Field(description="of the extractors; auto: the faster"),
    ]
    inception_weights: Annotated[str, Field(min_length=1)] | None
    inception_companions: bool


class ExportParameters(Group):
    """What is written beside the generator."""

    samples: Annotated[int, Field(ge=1, description="PNG files")]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    frames_per_second: Annotated[float, Field(gt=0, le=50)]
    registered_model: Annotated[str, Field(pattern=r"^[\w.-]+$", description="name in MLflow's registry")]
