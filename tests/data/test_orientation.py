import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from kedro_dcgan.data.orientation import region_in_file, set_upright, upright_size


@pytest.mark.parametrize("orientation", range(10))
def test_it_turns_as_pillow_does(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(stored).save(stream, "PNG", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(stream)))
    assert (set_upright(stored, orientation) == upright).all()
    assert upright_size((7, 5), orientation) == upright.shape[1::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_region_is_found_in_the_file(orientation):
    stored = np.arange(35).reshape(5, 7, 1)
    upright = set_upright(stored, orientation)
    height, width, _ = upright.shape
    left, top, right, bottom = region_in_file((1, 2, 4, 5), width, height, orientation)
    assert (set_upright(stored[top:bottom, left:right], orientation) == upright[2:5, 1:4]).all()
