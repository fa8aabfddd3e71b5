"""Convolutions as products of matrices equal torch's own, with all their derivatives, in each precision."""

import pytest
import torch
from torch import nn

from kedro_dcgan.gan import convolutions
from kedro_dcgan.gan.convolutions import Conv2d, ConvTranspose2d

# Of the large image (size), the kernel, stride, padding and output padding.
GEOMETRIES = [(4, 4, 1, 0, 0), (8, 4, 2, 1, 0), (9, 4, 2, 1, 1), (11, 5, 1, 0, 0), (17, 5, 2, 0, 0), (6, 3, 1, 1, 0)]


@pytest.fixture
def products(monkeypatch):
    """Products wherever there can be any, and a count of the matrix products that were made."""
    monkeypatch.setattr(convolutions, "_MOST_PIXELS", 10_000)
    monkeypatch.setattr(convolutions, "_LEAST_CHANNELS", 1)
    count = {"products": 0}
    patches, summed = convolutions._patches, convolutions._sum_of_patches

    def counted(function):
        def call(*arguments):
            count["products"] += 1
            return function(*arguments)

        return call

    monkeypatch.setattr(convolutions, "_patches", counted(patches))
    monkeypatch.setattr(convolutions, "_sum_of_patches", counted(summed))
    return count


def both(geometry, *, transposed, bias=True, dtype=torch.float64):
    """The same layer as torch has it and as ours, and images for it."""
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
    """Gradients of something that is linear in no operand, of the first or second order."""
    images = images.clone().requires_grad_(True)
    wanted = (images, *layer.parameters())
    found = torch.autograd.grad(layer(images).square().sum(), wanted, create_graph=order == 2)
    if order == 2:
        found = torch.autograd.grad(sum(gradient.square().sum() for gradient in found), wanted)
    return found


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_products_equal_torchs_convolutions(products, geometry, transposed):
    theirs, ours, images = both(geometry, transposed=transposed)
    torch.testing.assert_close(ours(images), theirs(images))
    assert products["products"]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_their_derivatives_do_too(products, geometry, transposed, order):
    theirs, ours, images = both(geometry, transposed=transposed)
    for found, expected in zip(gradients(ours, images, order), gradients(theirs, images, order), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_gradient_of_a_kernel_alone_may_be_a_product(monkeypatch, products):
    monkeypatch.setattr(convolutions, "_is_product", lambda *_: False)
    monkeypatch.setattr(convolutions, "_is_kernel_product", lambda *_: True)
    for transposed in (False, True):
        theirs, ours, images = both(GEOMETRIES[1], transposed=transposed)
        for order in (1, 2):
            pairs = zip(gradients(ours, images, order), gradients(theirs, images, order), strict=True)
            for found, expected in pairs:
                torch.testing.assert_close(found, expected)
    assert products["products"]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_under_autocast_they_are_as_near_as_bfloat16_is(products, transposed, bias):
    theirs, ours, images = both(GEOMETRIES[1], transposed=transposed, bias=bias, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = ours(images), theirs(images)
    assert found.dtype == expected.dtype == torch.bfloat16
    assert (found - expected).norm() < 0.01 * expected.norm()
    found.float().square().sum().backward()
    expected.float().square().sum().backward()
    assert ours.weight.grad.dtype == torch.float32
    assert (ours.weight.grad - theirs.weight.grad).norm() < 0.01 * theirs.weight.grad.norm()
    assert products["products"]


def test_images_stay_in_the_order_of_channels_last(products):
    for transposed in (False, True):
        _, ours, images = both(GEOMETRIES[1], transposed=transposed)
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
def test_products_are_taken_where_they_were_measured_to_be_faster(
    monkeypatch, amx, precision, channels, pixels, product, kernel_product
):
    monkeypatch.setattr(convolutions, "_has_amx", lambda: amx)
    side = round(pixels**0.5)
    geometry = convolutions._Geometry(4, 2, 1, channels, (2 * side, 2 * side), (side, side))
    assert convolutions._is_product(precision, geometry) == product
    assert convolutions._is_kernel_product(precision, geometry) == kernel_product


@pytest.mark.parametrize("amx", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_one_patch_is_always_a_product(monkeypatch, amx, precision):
    monkeypatch.setattr(convolutions, "_has_amx", lambda: amx)
    assert convolutions._is_product(precision, convolutions._Geometry(4, 1, 0, 3, (4, 4), (1, 1)))
