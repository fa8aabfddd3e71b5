import json
from dataclasses import asdict, replace

import pytest
import torch
from networks import discriminator_config, generator_config
from pydantic import TypeAdapter
from torch import nn

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.model.describe import describe
from kedro_dcgan.model.layers import Dropout
from kedro_dcgan.model.networks import GeneratorConfig, initialise
from kedro_dcgan.model.recipes import ARCHITECTURES, build_discriminator, build_generator


def test_64_pixel_networks_have_the_published_parameter_counts():
    assert describe(generator_config("dcgan", 64, 3, 100, 64)).trainable_parameters == 3_576_704
    assert describe(discriminator_config("dcgan", 64, 3, 64)).trainable_parameters == 2_765_568


@pytest.mark.parametrize("size", [16, 17, 20, 28, 33, 48, 64, 100, 127, 200, 256, 511, 512])
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_map_latents_to_images_to_logits(size, channels):
    assert describe(generator_config("dcgan", size, channels, 10, 2)).output_shape == (channels, size, size)
    assert describe(discriminator_config("dcgan", size, channels, 2)).output_shape == ()


def test_generator_output_lies_in_the_model_range():
    images = build_generator(generator_config("dcgan", 16, 1, 5, 4))(torch.randn(8, 5) * 100)
    assert images.shape == (8, 1, 16, 16)
    assert images.abs().max() <= 1


def test_discriminator_gives_one_logit_per_image():
    assert build_discriminator(discriminator_config("dcgan", 32, 3, 4))(torch.zeros(7, 3, 32, 32)).shape == (7,)


@pytest.mark.parametrize(
    ("name", "size", "rule"),
    [
        ("digits28", 30, "a multiple of 4"),
        ("notebook28", 32, "28"),
        ("simpsons200", 100, "a multiple of 8"),
        ("simpsons200_light", 100, "a multiple of 8"),
    ],
)
def test_unsupported_image_size_is_rejected(name, size, rule):
    for build in (
        lambda: build_generator(generator_config(name, size, 1, 10, 2)),
        lambda: build_discriminator(discriminator_config(name, size, 1, 2)),
    ):
        with pytest.raises(ParameterError) as caught:
            build()
        facts = ("`preprocessing.image_size`", rule, name.removesuffix("_light"), f"(got {size})")
        assert all(fact in str(caught.value) for fact in facts)


def kinds(config):
    return [layer.kind for layer in describe(config).layers]


CONV, NORM, LEAKY = "Conv2d", "BatchNorm2d", "LeakyReLU"


def test_discriminator_normalises_all_but_the_first_and_last_convolution():
    assert kinds(discriminator_config("dcgan", 64, 3, 64)) == [CONV, LEAKY, *3 * [CONV, NORM, LEAKY], CONV]


def test_dropout_follows_each_activation_and_replaces_the_dropout_of_the_architecture():
    def rates(dropout):
        network = build_discriminator(discriminator_config("digits28", 28, 1, 8, dropout=dropout))
        return [layer.rate for layer in network.layers if isinstance(layer, Dropout)]

    assert rates(None) == [0.3, 0.3]
    assert rates(0.5) == [0.5, 0.5]
    assert rates(0.0) == []
    stage = [CONV, NORM, LEAKY, "Dropout"]
    config = discriminator_config("dcgan", 64, 3, 8, dropout=0.1)
    assert kinds(config) == [CONV, LEAKY, "Dropout", *3 * stage, CONV]


def test_convolutions_without_batch_norm_have_a_bias():
    bare = build_discriminator(discriminator_config("dcgan", 32, 1, 8, batch_norm=False))
    assert not bare.has_batch_norm
    assert [layer.bias is not None for layer in bare.layers if isinstance(layer, nn.Conv2d)] == [
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("name", ["dcgan", "digits28"])
def test_spectral_norm_scales_every_layer_to_one(name):
    size = 28
    network = build_discriminator(discriminator_config(name, size, 1, 4, spectral_norm=True)).train()
    initialise(network, torch.Generator().manual_seed(0))
    for _ in range(30):
        network(torch.randn(2, 1, size, size))  # each pass is one step of power iteration
    layers = [layer for layer in network.layers if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) > 2
    for layer in layers:
        norm = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
        assert 0.95 < norm < 1.05


def test_initialise_draws_the_dcgan_distributions_from_the_seed():
    networks = [build_generator(generator_config("dcgan", 64, 3, 100, 64)) for _ in range(2)]
    for network in networks:
        initialise(network, torch.Generator().manual_seed(3))
    one, other = (network.state_dict() for network in networks)
    assert all(torch.equal(one[name], other[name]) for name in one)
    kernel, gain = one["layers.4.weight"], one["layers.5.weight"]
    assert abs(kernel.mean()) < 1e-4
    assert abs(kernel.std() - 0.02) < 1e-4
    assert abs(gain.mean() - 1) < 0.01
    assert abs(gain.std() - 0.02) < 0.005


@pytest.mark.parametrize(("initialisation", "keeps"), [("normal", False), ("he", True)])
def test_he_initialisation_keeps_the_scale_of_activations_through_the_discriminator(initialisation, keeps):
    network = build_discriminator(discriminator_config("dcgan", 32, 1, 24, batch_norm=False))
    initialise(network, torch.Generator().manual_seed(3), initialisation)
    layers = [layer for layer in network.layers if isinstance(layer, nn.Conv2d)]
    deviations = [float(layer.weight.detach().std()) for layer in layers]
    # E[x^2] = 1/3 for these inputs, so each layer's outputs have a mean square of 2 / 1.04 / 3 = 0.64, less at borders.
    activations = torch.rand(64, 1, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    squares = []
    for layer in network.layers[:-1]:
        activations = layer(activations)
        if isinstance(layer, nn.Conv2d):
            squares.append(float(activations.detach().square().mean()))
    if keeps:
        assert deviations == pytest.approx([(2 / 1.04 / layer.weight[0].numel()) ** 0.5 for layer in layers], rel=0.15)
        assert squares == pytest.approx([0.64] * len(squares), rel=0.4)
    else:
        assert deviations == pytest.approx([0.02] * len(layers), rel=0.15)
        assert squares[-1] < 1e-4


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_building_a_network_keeps_the_global_random_state(name):
    size = 200 if "simpsons" in name else 28
    before = torch.get_rng_state()
    build_generator(generator_config(name, size, 1, 10, 4))
    assert torch.equal(torch.get_rng_state(), before)


def test_config_survives_a_json_round_trip():
    config = generator_config("digits28", 28, 1, 10, 4)
    for written in (config, replace(config, classes=("a", "b"), class_shares=(0.25, 0.75))):
        assert TypeAdapter(GeneratorConfig).validate_json(json.dumps(asdict(written))) == written


def test_describe_lists_every_layer_with_its_shape():
    layers = describe(generator_config("dcgan", 16, 1, 10, 4)).layers
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
