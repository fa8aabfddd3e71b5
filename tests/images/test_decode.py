import io
import warnings

import messy
import numpy as np
import pytest
from PIL import Image

from kedro_dcgan.errors import UnusableImageError
from kedro_dcgan.images.decode import open_image, read_pixels, strict_pillow
from kedro_dcgan.images.quick_decode import decode_quickly

WHITE = (255, 255, 255)


def decode(data, max_pixels=1_000_000, **options):
    with strict_pillow():
        return read_pixels(open_image(data, max_pixels), WHITE, **options)


def encode(image, file_format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def pixels(data):
    return np.asarray(decode(data))


def reason(data, **limits):
    with pytest.raises(UnusableImageError) as caught:
        decode(data, **limits)
    return caught.value.reason


def test_decode_keeps_grey_grey_and_colour_colour():
    assert decode(encode(Image.new("L", (8, 8), 7))).mode == "L"
    assert decode(encode(Image.new("RGB", (8, 8), (1, 2, 3)))).mode == "RGB"


def test_decode_turns_the_image_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    wide = Image.new("RGB", (20, 10), "black")
    assert decode(encode(wide, "JPEG", exif=exif)).size == (10, 20)


def test_decode_hides_colour_under_full_transparency():
    hidden = Image.new("RGBA", (4, 4), (255, 0, 255, 0))
    assert (pixels(encode(hidden)) == 255).all()


def test_decode_lays_grey_with_alpha_over_white():
    assert (pixels(encode(Image.new("LA", (4, 4), (0, 128)))) == 127).all()


def test_decode_resolves_palettes():
    palette = Image.new("RGB", (4, 4), (10, 200, 30)).quantize(2)
    assert (pixels(encode(palette)) == (10, 200, 30)).all()


def test_decode_scales_16_bits_instead_of_clipping():
    ramp = Image.fromarray(np.linspace(0, 65535, 256, dtype=np.uint16)[None].repeat(4, axis=0))
    assert pixels(encode(ramp))[0].tolist() == list(range(256))


def test_decode_reads_one_bit_as_black_and_white():
    assert set(np.unique(pixels(encode(Image.fromarray(np.eye(8, dtype=bool)))))) == {0, 255}


def test_decode_trusts_the_content_not_the_name():
    assert open_image(encode(Image.new("RGB", (8, 8)), "JPEG"), 100).format == "JPEG"


def test_decode_names_the_reason():
    whole = encode(Image.effect_noise((64, 64), 50), "JPEG")
    assert reason(b"") == "empty"
    assert reason(b"<html>not found</html>") == "not_an_image"
    assert reason(whole[: len(whole) // 2]) == "truncated"
    assert reason(encode(Image.new("L", (100, 101))), max_pixels=100 * 100) == "too_many_pixels"


def test_decode_refuses_a_bomb_by_its_header():
    huge = bytearray(encode(Image.new("L", (8, 8))))
    huge[16:24] = (60_000).to_bytes(4, "big") * 2  # the size in the header; the checksum no longer fits
    assert reason(bytes(huge)) in {"too_many_pixels", "unreadable", "not_an_image"}


def test_decode_does_not_mind_damaged_metadata():
    ends_too_soon = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x05\x00\x0e\x01"
    data = encode(Image.new("L", (64, 64), 5), "JPEG", exif=ends_too_soon)
    with pytest.warns(UserWarning, match="EXIF"):
        Image.open(io.BytesIO(data)).getexif()
    assert decode(data).size == (64, 64)


def test_decode_keeps_grey_with_one_transparent_level_grey():
    data = encode(Image.new("L", (4, 4), 7), transparency=7)
    assert decode(data).mode == "L"
    assert (pixels(data) == 255).all()


def test_decode_takes_more_pixels_than_pillow_where_the_limit_allows():
    data = encode(Image.new("1", (10_000, 9_000)))
    assert decode(data, max_pixels=100_000_000).size == (10_000, 9_000)


def test_decode_does_not_open_postscript():
    assert reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n") == "unsupported"


@pytest.mark.parametrize(
    ("start", "kind"),
    [(b"\0\0\0\x18ftypheic", "HEIC"), (b"\0\0\0\x1cftypavif", "AVIF"), (b"8BPS", "Photoshop"), (b"%PDF-1.7", "PDF")],
)
def test_decode_says_what_to_convert(start, kind):
    with pytest.raises(UnusableImageError) as caught:
        decode(start + bytes(50))
    assert caught.value.reason == "unsupported"
    assert kind in caught.value.detail


@pytest.mark.parametrize("grey", [False, True])
def test_a_jpeg_is_decoded_at_a_fraction_of_its_size_and_looks_the_same(grey):
    noise = Image.effect_noise((30, 20), 80).resize((960, 640), Image.Resampling.BICUBIC).convert("RGB")
    data = encode(noise, "JPEG", quality=95)
    reduced = decode(data, grey=grey, reduction=4.9)
    assert reduced.size == (240, 160)
    full = decode(data, grey=grey).resize((240, 160), Image.Resampling.BOX)
    assert np.abs(np.asarray(reduced, dtype=int) - np.asarray(full, dtype=int)).mean() < 0.5


def test_strict_pillow_leaves_the_warnings_of_others_alone():
    with strict_pillow(), pytest.warns(UserWarning, match="of others"):
        warnings.warn("of others", UserWarning, stacklevel=1)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 2, "quality": 30}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_quick_decoding_of_a_jpeg_gives_pillows_pixels(mode, options):
    data = encode(Image.effect_noise((123, 77), 90).convert(mode), "JPEG", **options)
    assert_quick_and_equal(data)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_quick_decoding_of_a_png_gives_pillows_pixels(mode):
    noise = np.random.default_rng(0).integers(0, 256, (31, 45, 4), dtype=np.uint8)
    assert_quick_and_equal(encode(Image.fromarray(noise).convert(mode)))


def assert_quick_and_equal(data):
    image = Image.open(io.BytesIO(data))
    quick = decode_quickly(image, data)
    assert quick is not None
    assert quick.mode == image.mode
    assert np.array_equal(np.asarray(quick), np.asarray(image))


def test_quick_decoding_leaves_what_is_odd_to_pillow():
    for path, data in messy.contents().items():
        if path.startswith(
            ("bad/truncated", "bad/bitflip", "anim/apng", "modes/P", "modes/I16", "modes/LA", "modes/1")
        ):
            try:
                image = Image.open(io.BytesIO(data))
            except OSError:
                continue
            assert decode_quickly(image, data) is None, path
