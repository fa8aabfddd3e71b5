import io
from collections import Counter

import messy
import numpy as np
import pytest
from PIL import Image

from kedro_dcgan.data.decode import strict_pillow
from kedro_dcgan.data.thumbnails import MOST_OF_A_REASON, Thumbnails, drop_surplus
from kedro_dcgan.data.verdicts import Reason

LIMIT = 50_000_000


def thumbnail_of(data, reason=Reason.TOO_SMALL, **options):
    with strict_pillow():
        made = Thumbnails(**options).of(data, reason, LIMIT)
    return Image.open(io.BytesIO(made), formats=("JPEG",))


@pytest.mark.parametrize("path", messy.CORNERS)
def test_a_thumbnail_looks_as_the_image_would_have_been_prepared(path):
    picture = thumbnail_of(messy.contents()[path])
    width, height = messy.CORNERS[path][0]
    assert picture.width / picture.height == pytest.approx(width / height, abs=0.02)
    assert max(picture.size) == 96
    assert messy.corner_error(path, picture) <= 8  # it is a JPEG


def test_transparent_pixels_are_laid_over_the_background():
    picture = thumbnail_of(messy.contents()["modes/P_trns.png"], background=(0, 0, 200))
    assert np.abs(np.array(picture.getpixel((72, 24))) - (0, 0, 200)).max() <= 8


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_cut_off_photo_is_shown_upright_as_far_as_it_goes(orientation):
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (400, 200), "red").save(stream, "JPEG", exif=exif)
    picture = thumbnail_of(stream.getvalue()[:-100], Reason.TRUNCATED)
    assert picture.size == ((96, 48) if orientation == 1 else (48, 96))
    # What is missing has no colour: the lower end of the file's picture, the left one of the upright picture.
    first, last = (0, 0), (picture.width - 1, picture.height - 1)
    there, missing = (first, last) if orientation == 1 else (last, first)
    assert picture.getpixel(there)[0] > 240
    assert max(picture.getpixel(missing)) - min(picture.getpixel(missing)) < 10


def test_there_is_no_thumbnail_of_what_cannot_be_shown():
    contents = messy.contents()
    with strict_pillow():
        assert Thumbnails().of(contents["bad/html_saved_as.jpg"], Reason.CORRUPT, LIMIT) is None
        assert Thumbnails().of(contents["good/rgb.bmp"], Reason.HIDDEN, LIMIT) is None
        assert Thumbnails().of(contents["good/rgb.bmp"], Reason.CORRUPT, 100) is None


def test_the_first_few_of_each_reason_are_kept():
    kept = Counter()
    thumbnails = [str(number).encode() for number in range(100)]
    reasons = ["corrupt", "blank"] * 50
    first = drop_surplus(thumbnails, reasons, kept)
    assert first == thumbnails[: 2 * MOST_OF_A_REASON] + [None] * (100 - 2 * MOST_OF_A_REASON)
    assert drop_surplus([b"another"], ["corrupt"], kept) == [None]
    assert drop_surplus([None, b"of a third reason"], ["too_small"] * 2, kept) == [None, b"of a third reason"]
