"""Every convolution algorithm matches torch in outputs, first and second derivatives, in each precision."""

from collections import Counter

import pytest
import torch
from torch import nn

from kedro_dcgan.model import convolution_algorithms, layers
from kedro_dcgan.model.convolution_algorithms import OPERATIONS, Geometry, key_of
from kedro_dcgan.model.layers import Conv2d, ConvTranspose2d

# (size of the large image, kernel, stride, padding, output padding)
GEOMETRIES = [(4, 4, 1, 0, 0), (8, 4, 2, 1, 0), (9, 4, 2, 1, 1), (11, 5, 1, 0, 0), (17, 5, 2, 0, 0), (6, 3, 1, 1, 0)]


# Algorithms of the three operations. Only a kernel of 4 with stride 2 has `subpixel`.
CHOICES = [
    {"small": "product", "large": "product", "kernel": "product"},
    {"small": "torch", "large": "product", "kernel": "product"},
    {"small": "torch", "large": "torch", "kernel": "product"},
    {"small": "product", "large": "torch", "kernel": "torch"},
    {"small": "torch", "large": "subpixel", "kernel": "torch"},
]
SUBPIXEL = (8, 4, 2, 1, 0)


def choose(layer, choice):
    layer.algorithms = {
        key_of(operation, dtype): algorithm
        for operation, algorithm in choice.items()
        for dtype in (torch.float32, torch.float64, torch.bfloat16)
    }


@pytest.fixture
def runs(monkeypatch):
    """How often each algorithm has run."""
    found = Counter()

    run = layers.run

    def counted(operation, one, other, geometry):
        found[operation, geometry.algorithm(operation, one.dtype)] += 1
        return run(operation, one, other, geometry)

    monkeypatch.setattr(layers, "run", counted)
    return found


def both(geometry, *, transposed, bias=True, dtype=torch.float64):
    """Return torch's layer, our layer with the same weights, and images for them."""
    size, kernel, stride, padding, output_padding = geometry
    arguments = {"stride": stride, "padding": padding, "bias": bias, "dtype": dtype}
    if transposed:
        arguments["output_padding"] = output_padding
    torch.manual_seed(0)
    theirs = (nn.ConvTranspose2d if transposed else nn.Conv2d)(3, 5, kernel, **arguments)
    ours = (ConvTranspose2d if transposed else Conv2d)(3, 5, kernel, **arguments)
    for layer in (theirs, ours):
        layer.to(memory_format=torch.channels_last)
    ours.load_state_dict(theirs.state_dict())
    small = (size + 2 * padding - kernel) // stride + 1
    side = small if transposed else size
    return theirs, ours, torch.randn(4, 3, side, side, dtype=dtype)


def gradients(layer, images, order):
    """Return first-order or second-order gradients of a function that is nonlinear in every operand."""
    images = images.clone().requires_grad_(True)
    wanted = (images, *layer.parameters())
    found = torch.autograd.grad(layer(images).square().sum(), wanted, create_graph=order == 2)
    if order == 2:
        found = torch.autograd.grad(sum(gradient.square().sum() for gradient in found), wanted)
    return found


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_every_algorithm_matches_torch_in_outputs_and_derivatives(runs, geometry, transposed, choice):
    if choice["large"] == "subpixel" and geometry != SUBPIXEL:
        pytest.skip("no algorithm of this geometry")
    theirs, ours, images = both(geometry, transposed=transposed)
    choose(ours, choice)
    torch.testing.assert_close(ours(images), theirs(images))
    for order in (1, 2):
        for found, expected in zip(gradients(ours, images, order), gradients(theirs, images, order), strict=True):
            torch.testing.assert_close(found, expected)
    assert set(runs) == set(choice.items())


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("transposed", [False, True])
def test_in_place_activations_are_allowed(transposed, choice):
    theirs, ours, images = both(SUBPIXEL, transposed=transposed, bias=False)
    choose(ours, choice)
    activated = [nn.Sequential(layer, nn.LeakyReLU(0.2, inplace=True)) for layer in (ours, theirs)]
    for found, expected in zip(*(gradients(layer, images, 2) for layer in activated), strict=True):
        torch.testing.assert_close(found, expected)


def test_layer_with_only_torch_algorithms_calls_torch_directly(runs):
    for transposed in (False, True):
        theirs, ours, images = both(SUBPIXEL, transposed=transposed)
        choose(ours, {"small": "torch", "large": "torch", "kernel": "torch"})
        assert torch.equal(ours(images), theirs(images))
    assert not runs


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("choice", CHOICES)
def test_autocast_matches_torch_within_bfloat16_precision(runs, transposed, bias, choice):
    theirs, ours, images = both(SUBPIXEL, transposed=transposed, bias=bias, dtype=torch.float32)
    choose(ours, choice)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = ours(images), theirs(images)
    assert found.dtype == expected.dtype == torch.bfloat16
    assert (found - expected).norm() < 0.01 * expected.norm()
    found.float().square().sum().backward()
    expected.float().square().sum().backward()
    assert ours.weight.grad.dtype == torch.float32
    assert (ours.weight.grad - theirs.weight.grad).norm() < 0.01 * theirs.weight.grad.norm()
    assert runs


def test_outputs_stay_channels_last():
    for transposed in (False, True):
        _, ours, images = both(SUBPIXEL, transposed=transposed)
        choose(ours, CHOICES[0])
        assert ours(images).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("amx", "precision", "channels", "pixels", "product", "kernel_product"),
    [
        (False, torch.float32, 128, 16, True, True),
        (False, torch.float32, 64, 16, False, False),
        (False, torch.float32, 128, 25, False, False),
        (False, torch.bfloat16, 512, 16, False, True),
        (False, torch.bfloat16, 24, 16, False, True),
        (False, torch.bfloat16, 128, 64, False, True),
        (False, torch.bfloat16, 24, 64, False, False),
        (True, torch.bfloat16, 128, 16, True, True),
        (True, torch.bfloat16, 24, 64, False, True),
        (True, torch.bfloat16, 512, 81, False, False),
    ],
)
def test_default_algorithms_follow_stored_timings(
    monkeypatch, amx, precision, channels, pixels, product, kernel_product
):
    monkeypatch.setattr(convolution_algorithms, "_has_amx", lambda: amx)
    side = round(pixels**0.5)
    geometry = Geometry(4, 2, 1, channels, 8, (2 * side, 2 * side), (side, side))
    chosen = {operation: geometry.algorithm(operation, precision) for operation in OPERATIONS}
    names = {True: "product", False: "torch"}
    assert chosen == {"small": names[product], "large": names[product], "kernel": names[kernel_product]}


@pytest.mark.parametrize("amx", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_single_patch_always_uses_the_matrix_product(monkeypatch, amx, precision):
    monkeypatch.setattr(convolution_algorithms, "_has_amx", lambda: amx)
    geometry = Geometry(4, 1, 0, 3, 8, (4, 4), (1, 1))
    assert {geometry.algorithm(operation, precision) for operation in OPERATIONS} == {"product"}
