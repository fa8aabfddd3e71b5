"""How much arithmetic a step takes: what images a second come to in FLOP/s."""

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.model.describe import describe
from kedro_dcgan.model.specs import DiscriminatorSpec, GeneratorSpec


def flops_per_image(generator: GeneratorSpec, discriminator: DiscriminatorSpec, training: TrainingParameters) -> float:
    """Return the FLOPs (2 for each multiply-add) that convolutions and dense layers take for one real image.

    A backward pass costs twice a forward pass, once for the gradients of the weights and once for those of the
    inputs, which the first layer's have none of. D learns from a real and a fake image; G's turn, one in
    `discriminator.steps`, needs no gradients of D's weights. A penalty on D's gradients takes about six forward
    passes: one, its gradient, and the gradients of both, each with respect to weights and inputs.
    """
    g, g_first = _forward(generator)
    d, d_first = _forward(discriminator)
    of_discriminator = g + 2 * (3 * d - d_first)
    # Of a batch in parts the fakes were too many to keep.
    again = g if training.gradient_accumulation > 1 else 0
    of_generator = again + 2 * d + 2 * g - g_first
    penalties = training.penalties
    penalised = (1 / penalties.r1_every if penalties.r1 else 0) + (1 if training.loss == "wgan_gp" else 0)
    return of_discriminator + penalised * 6 * d + of_generator / training.discriminator.steps


def _forward(spec: GeneratorSpec | DiscriminatorSpec) -> tuple[int, int]:
    # Of the network, and of its first layer.
    flops = [layer.flops for layer in describe(spec).layers if layer.flops]
    return sum(flops), flops[0]
