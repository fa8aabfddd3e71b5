"""The typed parameters: one frozen model for each top-level key of `conf/*/parameters_*.yml`.

Nodes are hinted with these models, so Kedro hands them over checked. `read_parameters` checks all
of them at once and reports a fault in the user's own keys.
"""

from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kedro_dcgan.errors import ParameterError

Fraction = Annotated[float, Field(ge=0, le=1)]


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitFractions(_Parameters):
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


class NearDuplicateParameters(_Parameters):
    """What becomes of pictures that look alike."""

    action: Annotated[Literal["keep", "group", "skip"], Field(description="group: all in one split; skip: one is kept")]
    # More join pictures that have nothing in common: 16 put half of 20,000 random hashes into groups.
    most_bits: Annotated[int, Field(ge=0, le=8, description="of 64 bits of the perceptual hash, those that differ")]


class IngestionParameters(_Parameters):
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


class CropParameters(_Parameters):
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


class PreprocessingParameters(_Parameters):
    """What an image is turned into."""

    image_size: Annotated[int, Field(ge=16, le=512, description="width and height, pixels")]
    channels: Annotated[Literal[1, 3], Field(description="1 grey, 3 RGB")]
    crop: CropParameters
    resample: Literal["lanczos", "bicubic", "box"]
    background: Annotated[tuple[Level, Level, Level], Field(description="red, green, blue behind transparent pixels")]
    shard_megabytes: Annotated[int, Field(ge=1)]


class NetworkParameters(_Parameters):
    """One network and its Adam optimiser."""

    width: Annotated[int, Field(ge=1, description="channels of the layer next to the image")]
    learning_rate: Annotated[float, Field(gt=0, lt=1)]
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]]


class TrainingParameters(_Parameters):
    """How the two networks are trained."""

    epochs: Annotated[float, Field(gt=0, description="passes over the train split")]
    batch_size: Annotated[int, Field(ge=2, description="images; batch norm needs two")]
    latent_dim: Annotated[int, Field(ge=1)]
    generator: NetworkParameters
    discriminator: NetworkParameters
    images_per_tick: Annotated[int, Field(ge=1, description="real images between two reports")]
    grid_images: Annotated[int, Field(ge=1, le=1024, description="samples in the grid of a tick")]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "float32", "bfloat16"]


class EvaluationParameters(_Parameters):
    """How the generator is measured."""

    samples: Annotated[int, Field(ge=2, description="generated images")]
    seed: Annotated[int, Field(ge=0, lt=2**63)]


class ExportParameters(_Parameters):
    """What is written beside the generator."""

    samples: Annotated[int, Field(ge=1, description="PNG files")]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    gif_frames_per_second: Annotated[float, Field(gt=0, le=50)]
    registered_model: Annotated[str, Field(pattern=r"^[\w.-]+$", description="name in MLflow's registry")]


class Parameters(_Parameters):
    """All parameters, by their top-level keys."""

    ingestion: IngestionParameters
    preprocessing: PreprocessingParameters
    training: TrainingParameters
    evaluation: EvaluationParameters
    export: ExportParameters


def read_parameters(raw: dict[str, Any], overridden: dict[str, Any]) -> Parameters:
    """Check every parameter of a run and return them typed.

    `raw` holds what the parameter files and `--params` say together, `overridden` what `--params`
    says alone. A top-level key of a file that is not ours is left alone unless it looks like a
    misspelling of one that is.

    Raises:
        ParameterError: in one line, the first fault: the key, the rule, the value, the remedy.
    """
    ours = Parameters.model_fields
    for key in raw:
        looks_misspelt = bool(get_close_matches(key, ours))
        if key not in ours and (looks_misspelt or key in overridden):
            raise ParameterError(_unknown(key))
    try:
        return Parameters.model_validate({key: value for key, value in raw.items() if key in ours})
    except ValidationError as error:
        # A misspelt key causes two faults, the unknown key and the missing one: the first tells more.
        faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        raise ParameterError(_describe(dict(faults[0]))) from None


# Where and how fast the work is done, but not what comes out.
RUNTIME_ONLY = ("ingestion.workers", "ingestion.engine")


def flatten(parameters: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Return what decides the result under dotted keys: `{"training.generator.width": 32, ...}`."""
    flat: dict[str, Any] = {}
    for name, value in parameters:
        if f"{prefix}{name}" in RUNTIME_ONLY:
            continue
        key = f"{prefix}{name}"
        flat.update(flatten(value, f"{key}.") if isinstance(value, BaseModel) else {key: value})
    return flat


def _describe(fault: dict[str, Any]) -> str:
    keys = [str(part) for part in fault["loc"]]
    name = ".".join(keys)
    if fault["type"] == "extra_forbidden":
        return _unknown(name)
    if fault["type"] == "missing":
        return f"`{name}` must be given (it is missing). Add it to conf/base/parameters_{keys[0]}.yml."
    # The place of an item in a list, and a group of keys, are changed in the file alone.
    named = [key for key in keys if not key.isdigit()]
    is_group = "instance of" in fault["msg"] or isinstance(fault["input"], dict)
    remedy = "." if is_group or len(named) < len(keys) else f" or with --params {name}=VALUE."
    rule = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("must ")
    rule = "be a group of keys" if "instance of" in rule else rule
    rule = rule if rule.startswith(("be ", "add ")) else f"be {rule}"
    return (
        f"`{'.'.join(named)}` must {rule} (got {fault['input']!r}). "
        f"Change it in conf/*/parameters_{keys[0]}.yml{remedy}"
    )


def _unknown(name: str) -> str:
    known = _known_keys(Parameters)
    parent, _, leaf = name.rpartition(".")
    siblings = [key for key in known if key.rpartition(".")[0] == parent]
    same_leaf = [key for key in known if key.rpartition(".")[2] == leaf]
    close = same_leaf or [key for key in siblings if get_close_matches(leaf, [key.rpartition(".")[2]], cutoff=0.7)]
    if close:
        return f"`{name}` must be a known parameter (it is not). Did you mean `{'` or `'.join(close)}`?"
    return f"`{name}` must be a known parameter (it is not). Known here: {', '.join(siblings or known)}."


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(f"{prefix}{name}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _known_keys(field.annotation, f"{prefix}{name}.")
    return keys
