import numpy as np
from PIL import Image

from kedro_dcgan.images.transforms import centre_square, to_array


def test_centre_square_keeps_the_middle():
    stripes = Image.fromarray(np.repeat([[10, 20, 30, 40]], 2, axis=0).astype(np.uint8))
    assert np.asarray(centre_square(stripes)).tolist() == [[20, 30], [20, 30]]


def test_to_array_gives_channels_first():
    assert to_array(Image.new("RGB", (40, 30), (1, 2, 3)), 16, 3).shape == (3, 16, 16)
    assert to_array(Image.new("RGB", (40, 30)), 16, 1).shape == (1, 16, 16)
    assert to_array(Image.new("RGB", (40, 30), (1, 2, 3)), 16, 3)[:, 0, 0].tolist() == [1, 2, 3]


def test_to_array_repeats_grey_for_three_channels():
    image = to_array(Image.new("L", (20, 20), 99), 16, 3)
    assert (image == 99).all()


def test_to_array_reduces_with_antialiasing():
    # A board of single pixels must become grey; without antialiasing it would stay black or white.
    board = Image.fromarray((np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8))
    for resample in ("lanczos", "bicubic", "box"):
        inner = to_array(board, 16, 1, resample)[0, 2:-2, 2:-2]
        assert np.abs(inner.astype(int) - 128).max() <= 2, resample


def test_to_array_keeps_an_image_of_the_right_size():
    original = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    assert (to_array(Image.fromarray(original), 16, 1)[0] == original).all()
