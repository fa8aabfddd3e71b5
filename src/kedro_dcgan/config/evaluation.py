"""The parameters of evaluation and export."""

from typing import Annotated, Literal

from pydantic import Field

from kedro_dcgan.config.group import DeviceName, ParameterGroup, Seed


class EvaluationParameters(ParameterGroup):
    """How generated images are compared with the test split and with the training images."""

    samples: Annotated[
        int,
        Field(
            ge=2,
            description="Number of generated images. Metrics depend on it, so their names contain it. More samples "
            "than training images leave no floor; use 10000 if the train split is that large.",
        ),
    ]
    seed: Annotated[Seed, Field(description="Seed of the latents.")]
    input_size: Annotated[
        int,
        Field(
            ge=32,
            le=512,
            description="Size that images are resized to for EfficientNet-Lite0, in pixels; part of the metrics' "
            "names.",
        ),
    ]
    real_images: Annotated[
        Annotated[int, Field(ge=2)] | None,
        Field(description="Maximum number of real images used per split. null: all."),
    ]
    device: Annotated[DeviceName, Field(description="Device of the evaluation. auto: the fastest one available.")]
    precision: Annotated[
        Literal["float32", "bfloat16", "auto"],
        Field(
            description="Precision of the feature extractors. bfloat16 changes the metrics, and their names say so; "
            "auto: the faster one, by a benchmark."
        ),
    ]
    inception_weights: Annotated[
        Annotated[str, Field(min_length=1)] | None,
        Field(
            description="File of the Inception-v3 weights, for FID. auto: torch hub's cache, if the weights are there; "
            "null: no FID."
        ),
    ]
    inception_companions: Annotated[
        bool,
        Field(description="Also compute KID, the Inception Score and the other metrics on Inception-v3 features."),
    ]


class ExportParameters(ParameterGroup):
    """Samples, animations and the entry in the model registry."""

    samples: Annotated[int, Field(ge=1, description="Number of sample images (PNG) to write.")]
    seed: Annotated[Seed, Field(description="Seed of the samples' latents.")]
    frames_per_second: Annotated[float, Field(gt=0, le=50, description="Frame rate of the progress GIF and MP4.")]
    registered_model: Annotated[str, Field(pattern=r"^[\w.-]+$", description="Name in MLflow's model registry.")]
