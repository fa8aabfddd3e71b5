"""Colours with an embedded ICC profile are converted to sRGB; sRGB, damaged and unfit profiles change nothing."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from kedro_dcgan.data.decode import open_image, read_pixels, strict_pillow

ADOBE = imagecodecs.cms_profile("adobergb")
# The primaries of Display P3, as x, y, Y.
WIDE = imagecodecs.cms_profile(
    "rgb", whitepoint=(0.3127, 0.329, 1), primaries=(0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1), gamma=2.2
)
LINEAR_GREY = imagecodecs.cms_profile("gray", gamma=1.0)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RGB = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
GREY = RGB.convert("L")


def inks_profile():
    """Return a CMYK profile in which all inks darken, whatever their colour: a table of two steps of each ink."""
    steps = np.stack(np.meshgrid(*[np.arange(2)] * 4, indexing="ij"), axis=-1).reshape(16, 4)
    lightness = 255 - 60 * steps.sum(axis=1)
    colours = b"".join(bytes((value, 128, 128)) for value in lightness)
    identity = struct.pack(">9I", *np.eye(3, dtype=int).flatten() * 65536)
    table = (
        b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + bytes(range(256)) * 4 + colours + bytes(range(256)) * 3
    )
    head = struct.pack(
        ">I4sI4s4s4s12x4s", 128 + 16 + len(table), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp"
    )
    head = head.ljust(68, b"\0") + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table


def encode(image, file_format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def decode(data, grey=False):
    with strict_pillow():
        return read_pixels(open_image(data, 10**6), (255, 255, 255), grey)[0]


def by_pillow(data, profile):
    image = Image.open(io.BytesIO(data))
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return np.asarray(ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"))


@pytest.mark.parametrize("profile", [ADOBE, WIDE], ids=["Adobe RGB", "Display P3"])
@pytest.mark.parametrize("options", [("PNG",), ("JPEG",), ("TIFF",), ("WEBP",)], ids=lambda options: options[0])
def test_colours_are_converted_to_srgb(profile, options):
    data = encode(RGB, *options, icc_profile=profile)
    expected = by_pillow(data, profile)
    assert np.array_equal(decode(data), expected)
    assert np.abs(decode(data).astype(int) - np.asarray(Image.open(io.BytesIO(data)))).max() > 40


def test_palette_and_transparency_are_converted():
    pixels = np.concatenate((np.asarray(RGB), np.arange(64, dtype=np.uint8)[None, :, None].repeat(48, 0) * 4), axis=2)
    converted = by_pillow(encode(RGB, icc_profile=WIDE), WIDE)
    data = encode(Image.fromarray(pixels), icc_profile=WIDE)
    under = Image.new("RGB", RGB.size, "white")
    under.paste(Image.fromarray(converted), mask=Image.fromarray(pixels[:, :, 3]))
    assert np.array_equal(decode(data), np.asarray(under))
    palette = RGB.quantize(16)
    expected = by_pillow(encode(palette.convert("RGB")), WIDE)
    assert np.array_equal(decode(encode(palette, icc_profile=WIDE)), expected)
    alpha = decode(encode(palette, icc_profile=WIDE, transparency=bytes([0] * 8 + [255] * 8)))
    opaque = np.asarray(palette) >= 8
    assert np.array_equal(alpha[opaque], expected[opaque])
    assert (alpha[~opaque] == 255).all()


def test_grey_is_converted():
    data = encode(GREY, icc_profile=LINEAR_GREY)
    expected = by_pillow(data, LINEAR_GREY)
    assert decode(data).shape == (48, 64, 1)
    assert np.array_equal(np.broadcast_to(decode(data), expected.shape), expected)
    with_alpha = Image.merge("LA", (GREY, Image.new("L", GREY.size, 255)))
    assert np.array_equal(decode(encode(with_alpha, icc_profile=LINEAR_GREY)), decode(data))


def test_colours_are_converted_before_they_become_grey():
    data = encode(RGB, "JPEG", icc_profile=ADOBE)
    assert np.array_equal(
        decode(data, grey=True)[:, :, 0], np.asarray(Image.fromarray(by_pillow(data, ADOBE)).convert("L"))
    )


def test_inks_are_converted():
    profile = inks_profile()
    data = encode(RGB.convert("CMYK"), "JPEG", quality=95, icc_profile=profile)
    expected = by_pillow(data, profile)
    assert np.array_equal(decode(data), expected)
    assert np.ptp(expected, axis=2).max() <= 2  # grey, as only this profile says
    assert np.array_equal(decode(encode(RGB.convert("CMYK"), "TIFF")), np.asarray(RGB.convert("CMYK").convert("RGB")))


def test_cielab_is_converted():
    lab = ImageCms.profileToProfile(
        RGB, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert np.abs(decode(encode(lab, "TIFF")).astype(int) - np.asarray(RGB)).mean() < 3


@pytest.mark.parametrize(
    ("image", "profile"),
    [
        (RGB, SRGB),
        (RGB, imagecodecs.cms_profile("srgb")),
        (RGB, LINEAR_GREY),
        (GREY, WIDE),
        (RGB, WIDE[:100]),
        (RGB, WIDE[:200]),
        (RGB, b"no profile" * 50),
        (RGB, bytes(5000)),
    ],
    ids=["sRGB", "another sRGB", "grey for RGB", "RGB for grey", "cut off", "cut off later", "text", "zeros"],
)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF"])
def test_other_profiles_change_nothing(image, profile, file_format):
    assert np.array_equal(decode(encode(image, file_format, icc_profile=profile)), decode(encode(image, file_format)))
