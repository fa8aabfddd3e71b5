"""Files of more than 8 bits look as in a viewer, or are skipped with a reason: never black, never a warning."""

import io
import warnings

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from test_messy import PREPARATION
from tiffs import tiff

from kedro_dcgan.data.decode import open_image, read_pixels, strict_pillow
from kedro_dcgan.data.scan import ScanTask, scan_block
from kedro_dcgan.data.sources import Input
from kedro_dcgan.data.sources.source import MemoryBlock
from kedro_dcgan.errors import UnusableImageError

RAMP = np.arange(256)[None].repeat(64, axis=0)
UNIT = (RAMP / 255).astype(np.float32)


def decode(data, background=(255, 255, 255)):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with strict_pillow():
            return read_pixels(open_image(data, 10**6), background)[0]


def refused(data):
    with pytest.raises(UnusableImageError) as caught:
        decode(data)
    return caught.value


def with_pixel(levels, value):
    changed = levels.copy()
    changed[3, 3] = value
    return changed


def of(dtype, factor):
    return (RAMP * factor).astype(dtype)


RAMPS = {
    "12 bits in 16": tiff(of(np.uint16, 16)),
    "12 bits in 16, PNG": imagecodecs.png_encode(of(np.uint16, 16)),
    "10 bits in 16": tiff(of(np.uint16, 4)),
    "14 bits in 16": tiff(of(np.uint16, 64)),
    "8 bits in 16": tiff(of(np.uint16, 1)),
    "16 bits": tiff(of(np.uint16, 257)),
    "16 bits, white is zero": tiff(65535 - of(np.uint16, 257), t262=0),
    "8 bits in int32": tiff(of(np.int32, 1)),
    "8 bits in int16": tiff(of(np.int16, 1)),
    "all of int16": tiff(of(np.int16, 128)),
    "16 bits in int32": tiff(of(np.int32, 257)),
    "all of int32": tiff(of(np.int32, 2**23)),
    "all of uint32": tiff(of(np.uint32, 2**24)),
    "floats 0..1": tiff(UNIT),
    "floats 0..255": tiff(of(np.float32, 1)),
    "floats 0..65535": tiff(of(np.float32, 257)),
    "floats -1..1": tiff(UNIT * 2 - 1),
    "floats, white is zero": tiff(1 - UNIT, t262=0),
    "floats of PFM": b"Pf\n256 64\n-1.0\n" + UNIT[::-1].tobytes(),
    "overshoot by a hair": tiff(with_pixel(UNIT, 1.0001)),
    "one pixel above 1": tiff(with_pixel(UNIT, 1.7)),
    "one hot pixel": tiff(with_pixel(UNIT, 100)),
    "one cold pixel": tiff(with_pixel(UNIT, -9999)),
}


@pytest.mark.parametrize("name", RAMPS)
def test_ramp_reaches_from_black_to_white(name):
    pixels = decode(RAMPS[name])
    assert pixels.shape == (64, 256, 1)
    assert np.abs(pixels[9, :, 0].astype(int) - RAMP[0]).max() <= 1


def test_overshoot_changes_no_other_pixel():
    plain = decode(tiff(UNIT))
    for value in (1.0001, 1.5, -0.02):
        changed = np.flatnonzero((decode(tiff(with_pixel(UNIT, value))) != plain).any(axis=2))
        assert changed.tolist() in ([], [3 * 256 + 3])


def test_resize_with_overshoot_is_clipped():
    edges = np.where(RAMP // 32 % 2, 1, 0).astype(np.float32)
    resized = np.asarray(Image.fromarray(edges).resize((100, 64), Image.Resampling.LANCZOS))
    assert resized.max() > 1.02
    pixels = decode(tiff(resized))
    assert (pixels.min(), pixels.max()) == (0, 255)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -3.4e38])
def test_pixels_without_a_measurement_are_background(value):
    holes = UNIT.copy()
    holes[:20] = value
    pixels = decode(tiff(holes), background=(200, 200, 200))
    assert pixels.shape == (64, 256, 1)
    assert (pixels[:20] == 200).all()
    assert np.array_equal(pixels[20:], decode(tiff(UNIT))[20:])


def test_nothing_measured_is_blank():
    assert refused(tiff(np.full_like(UNIT, np.nan))).reason == "blank"


@pytest.mark.parametrize(
    ("levels", "named"),
    [
        (of(np.int16, 10) - 1000, "-1000"),
        (of(np.int32, 1) - 128, "-128"),
        (RAMP.astype(np.int32) // 26, "0 to 9"),
        (RAMP.astype(np.uint16) // 128, "0 to 1"),
        (UNIT * 12, "11."),
        (UNIT * 4 - 2, "-1.9"),
        (UNIT * 3000 - 1000, "-9"),
        ((RAMP - 128).astype(np.int8), "signed 8-bit"),
    ],
)
def test_levels_without_a_usual_range_are_refused_with_the_range(levels, named):
    error = refused(tiff(levels))
    assert error.reason == "unsupported"
    assert named in error.detail


def test_dark_picture_of_8_bits_widened_to_16_stays_dark():
    for factor in (256, 257):
        assert np.array_equal(decode(tiff(of(np.uint16, factor) // 4 // factor * factor))[:, :, 0], RAMP // 4)


def test_one_level_of_16_bits_is_blank():
    inputs = (Input("a.tif", tiff(np.full((64, 64), 9, dtype=np.uint16))),)
    assert scan_block(ScanTask(MemoryBlock(inputs, "")), PREPARATION).records[0].reason == "blank"


COLOURS = np.stack((RAMP * 16, RAMP[:, ::-1] * 16, RAMP * 8), axis=2).astype(np.uint16)
SHOWN = np.rint(COLOURS / 4095 * 255).astype(int)
OPAQUE = np.concatenate((COLOURS, np.full_like(COLOURS[:, :, :1], 65535)), axis=2)
BANDS = {"photometric": "rgb", "planarconfig": "separate"}
SEPARATE = imagecodecs.tiff_encode(COLOURS.transpose(2, 0, 1).copy(), **BANDS)
SEPARATE_LZW = imagecodecs.tiff_encode(COLOURS.transpose(2, 0, 1).copy(), compression="lzw", **BANDS)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (imagecodecs.png_encode(COLOURS), SHOWN),
        (imagecodecs.png_encode(OPAQUE), SHOWN),
        (imagecodecs.png_encode(np.ascontiguousarray(OPAQUE[:, :, (0, 3)])), SHOWN[:, :, :1]),
        (tiff(COLOURS), SHOWN),
        (tiff(COLOURS, t274=6), SHOWN.swapaxes(0, 1)[:, ::-1]),
        (SEPARATE_LZW, SHOWN),
    ],
    ids=["PNG", "PNG with alpha", "grey PNG with alpha", "TIFF", "turned TIFF", "TIFF of separate bands"],
)
def test_colours_that_use_12_of_16_bits_are_not_dark(data, shown):
    pixels = decode(data).astype(int)
    assert np.abs(pixels - shown).max() <= 1


def test_usual_16_bit_colours_keep_their_upper_8_bits():
    assert np.array_equal(decode(imagecodecs.png_encode(COLOURS * 16)), COLOURS // 16)


def test_16_bit_tiff_of_separate_bands_that_pillow_garbles_is_refused():
    assert "separate" in refused(SEPARATE).detail


def test_record_of_a_file_of_12_bits(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(of(np.uint16, 16)).save(stream, "PNG")
    scanned = scan_block(ScanTask(MemoryBlock((Input("a.png", stream.getvalue()),), "")), PREPARATION)
    record = scanned.records[0]
    assert (record.verdict, record.mode, record.width, record.height) == ("accepted", "I;16", 256, 64)
    assert abs(scanned.pixels[0].mean() - 127.5) < 2
