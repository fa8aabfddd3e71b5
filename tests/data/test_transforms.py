import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from kedro_dcgan.data.transforms import Crop, pad, region_in_file, resize, set_upright, upright_size

WHITE = (255, 255, 255)


def prepare(image, size, crop=None, resample="lanczos", background=WHITE, box=None):
    crop = crop or Crop()
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    region = crop.region(*image.size, box)
    return pad(resize(pixels, region, crop.resized_size(region, size), resample), size, background).transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("crop", "size", "box", "region"),
    [
        (Crop(), (40, 30), None, (5, 0, 35, 30)),
        (Crop(), (41, 30), None, (5, 0, 35, 30)),  # the odd pixel is dropped at the right
        (Crop("centre", 108), (178, 218), None, (35, 55, 143, 163)),  # the common recipe for CelebA
        (Crop("centre", 108), (100, 218), None, (0, 59, 100, 159)),  # never larger than the image
        (Crop(), (100, 100), (10, 20, 50, 40), (20, 20, 40, 40)),
        (Crop("centre", 30), (100, 100), (0, 0, 10, 10), (0, 0, 30, 30)),  # moved inside
        (Crop("letterbox"), (40, 30), None, (0, 0, 40, 30)),
        (Crop("none"), (40, 30), (30, 20, 50, 40), (30, 20, 40, 30)),  # a box that sticks out is clipped
    ],
)
def test_crop_region(crop, size, box, region):
    assert crop.region(*size, box) == region


def test_crop_and_resize_keep_the_middle():
    stripes = Image.fromarray(np.repeat([[10, 20, 30, 40]], 2, axis=0).astype(np.uint8))
    assert prepare(stripes, 2)[0].tolist() == [[20, 30], [20, 30]]


def test_resize_gives_channels_first():
    assert prepare(Image.new("RGB", (40, 30), (1, 2, 3)), 16).shape == (3, 16, 16)
    assert prepare(Image.new("L", (40, 30)), 16).shape == (1, 16, 16)
    assert prepare(Image.new("RGB", (40, 30), (1, 2, 3)), 16)[:, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("size", [16, 64, 333, 512])
def test_resize_to_any_size(size):
    assert prepare(Image.effect_noise((700, 600), 50), size).shape == (1, size, size)


@pytest.mark.parametrize("resample", ["lanczos", "bicubic", "box"])
@pytest.mark.parametrize("side", [64, 256])
def test_resize_is_antialiased(resample, side):
    # A checkerboard of single pixels becomes grey; without antialiasing it would stay black or white.
    board = Image.fromarray((np.indices((side, side)).sum(axis=0) % 2 * 255).astype(np.uint8))
    inner = prepare(board, 16, resample=resample)[0, 2:-2, 2:-2]
    assert np.abs(inner.astype(int) - 128).max() <= 2


def test_resize_leaves_an_image_of_the_right_size_unchanged():
    original = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    assert (prepare(Image.fromarray(original), 16)[0] == original).all()


def test_letterbox_adds_bars_of_the_background():
    prepared = prepare(Image.new("RGB", (64, 32), (10, 20, 30)), 32, Crop("letterbox"), background=(200, 0, 0))
    assert prepared[:, 0, 0].tolist() == prepared[:, 31, 31].tolist() == [200, 0, 0]
    assert prepared[:, 16, 0].tolist() == prepared[:, 16, 31].tolist() == [10, 20, 30]
    assert (prepared[0] == 10).sum() == 16 * 32


def test_crop_none_stretches():
    halves = Image.fromarray(np.repeat([[0] * 20 + [200] * 20], 10, axis=0).astype(np.uint8))
    prepared = prepare(halves, 16, Crop("none"), "box")[0]
    assert (prepared[:, :8] == 0).all()
    assert (prepared[:, 8:] == 200).all()


def test_pixels_outside_the_region_do_not_matter():
    picture = np.full((60, 60), 255, dtype=np.uint8)
    picture[20:40, 20:40] = 90
    assert (prepare(Image.fromarray(picture), 16, Crop("centre", 20)) == 90).all()


def test_a_region_may_begin_within_a_pixel():
    ramp = np.arange(0, 200, 2, dtype=np.uint8)[None, :, None].repeat(100, axis=0)
    resized = resize(ramp, (10.5, 0, 90.5, 80), (20, 20), "bicubic")
    # Pixel p has the level 2p: the fourth covers 22.5 to 26.5, whose middle is that of pixel 24.
    assert resized[0, 3:5, 0].tolist() == [2 * 24, 2 * 28]


@pytest.mark.parametrize("orientation", range(10))
def test_set_upright_agrees_with_pillow(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(stored).save(stream, "PNG", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(stream)))
    assert (set_upright(stored, orientation) == upright).all()
    assert upright_size((7, 5), orientation) == upright.shape[1::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_region_in_file_is_the_region_of_the_upright_image(orientation):
    stored = np.arange(35).reshape(5, 7, 1)
    upright = set_upright(stored, orientation)
    height, width, _ = upright.shape
    left, top, right, bottom = region_in_file((1, 2, 4, 5), width, height, orientation)
    assert (set_upright(stored[top:bottom, left:right], orientation) == upright[2:5, 1:4]).all()
