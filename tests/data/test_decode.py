import io
import warnings

import numpy as np
import pytest
from PIL import Image

from kedro_dcgan.data.decode import open_image, read_pixels, strict_pillow
from kedro_dcgan.errors import UnusableImageError

WHITE = (255, 255, 255)


def decode(data, max_pixels=1_000_000, **options):
    with strict_pillow():
        return read_pixels(open_image(data, max_pixels), WHITE, **options)[0]


def encode(image, file_format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def reason(data, **limits):
    with pytest.raises(UnusableImageError) as caught:
        decode(data, **limits)
    return caught.value.reason


def test_decode_keeps_grey_grey_and_colour_colour():
    assert decode(encode(Image.new("L", (8, 8), 7))).shape == (8, 8, 1)
    assert decode(encode(Image.new("RGB", (8, 8), (1, 2, 3)))).shape == (8, 8, 3)


def test_header_has_the_size_of_the_upright_image():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    header = open_image(encode(Image.new("RGB", (20, 10), "black"), "JPEG", exif=exif), 1000)
    assert (header.width, header.height, header.orientation) == (10, 20, 6)


def test_decode_hides_colour_under_full_transparency():
    hidden = Image.new("RGBA", (4, 4), (255, 0, 255, 0))
    assert (decode(encode(hidden)) == 255).all()


def test_decode_blends_grey_with_alpha_over_white():
    assert (decode(encode(Image.new("LA", (4, 4), (0, 128)))) == 127).all()


def test_decode_resolves_palettes():
    palette = Image.new("RGB", (4, 4), (10, 200, 30)).quantize(2)
    assert (decode(encode(palette)) == (10, 200, 30)).all()


def test_decode_scales_16_bits_instead_of_clipping():
    ramp = Image.fromarray(np.linspace(0, 65535, 256, dtype=np.uint16)[None].repeat(4, axis=0))
    assert decode(encode(ramp))[0, :, 0].tolist() == list(range(256))


def test_decode_reads_one_bit_images_as_black_and_white():
    assert set(np.unique(decode(encode(Image.fromarray(np.eye(8, dtype=bool)))))) == {0, 255}


def test_format_is_recognised_by_content():
    assert open_image(encode(Image.new("RGB", (8, 8)), "JPEG"), 100).format == "JPEG"


def test_decode_rejects_with_a_reason():
    whole = encode(Image.effect_noise((64, 64), 50), "JPEG")
    assert reason(b"") == "empty"
    assert reason(b"<html>not found</html>") == "not_an_image"
    assert reason(whole[: len(whole) // 2]) == "truncated"
    assert reason(encode(Image.new("L", (100, 101))), max_pixels=100 * 100) == "too_many_pixels"


def test_decode_rejects_a_pixel_bomb_by_its_header():
    huge = bytearray(encode(Image.new("L", (8, 8))))
    huge[16:24] = (60_000).to_bytes(4, "big") * 2  # the size in the header; the checksum no longer fits
    assert reason(bytes(huge)) in {"too_many_pixels", "unreadable", "not_an_image"}


def test_decode_ignores_damaged_metadata():
    ends_too_soon = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x05\x00\x0e\x01"
    data = encode(Image.new("L", (64, 64), 5), "JPEG", exif=ends_too_soon)
    with pytest.warns(UserWarning, match="EXIF"):
        Image.open(io.BytesIO(data)).getexif()
    assert decode(data).shape == (64, 64, 1)


def test_decode_keeps_grey_with_one_transparent_level_grey():
    data = encode(Image.new("L", (4, 4), 7), transparency=7)
    assert decode(data).shape == (4, 4, 1)
    assert (decode(data) == 255).all()


def test_pixel_limit_may_be_above_that_of_pillow():
    data = encode(Image.new("1", (10_000, 9_000)))
    assert decode(data, max_pixels=100_000_000).shape == (9_000, 10_000, 1)


def test_decode_does_not_open_postscript():
    assert reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n") == "unsupported"


@pytest.mark.parametrize(
    ("start", "kind"),
    [(b"\0\0\0\x18ftypheic", "HEIC"), (b"\0\0\0\x1cftypavif", "AVIF"), (b"8BPS", "Photoshop"), (b"%PDF-1.7", "PDF")],
)
def test_decode_names_unsupported_formats(start, kind):
    with pytest.raises(UnusableImageError) as caught:
        decode(start + bytes(50))
    assert caught.value.reason == "unsupported"
    assert kind in caught.value.detail


@pytest.mark.parametrize("grey", [False, True])
def test_jpeg_decoded_at_a_fraction_of_its_size_looks_the_same(grey):
    noise = Image.effect_noise((30, 20), 80).resize((965, 645), Image.Resampling.BICUBIC).convert("RGB")
    data = encode(noise, "JPEG", quality=95)
    header = open_image(data, 10**6)
    reduced, reduced_by = read_pixels(header, WHITE, grey, reduction=4.9)
    assert reduced.shape[:2] == (162, 242)
    assert reduced_by == 4  # not 965 / 242: the last column covers one pixel
    full = decode(data, grey=grey)[:640, :960].reshape(160, 4, 240, 4, -1).mean(axis=(1, 3))
    assert np.abs(reduced[:160, :240] - full).mean() < 0.5


def test_blending_agrees_with_pillow():
    noise = np.random.default_rng(0).integers(0, 256, (300, 257, 4), dtype=np.uint8)
    under = Image.new("RGB", (257, 300), (10, 100, 250))
    under.paste(Image.fromarray(noise), mask=Image.fromarray(noise[:, :, 3]))
    laid, _ = read_pixels(open_image(encode(Image.fromarray(noise)), 10**6), (10, 100, 250))
    assert (laid == np.asarray(under)).all()


def test_strict_pillow_ignores_warnings_of_other_packages():
    with strict_pillow(), pytest.warns(UserWarning, match="of others"):
        warnings.warn("of others", UserWarning, stacklevel=1)


@pytest.mark.parametrize("levels", [(0, 255), (0, 1, 128, 254, 255)], ids=["binary alpha", "any alpha"])
def test_blending_follows_the_formula(levels):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 30, 4), dtype=np.uint8)
    pixels[:, :, 3] = random.choice(np.array(levels, dtype=np.uint8), (40, 30))
    share = pixels[:, :, 3:].astype(float) / 255
    expected = share * pixels[:, :, :3] + (1 - share) * np.array([250, 100, 7])
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    with strict_pillow():
        found, _ = read_pixels(open_image(stream.getvalue(), 10_000), (250, 100, 7))
    assert np.abs(found - expected).max() <= 0.5 + 1e-9
