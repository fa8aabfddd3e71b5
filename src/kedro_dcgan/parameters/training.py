"""The parameters of training."""

from typing import Annotated, Literal

from pydantic import Field

from kedro_dcgan.parameters.group import Group

ArchitectureName = Literal["dcgan", "digits28", "notebook28", "simpsons200", "simpsons200_light"]


class NetworkParameters(Group):
    """One network and its Adam optimiser."""

    width: Annotated[int, Field(ge=1, description="channels of the layer next to the image")]
    learning_rate: Annotated[float, Field(gt=0, lt=1)]
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]]


class DiscriminatorParameters(NetworkParameters):
    """The discriminator, and what may be changed in it whatever the architecture."""

    batch_norm: Annotated[bool, Field(description="false: none, but biases")]
    spectral_norm: Annotated[bool, Field(description="of each kernel")]
    dropout: Annotated[float | None, Field(ge=0, lt=1, description="behind each activation; null: as the architecture")]


class TrainingParameters(Group):
    """How the two networks are trained."""

    epochs: Annotated[float, Field(gt=0, description="passes over the train split")]
    batch_size: Annotated[int, Field(ge=2, description="images; batch norm needs two")]
    architecture: Annotated[ArchitectureName, Field(description="of both networks")]
    latent_dim: Annotated[int, Field(ge=1)]
    latents: Annotated[Literal["normal", "uniform"], Field(description="standard normal, or uniform in [-1, 1]")]
    generator: NetworkParameters
    discriminator: DiscriminatorParameters
    images_per_tick: Annotated[int, Field(ge=1, description="real images between two reports")]
    grid_images: Annotated[int, Field(ge=1, le=1024, description="samples in the grid of a tick")]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "float32", "bfloat16"]
