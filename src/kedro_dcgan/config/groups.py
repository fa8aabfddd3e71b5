"""The groups of training parameters: both networks, penalties, augmentation and the EMA."""

from typing import Annotated, Literal

from pydantic import Field

from kedro_dcgan.config.stages import ParameterGroup

InitialisationName = Literal["normal", "he"]
AugmentationName = Literal["colour", "translation", "cutout"]

# Still finite in float32.
Weight = Annotated[float, Field(ge=0, le=1e38)]
ImageCount = Annotated[int, Field(ge=1, le=10**12)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class NetworkParameters(ParameterGroup):
    """A network and its Adam optimiser."""

    width: int = Field(
        ge=1,
        le=8192,
        description="Channels of the layer next to the image; deeper layers have 2, 4, ... times as many.",
    )
    learning_rate: float = Field(gt=0, lt=1, description="Learning rate of Adam.")
    betas: tuple[Beta, Beta] = Field(description="Adam's beta1 and beta2.")


class DiscriminatorParameters(NetworkParameters):
    """The discriminator, its Adam optimiser and its updates."""

    initialisation: InitialisationName = Field(
        description="Distribution of the initial weights. normal: a standard deviation of 0.02; he: so large that "
        "the logits of a new network without batch norm differ from image to image (He et al. 2015)."
    )
    batch_norm: bool = Field(description="Batch norm; true requires penalties.r1 = 0. false: biases instead.")
    spectral_norm: bool = Field(description="Spectral norm of each convolution and dense layer.")
    dropout: float | None = Field(
        ge=0, lt=1, description="Dropout rate after each activation. null: the rate of the architecture."
    )
    update: Literal["together", "separately"] = Field(
        description="together: one update on real and fake images; separately: one update on real images, then "
        "one on fake images."
    )
    steps: int = Field(
        ge=1, le=1000, description="Discriminator updates per generator update, each on a new real batch."
    )


class PenaltyParameters(ParameterGroup):
    """Gradient penalties in the discriminator's loss."""

    r1: Weight | Literal["auto"] = Field(
        description="Gamma of the R1 penalty (Mescheder et al. 2018). 0: no penalty. auto: adaptive; it rises while "
        "the discriminator separates real and fake images too well, and falls otherwise."
    )
    r1_every: int = Field(
        ge=1,
        le=1_000_000,
        json_schema_extra={"unit": "steps"},
        description="Steps between two R1 penalties (lazy regularisation); the penalty is scaled by this number.",
    )
    gradient: Weight = Field(description="Weight of the gradient penalty of wgan_gp; other losses ignore it.")

    @property
    def has_r1(self) -> bool:
        """Whether there is an R1 penalty."""
        return self.r1 == "auto" or self.r1 > 0


class AugmentationParameters(ParameterGroup):
    """Augmentation of the images that the discriminator sees."""

    flip: bool = Field(description="Mirror half of the real images, left to right.")
    differentiable: tuple[AugmentationName, ...] | Literal["auto"] = Field(
        description="Differentiable augmentations (DiffAugment) of real and fake images. auto: translation if the "
        "train split has fewer than 5,000 images, otherwise none."
    )

    @property
    def names(self) -> tuple[AugmentationName, ...]:
        """The differentiable augmentations; none as long as `auto` is not decided for the images."""
        return () if self.differentiable == "auto" else self.differentiable


class EmaParameters(ParameterGroup):
    """The exponential moving average (EMA) of the generator's weights, used for samples, metrics and export."""

    half_life: ImageCount | None = Field(
        json_schema_extra={"unit": "images"},
        description="Half-life of the EMA, in real images. null: use the raw weights.",
    )
    recalibration: int = Field(
        ge=0,
        le=1_000_000,
        description="Latents used to recompute the batch norm statistics of the EMA. 0: do not recompute.",
    )
