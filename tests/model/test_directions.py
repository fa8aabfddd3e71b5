from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import generator_config
from torch import nn

from kedro_dcgan.model.directions import (
    Direction,
    _names,
    attributes,
    feature_directions,
    find_directions,
    first_layer_directions,
    strips_along,
)
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.sampling import generate_all, sample_inputs

CONFIG = generator_config("dcgan", 16, 1, 4, 4)


def orthogonal(*strengths):
    """Return weights `(256, 4)` whose singular vectors on the side of the latents are the axes, in mixed order."""
    columns = torch.linalg.qr(torch.randn(256, 4, generator=torch.Generator().manual_seed(0)))[0]
    return columns * torch.tensor(strengths)


class Dense(Generator):
    """ReLU of a dense layer far above 0, so that it is linear."""

    def __init__(self, config, weights):
        dense = nn.Linear(config.input_dim, 256)
        dense.weight.data, dense.bias.data = weights, torch.full((256,), 20.0)
        super().__init__(config, dense, nn.ReLU(), nn.Unflatten(1, (1, 16, 16)))


class Painter(Generator):
    """The second latent makes the image brighter; a class, if there is one, makes it black."""

    def __init__(self, config):
        dense = nn.Linear(config.input_dim, 256, bias=False)
        dense.weight.data = 0.001 * torch.randn(256, config.input_dim, generator=torch.Generator().manual_seed(0))
        # Downwards: the direction must be turned.
        dense.weight.data[:, 1] -= 0.1
        dense.weight.data[:, 4:] = -9
        super().__init__(config, dense, nn.ReLU(), nn.Unflatten(1, (1, 16, 16)))


@pytest.mark.parametrize("method", ["first layer", "features"])
def test_directions_are_those_of_the_strongest_singular_values(method):
    generator = Dense(CONFIG, orthogonal(1.0, 4.0, 2.0, 3.0))
    found = first_layer_directions(generator) if method == "first layer" else feature_directions(generator, 0)
    assert found.shape == (4, 4)
    # The components of samples differ a little from the true ones.
    assert found.abs().argmax(dim=1).tolist() == [1, 3, 2, 0]
    assert (found.abs().max(dim=1).values > (0.9999 if method == "first layer" else 0.97)).all()
    assert torch.allclose(found.norm(dim=1), torch.ones(4), atol=1e-5)


@pytest.mark.parametrize("method", ["first layer", "features"])
def test_classes_do_not_affect_the_directions(method):
    weights = orthogonal(1.0, 4.0, 2.0, 3.0)
    of_classes = 5 * torch.randn(256, 2, generator=torch.Generator().manual_seed(1))
    config = replace(CONFIG, classes=("cat", "dog"), class_shares=(0.5, 0.5))
    generator = Dense(config, torch.cat([weights, of_classes], dim=1))
    found = first_layer_directions(generator) if method == "first layer" else feature_directions(generator, 0)
    assert found.abs().argmax(dim=1).tolist() == [1, 3, 2, 0]
    assert (found.abs().max(dim=1).values > 0.97).all()


def test_transposed_convolutions_have_the_latents_first():
    generator = build_generator(replace(CONFIG, classes=("cat",), class_shares=(1.0,)))
    (layer,) = [layer for layer in generator.layers if isinstance(layer, nn.ConvTranspose2d)][:1]
    strengths = torch.tensor([1.0, 4.0, 2.0, 3.0, 9.0])
    rows = torch.linalg.qr(torch.randn(layer.weight[0].numel(), 5, generator=torch.Generator().manual_seed(0)))[0].T
    layer.weight.data = (strengths[:, None] * rows).view_as(layer.weight)
    found = first_layer_directions(generator)
    assert torch.allclose(found.abs(), torch.eye(4)[[1, 3, 2, 0]], atol=1e-4)


@pytest.mark.parametrize("architecture", ["dcgan", "digits28", "notebook28", "simpsons200"])
def test_all_architectures_have_directions_of_their_latents(architecture):
    size = {"dcgan": 16, "simpsons200": 200}.get(architecture, 28)
    config = generator_config(architecture, size, 1, 5, 1)
    conditional = replace(config, classes=("cat", "dog"), class_shares=(0.5, 0.5))
    for one in (config, conditional):
        found = first_layer_directions(build_generator(one))
        assert torch.allclose(found @ found.T, torch.eye(5), atol=1e-5)


def test_direction_is_named_after_what_it_changes_and_points_to_more_of_it():
    config = replace(CONFIG, classes=("cat",), class_shares=(1.0,))
    generator = Painter(CONFIG)
    first = find_directions(generator, 4)[0]
    assert first.name == "brightness"
    assert first.vector[1] < -0.99
    assert first.effects["brightness"] > 1
    # A black image does not change: no attribute gives its name.
    assert find_directions(Painter(config), 2)[0].name == "direction 1"


def test_the_strongest_of_two_directions_has_the_name_of_an_attribute():
    class Brightness(Generator):
        """Two latents make the image brighter; the one that changes the first layer less does so more."""

        def __init__(self):
            dense, to_image = nn.Linear(4, 3, bias=False), nn.Linear(3, 256, bias=False)
            dense.weight.data = torch.tensor([[2.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0.1, 0.05]])
            to_image.weight.data = torch.tensor([0.02, 0.2, 0]).repeat(256, 1)
            super().__init__(CONFIG, dense, to_image, nn.Unflatten(1, (1, 16, 16)))

    weaker, stronger, *others = find_directions(Brightness(), 4)
    assert (weaker.name, stronger.name) == ("direction 1", "brightness")
    assert 0.5 < abs(weaker.effects["brightness"]) < stronger.effects["brightness"]
    assert [one.name for one in others] == ["direction 3", "direction 4"]


@pytest.mark.parametrize(
    ("effects", "names"),
    [
        # The second direction changes the same most. It has the name of what it changes almost as much.
        ([{"a": 2.0, "b": 0.1}, {"a": -1.5, "b": 1.2}], {0: "a", 1: "b"}),
        ([{"a": 2.0, "b": 0.1}, {"a": -1.5, "b": 1.1}], {0: "a"}),
        ([{"a": 1.5, "b": 0.1}, {"a": -2.0, "b": 1.2}], {1: "a"}),
        ([{"a": 0.49}, {"a": 0.3}], {}),
        ([{"a": -0.5}], {0: "a"}),
    ],
)
def test_names_are_given_once_and_to_the_strongest(effects, names):
    assert _names(effects) == names


def image(function, channels=1):
    """Return an image `(1, channels, 32, 32)` of a function of row (upwards) and column, from -15.5 to 15.5."""
    up, right = np.meshgrid(15.5 - np.arange(32), np.arange(32) - 15.5, indexing="ij")
    return np.broadcast_to(np.asarray(function(up, right) * 255, dtype=np.uint8), (1, channels, 32, 32))


@pytest.mark.parametrize("slope", [0.0, 0.5, -0.3])
@pytest.mark.parametrize("background", [0, 1])
def test_slant_is_the_columns_per_row_upwards(slope, background):
    bar = image(lambda up, right: np.abs((abs(up) < 8) * (abs(right - slope * up) < 3) - background))
    assert attributes(bar)["slant"][0] == pytest.approx(slope, abs=0.03)


def test_brightness_and_size_are_shares():
    square = image(lambda up, right: (abs(up) < 8) * (abs(right) < 8))
    assert attributes(square)["brightness"][0] == pytest.approx(1 / 4)
    assert attributes(square)["size"][0] == pytest.approx(1 / 4)
    # On white, the same shape has the same size.
    assert attributes(255 - square)["size"][0] == pytest.approx(1 / 4)
    assert set(attributes(square)) == {"brightness", "size", "slant"}


def test_warmth_and_saturation_are_of_colours():
    images = np.zeros((3, 3, 8, 8), dtype=np.uint8)
    images[0, 0], images[1, 2], images[2] = 255, 51, 128
    assert attributes(images)["warmth"] == pytest.approx([1, -0.2, 0])
    assert attributes(images)["saturation"] == pytest.approx([1, 0.2, 0])


def test_strips_show_two_samples_from_one_end_of_a_direction_to_the_other():
    generator, vector = build_generator(CONFIG), torch.tensor([0.0, 1.0, 0.0, 0.0])
    for weight in generator.parameters():
        nn.init.normal_(weight, 0, 0.5, generator=torch.Generator().manual_seed(0))
    ((caption, images),) = strips_along(generator, [Direction(vector, "size")], seed=3)
    assert caption == "size, -3 to 3"
    latents = sample_inputs(2, CONFIG, 3)
    expected = [generate_all(generator, (one + unit * vector)[None])[0] for one in latents for unit in range(-3, 4)]
    # In a batch, a value may be rounded to the next grey level.
    np.testing.assert_allclose(images.astype(int), torch.stack(expected).numpy().astype(int), atol=1)
    assert np.abs(images[0].astype(int) - images[6]).max() > 10
