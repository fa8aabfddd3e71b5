import io
import zlib

import messy
import numpy as np
import pytest
from PIL import Image

from kedro_dcgan.data.plain import decode_plain, read_plain_header


def encode(image, file_format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def noise(mode, width=123, height=77):
    levels = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return Image.fromarray(levels).convert(mode)


def chunk(kind, content):
    body = kind + content
    return len(content).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)


def with_chunk(data, extra):
    return data[:33] + extra + data[33:]


def with_segment(data, marker, content):
    return data[:2] + bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2) + content + data[2:]


def assert_equal_to_pillow(data):
    header, image = read_plain_header(data), Image.open(io.BytesIO(data))
    assert header is not None
    assert (header.format, header.mode, header.width, header.height) == (image.format, image.mode, *image.size)
    pixels = decode_plain(header)
    assert pixels is not None
    assert np.array_equal(pixels.squeeze(), np.asarray(image))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 2, "quality": 30}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_pixels_equal_those_of_pillow(mode, options):
    assert_equal_to_pillow(encode(noise(mode), "JPEG", **options))


def test_grey_jpeg_equals_the_luminance_of_pillow():
    data = encode(noise("RGB"), "JPEG")
    image = Image.open(io.BytesIO(data))
    image.draft("L", image.size)
    assert np.array_equal(decode_plain(read_plain_header(data), grey=True)[:, :, 0], np.asarray(image))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_png_pixels_equal_those_of_pillow(mode):
    assert_equal_to_pillow(encode(noise(mode)))


def test_irrelevant_metadata_is_ignored():
    png, jpeg = encode(noise("RGB")), encode(noise("RGB"), "JPEG", comment="a comment", dpi=(72, 72))
    assert_equal_to_pillow(with_chunk(png, chunk(b"gAMA", (10_000).to_bytes(4))))
    assert_equal_to_pillow(with_chunk(png, chunk(b"sBIT", b"\5\5\5")))
    assert_equal_to_pillow(jpeg)
    assert_equal_to_pillow(with_segment(jpeg, 0xED, b"Photoshop 3.0"))


@pytest.mark.parametrize(
    "data",
    [
        encode(noise("P")),
        encode(noise("1")),
        encode(noise("LA")),
        encode(noise("CMYK"), "JPEG"),
        encode(noise("RGB"), transparency=(1, 2, 3)),
        encode(noise("RGB"), "BMP"),
        encode(noise("RGB"), "JPEG")[:-2],
        encode(noise("RGB"))[:40],
        encode(noise("RGB"), "JPEG")[:40] + b"\xff\xd9",
        with_segment(encode(noise("RGB"), "JPEG"), 0xE1, b"Exif\0\0"),
        with_segment(encode(noise("RGB"), "JPEG"), 0xE2, b"MPF\0"),
        with_chunk(encode(noise("RGB")), chunk(b"eXIf", b"MM\0*")),
        with_chunk(encode(noise("RGB")), chunk(b"acTL", bytes(8))),
        with_chunk(encode(noise("RGB")), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0")),
        with_chunk(encode(noise("RGB")), chunk(b"tEXt", b"Raw profile type exif\0")),
        encode(noise("RGB"))[:-12] + chunk(b"eXIf", b"MM\0*") + encode(noise("RGB"))[-12:],
        with_chunk(encode(noise("RGB")), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**6)))),
        with_chunk(encode(noise("RGB")), chunk(b"gAMA", bytes(4))[:-1] + b"\0"),
        b"\xff\xd8",
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
        b"",
    ],
)
def test_odd_files_are_left_to_pillow(data):
    assert read_plain_header(data) is None


def test_empty_segment_does_not_cause_a_loop():
    data = encode(noise("RGB"), "JPEG")
    assert read_plain_header(data[:2] + b"\xff\xe0\0\0" + data[2:]) is None


def test_damaged_pixels_are_left_to_pillow():
    data = encode(noise("RGB"))
    cut_off = data[: len(data) // 2] + data[-2:]
    header = read_plain_header(cut_off)
    assert header is not None
    assert decode_plain(header) is None


def test_messy_files_that_pillow_rejects_are_not_decoded():
    for data in messy.contents().values():
        header = read_plain_header(data)
        if header is not None and header.width * header.height < 10**6 and decode_plain(header) is not None:
            Image.open(io.BytesIO(data)).load()
