import json

import pytest
import torch

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.model.describe import describe
from kedro_dcgan.model.networks import Discriminator, Generator, initialise
from kedro_dcgan.model.recipes import ARCHITECTURES, dcgan, with_dropout, with_spectral_norm, without_batch_norm
from kedro_dcgan.model.specs import (
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    LeakyRelu,
    generator_spec_from_dict,
    spec_to_dict,
)


def test_the_standard_64_pixel_networks_have_the_published_parameter_counts():
    assert describe(dcgan.generator(64, 3, 100, 64)).trainable_parameters == 3_576_704
    assert describe(dcgan.discriminator(64, 3, 64)).trainable_parameters == 2_765_568


@pytest.mark.parametrize("size", [16, 17, 20, 28, 33, 48, 64, 100, 127, 200, 256, 511, 512])
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_map_latents_to_images_to_logits(size, channels):
    generator, discriminator = dcgan.generator(size, channels, 10, 2), dcgan.discriminator(size, channels, 2)
    assert describe(generator).output_shape == (channels, size, size)
    assert describe(discriminator).output_shape == ()


def test_generator_output_lies_in_the_model_range():
    images = Generator(dcgan.generator(16, 1, 5, 4))(torch.randn(8, 5) * 100)
    assert images.shape == (8, 1, 16, 16)
    assert images.abs().max() <= 1


def test_discriminator_gives_one_logit_an_image():
    assert Discriminator(dcgan.discriminator(32, 3, 4))(torch.zeros(7, 3, 32, 32)).shape == (7,)


@pytest.mark.parametrize(
    ("name", "size", "rule"),
    [
        ("digits28", 30, "a multiple of 4 for `training.architecture` digits28 (got 30)"),
        ("notebook28", 32, "28 for `training.architecture` notebook28 (got 32)"),
        ("simpsons200", 100, "a multiple of 8 for `training.architecture` simpsons200 (got 100)"),
        ("simpsons200_light", 100, "a multiple of 8 for `training.architecture` simpsons200 (got 100)"),
    ],
)
def test_a_size_that_an_architecture_does_not_take_is_refused(name, size, rule):
    for build in (
        lambda: ARCHITECTURES[name].generator(size, 1, 10, 2),
        lambda: ARCHITECTURES[name].discriminator(size, 1, 2),
    ):
        with pytest.raises(ParameterError) as refused:
            build()
        assert f"`preprocessing.image_size` must be {rule}. Pass" in str(refused.value)


def kinds(spec):
    return [type(layer) for layer in spec.layers]


def test_discriminator_normalises_all_convolutions_but_the_first_and_the_last():
    stage = [Conv, BatchNorm, LeakyRelu]
    assert kinds(dcgan.discriminator(64, 3, 64)) == [Conv, LeakyRelu, *3 * stage, Conv]


def test_dropout_stands_behind_each_activation_in_the_place_of_what_there_was():
    dropped = with_dropout(ARCHITECTURES["digits28"].discriminator(28, 1, 8), 0.5)
    assert [layer.rate for layer in dropped.layers if isinstance(layer, Dropout)] == [0.5, 0.5]
    assert Dropout not in kinds(with_dropout(dropped, 0))
    stage = [Conv, BatchNorm, LeakyRelu, Dropout]
    assert kinds(with_dropout(dcgan.discriminator(64, 3, 8), 0.1)) == [Conv, LeakyRelu, Dropout, *3 * stage, Conv]


def test_without_batch_norm_convolutions_have_the_bias_that_it_made_needless():
    bare = without_batch_norm(dcgan.discriminator(32, 1, 8))
    assert BatchNorm not in kinds(bare)
    assert [layer.bias for layer in bare.layers if isinstance(layer, Conv)] == [False, True, True, False]


@pytest.mark.parametrize("name", ["dcgan", "digits28"])
def test_under_spectral_norm_no_layer_stretches_by_more_than_one(name):
    size = 28
    spec = with_spectral_norm(ARCHITECTURES[name].discriminator(size, 1, 4))
    network = Discriminator(spec).train()
    initialise(network, torch.Generator().manual_seed(0))
    for _ in range(30):
        network(torch.randn(2, 1, size, size))  # each pass is one step of power iteration
    layers = [layer for layer in network.layers if hasattr(layer, "weight") and layer.weight.ndim > 1]
    assert len(layers) == sum(isinstance(layer, Conv | Dense) for layer in spec.layers)
    for layer in layers:
        norm = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
        assert 0.95 < norm < 1.05


def test_initialise_draws_the_papers_distributions_from_the_seed():
    networks = [Generator(dcgan.generator(64, 3, 100, 64)) for _ in range(2)]
    for network in networks:
        initialise(network, torch.Generator().manual_seed(3))
    one, other = (network.state_dict() for network in networks)
    assert all(torch.equal(one[name], other[name]) for name in one)
    kernel, gain = one["layers.4.weight"], one["layers.5.weight"]
    assert abs(kernel.mean()) < 1e-4
    assert abs(kernel.std() - 0.02) < 1e-4
    assert abs(gain.mean() - 1) < 0.01
    assert abs(gain.std() - 0.02) < 0.005


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_spec_survives_json(name):
    spec = ARCHITECTURES[name].generator(200 if "simpsons" in name else 28, 1, 10, 4)
    assert generator_spec_from_dict(json.loads(json.dumps(spec_to_dict(spec)))) == spec


def test_describe_lists_every_layer_with_its_shape():
    layers = describe(dcgan.generator(16, 1, 10, 4)).layers
    assert [(layer.kind, layer.output_shape) for layer in layers] == [
        ("Unflatten", (10, 1, 1)),
        ("ConvTranspose2d", (8, 4, 4)),
        ("BatchNorm2d", (8, 4, 4)),
        ("ReLU", (8, 4, 4)),
        ("ConvTranspose2d", (4, 8, 8)),
        ("BatchNorm2d", (4, 8, 8)),
        ("ReLU", (4, 8, 8)),
        ("ConvTranspose2d", (1, 16, 16)),
        ("Tanh", (1, 16, 16)),
    ]
    assert layers[1].parameters == 10 * 8 * 4 * 4
