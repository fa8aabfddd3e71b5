"""The base class of all parameter models, and the parameters of all stages except training.

A field's `description` is the only documentation of a parameter: `python -m kedro_dcgan.config` copies it everywhere.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kedro_dcgan.config.texts import LicenceText, PathText, WebAddress

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[int, Field(ge=0, le=255)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class ParameterGroup(BaseModel):
    """Parameters under one key of a YAML file. Unknown keys, inf and nan are errors, and values cannot be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """Return the parameters with values by dotted name; ValidationError if one is impossible."""
        content = self.model_dump()
        for name, value in values.items():
            *groups, leaf = name.split(".")
            place = content
            for group in groups:
                place = place[group]
            place[leaf] = value
        return self.model_validate(content)


class SplitFractions(ParameterGroup):
    """Fractions of the images in each split; they add up to 1. The content of an image decides its split."""

    train: Fraction = Field(description="Fraction of the images used for training.")
    validation: Fraction = Field(description="Fraction used to select the best generator.")
    test: Fraction = Field(description="Fraction held out for the evaluation.")

    @model_validator(mode="after")
    def _require_sum_of_one(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"must add up to 1 (they add up to {total:g})")
        return self


class NearDuplicateParameters(ParameterGroup):
    """Near-duplicates: images with similar perceptual hashes."""

    action: Literal["keep", "group", "skip"] = Field(
        description="How to treat near-duplicates. group: they share a split, so that no copy of a training "
        "image is in the test split; skip: only one of them is used; keep: they are treated like other images."
    )
    # A larger value groups unrelated images: with 16, half of 20,000 random hashes end up in groups.
    most_bits: int = Field(
        ge=0,
        le=8,
        json_schema_extra={"unit": "bits"},
        description="Maximum number of differing bits (of 64) between the perceptual hashes of near-duplicates. 0 "
        "finds most rescaled and recompressed copies; 4 finds more among photos, but groups unrelated drawings "
        "and digits.",
    )


class IngestionParameters(ParameterGroup):
    """The images to read, and the limits for accepting them."""

    source: PathText = Field(
        description="Images to read: a folder, a zip or tar archive, an array (IDX, npy, npz) or torchvision:NAME. "
        "Paths are relative to the project, or absolute.",
    )
    licence: LicenceText | None = Field(
        description="Licence of the images: an SPDX identifier such as CC-BY-4.0, a name or a URL. null: unknown, "
        "except for the digits and some torchvision datasets. Dataset cards and generators show it; images and "
        "training do not depend on it.",
    )
    source_url: WebAddress | None = Field(
        description="Web page that the images come from (http or https). null: as for `licence`.",
    )
    min_size: int | None = Field(
        ge=1,
        le=100_000,
        json_schema_extra={"unit": "pixels"},
        description="Minimum length of the shorter side of the cropped image; smaller images are "
        "skipped. null: preprocessing.image_size, so that no image is enlarged.",
    )
    # Pillow itself refuses larger images.
    max_pixels: int = Field(
        ge=1,
        le=178_956_970,
        json_schema_extra={"unit": "pixels"},
        description="Maximum width x height; larger images are skipped.",
    )
    max_file_megabytes: int = Field(
        ge=1, le=4000, json_schema_extra={"unit": "MB"}, description="Maximum size of a file; larger files are skipped."
    )
    max_files: int = Field(
        ge=1,
        le=1_000_000_000,
        json_schema_extra={"unit": "files"},
        description="Maximum number of files; a larger source is refused.",
    )
    max_skipped_fraction: Fraction = Field(
        description="Maximum fraction of skipped files. Above it, the run stops after it has written the report. "
        "Hidden files, side files (such as labels and a README), links and special files do not count."
    )
    labels: PathText | None = Field(
        description="CSV file with the label of each image: path, label. null: the label of a file is its folder.",
    )
    split_folders: Literal["auto", "first", "none"] = Field(
        description="Folders to leave out of the labels. auto: a level that consists of splits (train, test, "
        "validation or similar); first: the first level. Both also leave out the leading folders that all labels "
        "share: pets/cat becomes cat. none: keep all folders."
    )
    near_duplicates: NearDuplicateParameters
    splits: SplitFractions
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = Field(
        description="Number of worker processes. auto: one per usable core."
    )
    engine: Literal["processes", "ray"] = Field(
        description="Where the workers run. processes: on this machine; ray: on a running Ray cluster."
    )


class CropParameters(ParameterGroup):
    """The region of an image to use."""

    mode: Literal["centre", "letterbox", "none"] = Field(
        description="centre: crop the centred square; letterbox: use the whole image and pad it to a square; none: "
        "stretch the whole image to a square."
    )
    side: int | None = Field(
        ge=1,
        le=100_000,
        json_schema_extra={"unit": "pixels"},
        description="Side of the centred square, for mode centre. null: the largest that fits.",
    )
    boxes: PathText | None = Field(
        description="CSV file with a bounding box per image: path, left, top, width, height. null: no boxes.",
    )

    @model_validator(mode="after")
    def _require_centre_for_side(self) -> Self:
        if self.side and self.mode != "centre":
            raise ValueError(f"must have `mode` centre if `side` is set (got {self.mode})")
        return self


class PreprocessingParameters(ParameterGroup):
    """How images are cropped and resized for the networks."""

    image_size: int = Field(
        ge=16, le=512, json_schema_extra={"unit": "pixels"}, description="Width and height of a prepared image."
    )
    channels: Literal[1, 3] = Field(description="1: greyscale; 3: RGB.")
    crop: CropParameters
    resample: Literal["lanczos", "bicubic", "box"] = Field(description="Resampling filter, antialiased.")
    background: tuple[Level, Level, Level] = Field(
        description="Red, green and blue behind transparent pixels and padding."
    )
    shard_megabytes: int = Field(
        ge=1, le=100_000, json_schema_extra={"unit": "MB"}, description="Maximum size of a shard of prepared images."
    )


class EvaluationParameters(ParameterGroup):
    """How generated images are compared with the test split and with the training images."""

    samples: int = Field(
        ge=2,
        le=1_000_000,
        json_schema_extra={"unit": "images"},
        description="Number of generated images. Metrics depend on it, so their names contain it. Floors (the "
        "metrics of real images) need as many training images. Use 10000 if the train split is that large.",
    )
    seed: Seed = Field(description="Seed of the latents.")
    input_size: int = Field(
        ge=32,
        le=512,
        json_schema_extra={"unit": "pixels"},
        description="Input size of EfficientNet-Lite0; part of the metrics' names.",
    )
    real_images: Annotated[int, Field(ge=2, le=10_000_000)] | None = Field(
        json_schema_extra={"unit": "images"}, description="Maximum number of real images used per split. null: all."
    )
    device: DeviceName = Field(description="Device of the evaluation. auto: the fastest one available.")
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        description="Precision of the feature extractors. bfloat16 changes the metrics and their names; "
        "auto: the faster one, by a benchmark."
    )
    inception_weights: PathText | None = Field(
        description="File of the Inception-v3 weights, for FID. auto: torch hub's cache, if the weights are there; "
        "null: no FID."
    )
    inception_companions: bool = Field(
        description="Also compute KID, the Inception Score and the other metrics on Inception-v3 features."
    )


class ExportParameters(ParameterGroup):
    """Samples, animations and the entry in the model registry."""

    samples: int = Field(
        ge=1,
        le=10_000,
        json_schema_extra={"unit": "images"},
        description="Number of sample images (PNG) to write; `kedro dcgan sample` writes up to a million.",
    )
    seed: Seed = Field(description="Seed of the samples' latents.")
    frames_per_second: float = Field(
        gt=0, le=50, json_schema_extra={"unit": "Hz"}, description="Frame rate of the progress GIF and MP4."
    )
    registered_model: str = Field(
        pattern=r"^(?:[\w.-]|\{source\})+$",
        description="Name in MLflow's model registry. {source}: the name of the images' folder or file, so that each "
        "dataset has its own champion.",
    )
