"""The parameters of training."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from kedro_dcgan.config.groups import (
    AugmentationParameters,
    DiscriminatorParameters,
    EmaParameters,
    ImageCount,
    NetworkParameters,
    PenaltyParameters,
    Weight,
)
from kedro_dcgan.config.stages import DeviceName, ParameterGroup, Seed

ArchitectureName = Literal["dcgan", "digits28", "notebook28", "simpsons200", "simpsons200_light"]
LossName = Literal["non_saturating", "hinge", "least_squares", "wgan_gp"]

# With fewer training images, the discriminator learns them by heart before the generator has learned from it.
_FEW_IMAGES = 5_000
# `conditional: auto` needs at least this many training images of each class, and conditional training allows at most
# this many classes.
LEAST_OF_CLASS, MOST_CLASSES = 10, 1000


_UNITS = {"s": 1, "m": 60, "h": 3600, "kimg": 1}


# The parameters that a budget chooses; `budget_keeps` can name them.
Chosen = Literal[
    "kimg", "minutes", "batch_size", "generator.width", "generator.learning_rate", "generator.betas",
    "discriminator.width", "discriminator.learning_rate", "discriminator.betas", "discriminator.initialisation",
    "penalties.r1", "ema.half_life", "images_per_tick", "images_per_validation", "images_per_checkpoint",
]  # fmt: skip


def _require_budget(value: object) -> str:
    # A number without a unit is not text.
    found = re.fullmatch(r"(\d+\.?\d*)(s|m|h|kimg)", str(value))
    if not found or not 0 < float(found[1]) * _UNITS[found[2]] <= 6e7:
        raise ValueError("must be a time, such as 5m, 1h or 90s, or a number of images, such as 100kimg")
    return str(value)


def read_budget(text: str) -> tuple[float, Literal["seconds", "kimg"]]:
    """Return a budget as a number of seconds, or of thousands of images."""
    amount, unit = re.findall(r"[\d.]+|[a-z]+", text)
    return float(amount) * _UNITS[unit], "kimg" if unit == "kimg" else "seconds"


Budget = Annotated[str, BeforeValidator(_require_budget)]


class TrainingParameters(ParameterGroup):
    """How the two networks are trained."""

    budget: Budget | None = Field(
        description="Length of the training, for which width, batch size, learning rates, R1 and others are chosen "
        "(docs/how-to/budget.md): a time on this machine, such as 5m, 1h or 90s, or a number of images, such as "
        "100kimg. null: nothing is chosen."
    )
    budget_keeps: tuple[Chosen, ...] = Field(
        description="Parameters that the budget does not choose. Those in --params are always kept."
    )
    epochs: float = Field(
        gt=0, le=1_000_000, json_schema_extra={"unit": "epochs"}, description="Passes over the train split."
    )
    kimg: float | None = Field(
        gt=0,
        le=1e9,
        json_schema_extra={"unit": "kimg"},
        description="Length of the training, in thousands of real images. null: use epochs.",
    )
    minutes: float | None = Field(
        gt=0,
        le=1e6,
        json_schema_extra={"unit": "minutes"},
        description="Minutes after which training ends, whatever its length. Pauses between a stop and its resumption "
        "do not count. null: no limit.",
    )
    batch_size: int = Field(
        ge=2, le=1_000_000, json_schema_extra={"unit": "images"}, description="Real images per step, over all devices."
    )
    gradient_accumulation: int = Field(
        ge=1, le=500_000, description="Micro-batches per batch; more of them need less memory."
    )
    architecture: ArchitectureName = Field(
        description="Architecture of both networks. dcgan takes any image size, the others only their own."
    )
    latent_dim: int = Field(ge=1, le=65_536, description="Dimension of the latents.")
    latents: Literal["normal", "uniform"] = Field(
        description="Distribution of the latents. normal: standard normal; uniform: from -1 to 1."
    )
    conditional: bool | Literal["auto"] = Field(
        description="Train a class-conditional generator on the labels of the images. auto: if all images have a "
        f"label, and each of 2 to {MOST_CLASSES:,} classes has at least {LEAST_OF_CLASS} training images."
    )
    class_sampling: Literal["as_in_data", "balanced"] = Field(
        description="Classes of the images that conditional training sees. as_in_data: each image once in an epoch; "
        "balanced: all classes equally often; an epoch then repeats images of small classes and leaves out images of "
        "large ones."
    )
    wrong_class_weight: Weight = Field(
        description="Weight of the discriminator's loss on real images paired with a wrong class, for conditional "
        "training (Reed et al. 2016). 0: no such loss; wgan_gp has none either."
    )
    loss: LossName = Field(description="Adversarial loss.")
    real_label: float = Field(gt=0.5, le=1, description="Label of real images; below 1: one-sided label smoothing.")
    generator: NetworkParameters = Field(description="The generator and its Adam optimiser.")
    discriminator: DiscriminatorParameters
    penalties: PenaltyParameters
    augmentation: AugmentationParameters
    ema: EmaParameters
    images_per_tick: ImageCount = Field(
        json_schema_extra={"unit": "images"}, description="Real images between two ticks (log lines and samples)."
    )
    images_per_validation: ImageCount | None = Field(
        json_schema_extra={"unit": "images"},
        description="Real images between two validations. The generator with the smallest distance to the "
        "validation split is kept. null: no validation; the last generator is kept.",
    )
    validation_samples: int = Field(
        ge=2, le=1_000_000, json_schema_extra={"unit": "images"}, description="Generated images per validation."
    )
    patience: int | None = Field(
        ge=1,
        le=1_000_000,
        json_schema_extra={"unit": "validations"},
        description="Validations in a row without a better generator, after which training ends. null: never.",
    )
    images_per_checkpoint: ImageCount = Field(
        json_schema_extra={"unit": "images"}, description="Real images between two checkpoints."
    )
    checkpoints_kept: int = Field(
        ge=1, le=1_000_000, description="Number of latest checkpoints to keep, besides the best one."
    )
    resume: Literal["auto", "never", "force"] = Field(
        description="auto: resume if there is a checkpoint with these parameters; never: train from scratch; "
        "force: resume even if parameters changed."
    )
    grid_images: int = Field(
        ge=1,
        le=1024,
        json_schema_extra={"unit": "images"},
        description="Samples in the grid of a tick, always from the same latents.",
    )
    seed: Seed = Field(description="Seed of weights, latents, batches and augmentation.")
    device: DeviceName = Field(description="Device of the training. auto: the fastest one available.")
    devices: Annotated[int, Field(ge=1, le=4096)] | Literal["external"] = Field(
        description="Number of ranks that share each batch: GPUs, or processes on a CPU. external: the ranks of "
        "your own torchrun."
    )
    sync_batch_norm: bool = Field(
        description="Compute batch norm statistics over all ranks, so that results do not depend on their number."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        description="Precision of both networks. auto: the faster one, by a benchmark at the start."
    )
    threads: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = Field(
        description="CPU threads per process. auto: one per usable core, or fewer if a benchmark is faster."
    )
    compile: bool | Literal["auto"] = Field(
        description="torch.compile. auto: on long trainings, the fastest in a benchmark: eager execution, "
        "compiled networks or (on a GPU) CUDA graphs."
    )
    deterministic: bool = Field(
        description="Make runs on one machine bitwise reproducible, also on a GPU. Disables all benchmarks: "
        "auto is then float32, all cores, eager execution."
    )

    @model_validator(mode="after")
    def _require_compatible_values(self) -> Self:
        size, rest = divmod(self.batch_size, self.gradient_accumulation)
        if rest or size < 2:
            raise ValueError(
                "must have a `batch_size` that `gradient_accumulation` divides into micro-batches of at least 2 images "
                f"(got {self.batch_size} and {self.gradient_accumulation})"
            )
        if self.real_label < 1 and self.loss not in ("non_saturating", "least_squares"):
            raise ValueError(
                f"must have a `real_label` of 1 with the loss {self.loss}, which uses no labels "
                f"(got {self.real_label:g})"
            )
        if self.patience is not None and self.images_per_validation is None:
            raise ValueError("must have `images_per_validation` with a `patience` (got null), which counts validations")
        if self.class_sampling == "balanced" and self.conditional is False:
            raise ValueError("must have `conditional` true or auto with `class_sampling` balanced (got false)")
        if self.loss == "wgan_gp" and self.penalties.has_r1:
            raise ValueError(
                "must have a `penalties.r1` of 0 with the loss wgan_gp, which has its own gradient penalty "
                f"(got {self.penalties.r1})"
            )
        if self.penalties.r1 == "auto" and self.loss != "non_saturating":
            raise ValueError(
                f"must have a number as `penalties.r1` with the loss {self.loss} (got auto, which needs the "
                "probabilities of the loss non_saturating)"
            )
        return self

    def for_images(self, count: int, class_counts: Sequence[int] = ()) -> Self:
        """Return the parameters for a train split of `count` images, or `class_counts` of each class, without `auto`.

        `augmentation.differentiable` and `conditional` are decided.
        """
        augmentation, conditional = self.augmentation, self.conditional
        if augmentation.differentiable == "auto":
            names = ("translation",) if count < _FEW_IMAGES else ()
            augmentation = augmentation.model_copy(update={"differentiable": names})
        if conditional == "auto":
            conditional = 2 <= len(class_counts) <= MOST_CLASSES and min(class_counts) >= LEAST_OF_CLASS
        return self.model_copy(update={"augmentation": augmentation, "conditional": conditional})

    @property
    def micro_batch_size(self) -> int:
        """Images that a device processes at once; with `devices: external`, an upper bound for one device."""
        devices = self.devices if isinstance(self.devices, int) else 1
        return self.batch_size // (devices * self.gradient_accumulation)

    def total_batches(self, count: int) -> int:
        """Return the number of batches of the whole training, for a train split of `count` images."""
        if self.kimg is not None:
            return max(1, round(self.kimg * 1000 / self.batch_size))
        return max(1, round(self.epochs * (count // self.batch_size)))
