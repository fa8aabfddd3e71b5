import io
from collections import Counter
from dataclasses import replace

import messy
import numpy as np
import pytest
from PIL import Image

from kedro_dcgan.data import Reason
from kedro_dcgan.data.decode import strict_pillow
from kedro_dcgan.data.scan import MAX_THUMBNAILS, draw_thumbnail, drop_surplus
from kedro_dcgan.data.transforms import Crop, Preparation

PREPARATION = Preparation(64, 3, "lanczos", Crop(), (255, 255, 255), 64, 50_000_000, 10**8)


def thumbnail_of(data, reason=Reason.TOO_SMALL, **options):
    with strict_pillow():
        jpeg = draw_thumbnail(data, reason, replace(PREPARATION, **options))
    return Image.open(io.BytesIO(jpeg), formats=("JPEG",))


@pytest.mark.parametrize("path", messy.CORNERS)
def test_thumbnail_looks_like_the_prepared_image(path):
    picture = thumbnail_of(messy.contents()[path])
    width, height = messy.CORNERS[path][0]
    assert picture.width / picture.height == pytest.approx(width / height, abs=0.02)
    assert max(picture.size) == 96
    assert messy.corner_error(path, picture) <= 8  # it is a JPEG


def test_transparent_pixels_are_blended_with_the_background():
    picture = thumbnail_of(messy.contents()["modes/P_trns.png"], background=(0, 0, 200))
    assert np.abs(np.array(picture.getpixel((72, 24))) - (0, 0, 200)).max() <= 8


@pytest.mark.parametrize("orientation", [1, 6])
def test_truncated_photo_is_upright_up_to_the_damage(orientation):
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (400, 200), "red").save(stream, "JPEG", exif=exif)
    picture = thumbnail_of(stream.getvalue()[:-100], Reason.TRUNCATED)
    assert picture.size == ((96, 48) if orientation == 1 else (48, 96))
    # The missing part has no colour: the bottom of the image in the file, the left of the upright image.
    first, last = (0, 0), (picture.width - 1, picture.height - 1)
    there, missing = (first, last) if orientation == 1 else (last, first)
    assert picture.getpixel(there)[0] > 240
    assert max(picture.getpixel(missing)) - min(picture.getpixel(missing)) < 10


def test_no_thumbnail_if_the_input_cannot_be_shown():
    contents = messy.contents()
    with strict_pillow():
        assert draw_thumbnail(contents["bad/html_saved_as.jpg"], Reason.CORRUPT, PREPARATION) is None
        assert draw_thumbnail(contents["good/rgb.bmp"], Reason.HIDDEN, PREPARATION) is None
        assert draw_thumbnail(contents["good/rgb.bmp"], Reason.CORRUPT, replace(PREPARATION, max_pixels=100)) is None


def test_first_thumbnails_of_each_reason_are_kept():
    kept = Counter()
    thumbnails = [str(number).encode() for number in range(100)]
    reasons = ["corrupt", "blank"] * 50
    first = drop_surplus(thumbnails, reasons, kept)
    assert first == thumbnails[: 2 * MAX_THUMBNAILS] + [None] * (100 - 2 * MAX_THUMBNAILS)
    assert drop_surplus([b"another"], ["corrupt"], kept) == [None]
    assert drop_surplus([None, b"of a third reason"], ["too_small"] * 2, kept) == [None, b"of a third reason"]
