"""The parameters of training."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kedro_dcgan.config.types import Group

ArchitectureName = Literal["dcgan", "digits28", "notebook28", "simpsons200", "simpsons200_light"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
LossName = Literal["non_saturating", "hinge", "least_squares", "wgan_gp"]
AugmentationName = Literal["colour", "translation", "cutout"]

Weight = Annotated[float, Field(ge=0)]
Images = Annotated[int, Field(ge=1, description="real images")]


class NetworkParameters(Group):
    """One network and its Adam optimiser."""

    width: Annotated[int, Field(ge=1, description="channels of the layer next to the image")]
    learning_rate: Annotated[float, Field(gt=0, lt=1)]
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]]


class DiscriminatorParameters(NetworkParameters):
    """The discriminator: what may be changed in it whatever the architecture, and how it is updated."""

    batch_norm: Annotated[bool, Field(description="false: none, but biases")]
    spectral_norm: Annotated[bool, Field(description="of each kernel")]
    dropout: Annotated[float | None, Field(ge=0, lt=1, description="behind each activation; null: as the architecture")]
    update: Annotated[Literal["together", "separately"], Field(description="one on real and fake images, or one each")]
    steps: Annotated[int, Field(ge=1, description="for one of the generator, each on real images of its own")]


class PenaltyParameters(Group):
    """What is added to the discriminator's loss."""

    r1: Annotated[Weight, Field(description="gamma of Mescheder et al. 2018; 0: none")]
    r1_every: Annotated[int, Field(ge=1, description="steps; the penalty is so many times stronger then")]
    gradient: Annotated[Weight, Field(description="lambda of wgan_gp; no other loss has it")]


class AugmentationParameters(Group):
    """What is done to the images before the discriminator sees them."""

    flip: Annotated[bool, Field(description="half of the real images, left to right")]
    differentiable: Annotated[tuple[AugmentationName, ...], Field(description="of real and fake images alike")]


class EmaParameters(Group):
    """The average of the generator's weights over time."""

    half_life: Annotated[int | None, Field(ge=1, description="real images; null: none")]
    recalibration: Annotated[int, Field(ge=0, description="latents to measure batch norm's statistics with")]


class TrainingParameters(Group):
    """How the two networks are trained."""

    epochs: Annotated[float, Field(gt=0, description="passes over the train split")]
    kimg: Annotated[float | None, Field(gt=0, description="thousands of real images; if given, instead of epochs")]
    batch_size: Annotated[int, Field(ge=2, description="images; batch norm needs two")]
    gradient_accumulation: Annotated[int, Field(ge=1, description="parts that a batch is worked through in")]
    architecture: Annotated[ArchitectureName, Field(description="of both networks")]
    latent_dim: Annotated[int, Field(ge=1)]
    latents: Annotated[Literal["normal", "uniform"], Field(description="standard normal, or uniform in [-1, 1]")]
    loss: LossName
    real_label: Annotated[float, Field(gt=0.5, le=1, description="less than 1: one-sided label smoothing")]
    generator: NetworkParameters
    discriminator: DiscriminatorParameters
    penalties: PenaltyParameters
    augmentation: AugmentationParameters
    ema: EmaParameters
    images_per_tick: Annotated[Images, Field(description="real images between two reports")]
    images_per_validation: Annotated[Images | None, Field(description="real images between two; null: none")]
    validation_samples: Annotated[int, Field(ge=2, description="generated images")]
    images_per_checkpoint: Annotated[Images, Field(description="real images between two")]
    checkpoints_kept: Annotated[int, Field(ge=1, description="newest ones, beside the best")]
    resume: Literal["auto", "never", "force"]
    grid_images: Annotated[int, Field(ge=1, le=1024, description="samples in the grid of a tick")]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: DeviceName
    devices: Annotated[
        Annotated[int, Field(ge=1)] | Literal["external"],
        Field(description="processes that train together; external: those that a torchrun elsewhere starts"),
    ]
    sync_batch_norm: Annotated[bool, Field(description="common statistics of what several devices work on")]
    precision: Annotated[Literal["auto", "float32", "bfloat16"], Field(description="auto: the faster, by benchmark")]
    threads: Annotated[
        Annotated[int, Field(ge=1)] | Literal["auto"],
        Field(description="per process on a CPU; auto: one per usable core, or fewer if faster, by benchmark"),
    ]
    compile: Annotated[bool | Literal["auto"], Field(description="auto: if that is faster here, and worth a minute")]
    deterministic: Annotated[bool, Field(description="on a GPU, too: equal runs give equal bits")]

    @model_validator(mode="after")
    def _divide_batches(self) -> Self:
        part, rest = divmod(self.batch_size, self.gradient_accumulation)
        if rest or part < 2:
            raise ValueError(
                "must have a `batch_size` that `gradient_accumulation` divides into parts of at least 2 images "
                f"(got {self.batch_size} and {self.gradient_accumulation})"
            )
        return self

    @model_validator(mode="after")
    def _smooth_labels_only(self) -> Self:
        if self.real_label < 1 and self.loss not in ("non_saturating", "least_squares"):
            raise ValueError(
                f"must have a `real_label` of 1 with the loss {self.loss}, which has no labels "
                f"(got {self.real_label:g})"
            )
        return self

    @model_validator(mode="after")
    def _penalise_once(self) -> Self:
        if self.loss == "wgan_gp" and self.penalties.r1:
            raise ValueError(
                "must have a `penalties.r1` of 0 with the loss wgan_gp, which has a penalty of its own "
                f"(got {self.penalties.r1:g})"
            )
        return self

    @property
    def images_at_once(self) -> int:
        """How many images a device works through at once; as if alone, where a torchrun elsewhere says how many."""
        devices = self.devices if isinstance(self.devices, int) else 1
        return self.batch_size // (devices * self.gradient_accumulation)

    def total_batches(self, count: int) -> int:
        """Return how many batches are trained on in all, of a train split of `count` images."""
        if self.kimg is not None:
            return max(1, round(self.kimg * 1000 / self.batch_size))
        return max(1, round(self.epochs * (count // self.batch_size)))
