"""The parameters of ingestion and preprocessing."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kedro_dcgan.config.types import Fraction, Group


class SplitFractions(Group):
    """Shares of the images that go to each split; they add up to 1."""

    train: Fraction
    validation: Fraction
    test: Fraction

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"must add up to 1 (they add up to {total:g})")
        return self


class NearDuplicateParameters(Group):
    """What becomes of pictures that look alike."""

    action: Annotated[Literal["keep", "group", "skip"], Field(description="group: all in one split; skip: one is kept")]
    # More join pictures that have nothing in common: 16 put half of 20,000 random hashes into groups.
    most_bits: Annotated[int, Field(ge=0, le=8, description="of 64 bits of the perceptual hash, those that differ")]


class IngestionParameters(Group):
    """Which images are read, and which of them are usable."""

    source: Annotated[str, Field(min_length=1, description="folder, archive, IDX file or torchvision:NAME")]
    min_size: Annotated[int | None, Field(ge=1, description="least shorter side, pixels; null: image_size")]
    # Above that, Pillow itself refuses.
    max_pixels: Annotated[int, Field(ge=1, le=178_956_970, description="most width x height, pixels")]
    max_file_megabytes: Annotated[int, Field(ge=1, le=4000)]
    max_files: Annotated[int, Field(ge=1)]
    max_skipped_fraction: Fraction
    near_duplicates: NearDuplicateParameters
    splits: SplitFractions
    workers: Annotated[Literal["auto"] | Annotated[int, Field(ge=1, le=1024)], Field(description="processes")]
    engine: Annotated[Literal["processes", "ray"], Field(description="where the work is done")]


class CropParameters(Group):
    """Which part of an image is kept."""

    mode: Literal["centre", "letterbox", "none"]
    side: Annotated[int | None, Field(ge=1, description="of the centred square, pixels; null: as large as can be")]
    boxes: Annotated[str | None, Field(min_length=1, description="CSV file of boxes")]

    @model_validator(mode="after")
    def _side_is_of_the_square(self) -> Self:
        if self.side and self.mode != "centre":
            raise ValueError("must have the mode centre to have a side")
        return self


Level = Annotated[int, Field(ge=0, le=255)]


class PreprocessingParameters(Group):
    """What an image is turned into."""

    image_size: Annotated[int, Field(ge=16, le=512, description="width and height, pixels")]
    channels: Annotated[Literal[1, 3], Field(description="1 grey, 3 RGB")]
    crop: CropParameters
    resample: Literal["lanczos", "bicubic", "box"]
    background: Annotated[tuple[Level, Level, Level], Field(description="red, green, blue behind transparent pixels")]
    shard_megabytes: Annotated[int, Field(ge=1)]
