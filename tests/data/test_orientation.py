"""Pictures that are stored turned are set upright as Pillow's `exif_transpose` does, wherever the tag is."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin, TiffImagePlugin
from test_fast_decode import chunk, with_chunk

from kedro_dcgan.data.decode import open_image, read_pixels, strict_pillow
from kedro_dcgan.data.transforms import set_upright
from kedro_dcgan.errors import UnusableImageError

STORED = Image.fromarray(np.repeat(np.repeat(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10, 16, 0), 16, 1))
END = 12


def xmp(orientation, as_element=False):
    tag = f">{orientation}</tiff:Orientation>" if as_element else f'="{orientation}"'
    return f"<x:xmpmeta><rdf:RDF><tiff:Orientation{tag}</rdf:RDF></x:xmpmeta>".encode()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def encode(file_format, image=None, **options):
    stream = io.BytesIO()
    (image or STORED.convert("RGB")).save(stream, file_format, **options)
    return stream.getvalue()


def with_chunk_behind(png, extra):
    return png[:-END] + extra + png[-END:]


def tiff(**tags):
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory.tagtype[700] = 1
    for tag, value in tags.items():
        directory[int(tag[1:])] = value
    return encode("TIFF", tiffinfo=directory)


def raw_profile(orientation):
    data = exif(orientation)
    return b"Raw profile type exif\0", b"\nexif\n%8d\n%s\n" % (len(data), data.hex().encode())


def text(orientation):
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(orientation))


PNG, PALETTE = encode("PNG"), encode("PNG", STORED.quantize(24))
KEYWORD, PROFILE = raw_profile(6)
NO_ORIENTATION = Image.Exif()
NO_ORIENTATION[0x010F] = "a camera"
FILES = {
    **{f"jpeg xmp {number}": encode("JPEG", quality=95, xmp=xmp(number)) for number in range(1, 9)},
    "jpeg xmp element": encode("JPEG", quality=95, xmp=xmp(6, as_element=True)),
    "jpeg xmp beside exif without the tag": encode("JPEG", quality=95, xmp=xmp(8), exif=NO_ORIENTATION),
    "jpeg exif wins over xmp": encode("JPEG", quality=95, xmp=xmp(8), exif=exif(3)),
    "webp xmp": encode("WEBP", lossless=True, xmp=xmp(8)),
    "webp exif": encode("WEBP", lossless=True, exif=exif(6)),
    "png xmp": with_chunk(PNG, text(8)),
    "png xmp behind": with_chunk_behind(PNG, text(8)),
    "png exif behind": with_chunk_behind(PNG, chunk(b"eXIf", exif(6)[6:])),
    "palette exif behind": with_chunk_behind(PALETTE, chunk(b"eXIf", exif(5)[6:])),
    "png exif as text": with_chunk(PNG, chunk(b"tEXt", KEYWORD + PROFILE)),
    "png exif as text behind": with_chunk_behind(PNG, chunk(b"zTXt", KEYWORD + b"\0" + zlib.compress(PROFILE))),
    "tiff exif": tiff(t274=6),
    "tiff xmp": tiff(t700=xmp(6)),
    "tiff exif wins over xmp": tiff(t274=2, t700=xmp(6)),
    "gif": encode("GIF"),
}


@pytest.mark.parametrize("name", FILES)
def test_pictures_are_upright_as_by_pillow(name):
    image = Image.open(io.BytesIO(FILES[name]))
    image.load()
    expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    with strict_pillow():
        header = open_image(FILES[name], 10**6)
        pixels = set_upright(read_pixels(header, (255, 255, 255))[0], header.orientation)
    assert (header.height, header.width) == expected.shape[:2]
    assert np.array_equal(np.broadcast_to(pixels, expected.shape), expected)


@pytest.mark.parametrize("extra", [b"", text(6)], ids=["none", "XMP"])
def test_pixels_are_counted_before_they_are_decoded(monkeypatch, extra):
    decoded = []
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda image: decoded.append(image.size))
    with pytest.raises(UnusableImageError) as caught:
        open_image(with_chunk_behind(PALETTE, extra), 100)
    assert caught.value.reason == "too_many_pixels"
    assert not decoded
