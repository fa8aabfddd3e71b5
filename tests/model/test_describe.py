import pytest
import torch
from networks import discriminator_config, generator_config
from torch.utils.flop_counter import FlopCounterMode

from kedro_dcgan.model.describe import describe
from kedro_dcgan.model.recipes import build_discriminator, build_generator

# Parameter counts from the model summaries of the sources.
PARAMETERS = {
    "dcgan": ((64, 3, 100, 64), 3_576_704, 2_765_568),
    "digits28": ((28, 1, 100, 64), 2_305_472, 212_865),
    "simpsons200": ((200, 3, 100, 32), 8_338_947, 655_635_009),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_trainable_parameters_match_the_source(name):
    (size, channels, latents, width), of_generator, of_discriminator = PARAMETERS[name]
    assert describe(generator_config(name, size, channels, latents, width)).trainable_parameters == of_generator
    assert describe(discriminator_config(name, size, channels, width)).trainable_parameters == of_discriminator


def test_trainable_parameters_of_the_notebook28_generator_match_the_source():
    assert describe(generator_config("notebook28", 28, 1, 100, 64)).trainable_parameters == 413_889


def test_flops_match_the_formula_for_convolutions():
    flops = {layer.name: layer.flops for layer in describe(generator_config("dcgan", 64, 3, 100, 64)).layers}
    convolutions = [count for count in flops.values() if count]
    stages = [(4, 512, 256), (8, 256, 128), (16, 128, 64), (32, 64, 3)]
    assert convolutions == [
        2 * 100 * 512 * 16,
        *(2 * size * size * inputs * outputs * 16 for size, inputs, outputs in stages),
    ]


@pytest.mark.parametrize("name", ["generator", "discriminator"])
def test_flops_match_the_torch_flop_counter(name):
    if name == "generator":
        config = generator_config("dcgan", 64, 3, 100, 64)
        network, inputs = build_generator(config), torch.zeros(1, 100)
    else:
        config = discriminator_config("dcgan", 64, 3, 64)
        network, inputs = build_discriminator(config), torch.zeros(1, 3, 64, 64)
    with FlopCounterMode(display=False) as counter:
        network.eval()(inputs)
    found = describe(config)
    assert found.flops == counter.get_total_flops() == sum(layer.flops for layer in found.layers)


def test_spectral_norm_adds_no_parameters():
    plain = describe(discriminator_config("dcgan", 32, 3, 8))
    normalised = describe(discriminator_config("dcgan", 32, 3, 8, spectral_norm=True))
    assert normalised.trainable_parameters == plain.trainable_parameters


def test_training_memory_is_that_of_weights_and_of_outputs_with_memory_of_their_own():
    config = generator_config("dcgan", 16, 1, 10, 4)
    one, two = describe(config, batch_size=1), describe(config, batch_size=2)
    # Convolutions, batch norms and tanh; neither the reshaped latent nor ReLU, which works in place.
    outputs = 2 * 8 * 4 * 4 + 2 * 4 * 8 * 8 + 2 * 16 * 16
    assert two.training_bytes - one.training_bytes == 4 * outputs
    assert one.training_bytes == 4 * (4 * one.trainable_parameters + outputs)
