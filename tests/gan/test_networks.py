import pytest
import torch

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.gan.describe import describe
from kedro_dcgan.gan.networks import Discriminator, Generator, initialise
from kedro_dcgan.gan.specs import dcgan_discriminator, dcgan_generator, generator_spec_from_dict, spec_to_dict


def test_the_standard_64_pixel_networks_have_the_published_parameter_counts():
    assert describe(dcgan_generator(64, 3, 100, 64)).trainable_parameters == 3_576_704
    assert describe(dcgan_discriminator(64, 3, 64)).trainable_parameters == 2_765_568


@pytest.mark.parametrize("size", [16, 20, 24, 28, 32, 48, 64, 128, 256, 512])
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_map_latents_to_images_to_logits(size, channels):
    generator, discriminator = dcgan_generator(size, channels, 10, 2), dcgan_discriminator(size, channels, 2)
    assert describe(generator).output_shape == (channels, size, size)
    assert describe(discriminator).output_shape == ()


def test_generator_output_lies_in_the_model_range():
    images = Generator(dcgan_generator(16, 1, 5, 4))(torch.randn(8, 5) * 100)
    assert images.shape == (8, 1, 16, 16)
    assert images.abs().max() <= 1


def test_discriminator_gives_one_logit_an_image():
    assert Discriminator(dcgan_discriminator(32, 3, 4))(torch.zeros(7, 3, 32, 32)).shape == (7,)


@pytest.mark.parametrize("size", [17, 33, 100, 36])
def test_a_size_that_doubling_cannot_reach_is_refused_with_its_neighbours(size):
    with pytest.raises(ParameterError, match="nearest sizes are"):
        dcgan_generator(size, 1, 10, 2)


def test_discriminator_normalises_all_stages_but_the_first_and_the_last():
    stages = dcgan_discriminator(64, 3, 64).stages
    assert [stage.norm for stage in stages] == [False, True, True, True, False]


def test_initialise_draws_the_papers_distributions_from_the_seed():
    networks = [Generator(dcgan_generator(64, 3, 100, 64)) for _ in range(2)]
    for network in networks:
        initialise(network, torch.Generator().manual_seed(3))
    one, other = (network.state_dict() for network in networks)
    assert all(torch.equal(one[name], other[name]) for name in one)
    kernel, gain = one["stages.1.0.weight"], one["stages.1.1.weight"]
    assert abs(kernel.mean()) < 1e-4
    assert abs(kernel.std() - 0.02) < 1e-4
    assert abs(gain.mean() - 1) < 0.01
    assert abs(gain.std() - 0.02) < 0.005


def test_spec_survives_json():
    spec = dcgan_generator(32, 1, 10, 4)
    assert generator_spec_from_dict(spec_to_dict(spec)) == spec


def test_describe_lists_every_layer_with_its_shape():
    layers = describe(dcgan_generator(16, 1, 10, 4)).layers
    assert [(layer.kind, layer.output_shape) for layer in layers] == [
        ("ConvTranspose2d", (8, 4, 4)),
        ("BatchNorm2d", (8, 4, 4)),
        ("ReLU", (8, 4, 4)),
        ("ConvTranspose2d", (4, 8, 8)),
        ("BatchNorm2d", (4, 8, 8)),
        ("ReLU", (4, 8, 8)),
        ("ConvTranspose2d", (1, 16, 16)),
        ("Tanh", (1, 16, 16)),
    ]
    assert layers[0].parameters == 10 * 8 * 4 * 4
