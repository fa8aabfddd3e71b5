"""Whole files of a kind that is not read are skipped as unsupported, with its name; damaged ones are not."""

import gzip
import io
import zipfile
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from test_fast_decode import chunk, with_chunk
from test_messy import PREPARATION
from tiffs import tiff

from kedro_dcgan.data.scan import ScanTask, scan_block
from kedro_dcgan.data.sources import Input, Limits, open_source
from kedro_dcgan.data.sources.source import MemoryBlock

PIXELS = np.random.default_rng(0).integers(0, 256, (80, 120, 5), dtype=np.uint8)
IMAGE = Image.fromarray(PIXELS[:, :, :3].copy())
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def encode(file_format, image=IMAGE, **options):
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def zip_of(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.png", data)
    return stream.getvalue()


def media(brand, compatible=b"xxxx"):
    return b"\0\0\0\x18ftyp" + brand + bytes(4) + compatible + b"yyyy" + bytes(200)


def record(data):
    return scan_block(ScanTask(MemoryBlock((Input("a", data),), "")), PREPARATION).records[0]


TGA, PNG = encode("TGA"), encode("PNG")
FOOTER = 26
UNSUPPORTED = {
    "DICOM": (bytes(128) + b"DICM" + bytes(300), "DICOM"),
    "TGA": (TGA, "TGA"),
    "old TGA": (TGA[:-FOOTER], "TGA"),
    "TGA with runs": (encode("TGA", compression="tga_rle")[:-FOOTER], "TGA"),
    "TGA with a palette": (encode("TGA", IMAGE.quantize(8))[:-FOOTER], "TGA"),
    "DDS": (encode("DDS"), "DDS"),
    "PCX": (encode("PCX"), "PCX"),
    "SGI": (encode("SGI"), "SGI"),
    "QOI": (imagecodecs.qoi_encode(PIXELS[:, :, :3].copy()), "QOI"),
    "ICNS": (encode("ICNS"), "ICNS"),
    "ICO": (encode("ICO"), "icon"),
    "EXR": (b"\x76\x2f\x31\x01\x02\0\0\0" + bytes(100), "EXR"),
    "HDR": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 8 +X 8\n", "HDR"),
    "JPEG 2000": (encode("JPEG2000"), "JPEG 2000"),
    "JPEG 2000 codestream": (encode("JPEG2000", no_jp2=True), "JPEG 2000"),
    "JPEG XL": (imagecodecs.jpegxl_encode(PIXELS[:, :, :3].copy()), "JPEG XL"),
    "JPEG XR": (b"II\xbc\x01" + bytes(100), "JPEG XR"),
    "AVIF": (encode("AVIF"), "AVIF"),
    "AVIF with a general brand": (media(b"mif1", b"avif"), "AVIF"),
    **{f"HEIF {brand.decode()}": (media(brand), "HEIC") for brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1")},
    "HEIC by a compatible brand": (media(b"abcd", b"heic"), "HEIC"),
    "CR3": (media(b"crx "), "CR3"),
    "CR2": (tiff(PIXELS[:, :, :3]).replace(PIXELS[:, :, :3].tobytes()[:4], b"CR\2\0", 1), "raw"),
    "DNG": (tiff(PIXELS[:, :, :3], t50706=1), "raw"),
    "NEF, whose first picture is a preview": (tiff(PIXELS[:, :, :3], t254=1), "raw"),
    "raw colour filter array": (tiff(RAMP, t262=32803), "raw"),
    "RAF": (b"FUJIFILMCCD-RAW 0201" + bytes(100), "raw"),
    "PDF": (encode("PDF"), "PDF"),
    "JPEG-LS": (imagecodecs.jpegls_encode(np.zeros((64, 64), np.uint8)), "JPEG-LS"),
    "12-bit JPEG": (imagecodecs.jpeg_encode(RAMP, bitspersample=12), "12-bit JPEG"),
    "lossless JPEG": (imagecodecs.ljpeg_encode(RAMP), "lossless JPEG"),
    "TIFF of 5 bands": (tiff(PIXELS), "5 bands"),
    "TIFF of 8 bands": (tiff(np.zeros((64, 64, 8), np.uint16)), "8 bands"),
    "TIFF of 4 bands of 16 bits": (tiff(np.zeros((64, 64, 4), np.uint16)), "4 bands of 16-bit"),
    "TIFF of 3 bands of floats": (tiff(np.zeros((64, 64, 3), np.float32)), "3 bands of 32-bit floats"),
    "float64 TIFF": (tiff(np.zeros((64, 64))), "64-bit floats"),
    "float16 TIFF": (tiff(np.zeros((64, 64), np.float16)), "16-bit floats"),
    "TIFF of another compression": (tiff(PIXELS[:, :, :3], t259=34887), "34887"),
    "PNG of Xcode": (b"\x89PNG\r\n\x1a\n" + chunk(b"CgBI", bytes(4)) + PNG[8:], "CgBI"),
    "zip": (zip_of(a=PNG), "archive"),
    "gzip": (gzip.compress(PNG), "archive"),
    "NumPy": (b"\x93NUMPY\x01\0" + bytes(100), "NumPy"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_kinds_are_named(name):
    data, kind = UNSUPPORTED[name]
    found = record(data)
    assert found.reason == "unsupported", found.detail
    assert kind in found.detail


def test_pillow_does_not_log_what_the_record_says(caplog):
    record(UNSUPPORTED["TIFF of 8 bands"][0])
    assert not caplog.records


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(PIXELS)[:-400], "unreadable"),
        (tiff(PIXELS, t279=10**6), "unreadable"),
        (tiff(PIXELS[:, :, :3], t256=0), "unreadable"),
        (imagecodecs.jpeg_encode(RAMP, bitspersample=12)[:30], "truncated unreadable"),
        (encode("JPEG")[:100], "truncated unreadable"),
        (media(b"isom", b"mp41"), "not_an_image"),
        (media(b"qt  "), "not_an_image"),
        (bytes(2) + b"\x02" + bytes(9) + b"\x60\0\x60\0\x18\0" + bytes(50), "not_an_image"),
        (b"\0\1\2\3" * 99, "not_an_image"),
        (b"a,b\n1,2\n", "not_an_image"),
    ],
    ids=[
        "cut off",
        "cut-off strip",
        "no width",
        "cut-off 12-bit JPEG",
        "cut-off JPEG",
        "MP4",
        "MOV",
        "short TGA",
        "any",
        "CSV",
    ],
)
def test_others_are_damaged_or_no_pictures(data, reason):
    assert record(data).reason in reason.split()


def with_wrong_checksum(png, kind, at=-1):
    start = png.index(kind)
    end = start + 4 + int.from_bytes(png[start - 4 : start])
    return png[: end + at + 4] + bytes([png[end + at + 4] ^ 1]) + png[end + at + 5 :]


TEXT = with_chunk(PNG, chunk(b"tEXt", b"Comment\0hello"))


@pytest.mark.parametrize(
    "png",
    [
        with_wrong_checksum(TEXT, b"tEXt"),
        with_wrong_checksum(TEXT, b"tEXt", at=-6),
        with_wrong_checksum(PNG[:-12] + chunk(b"tEXt", b"Comment\0hello") + PNG[-12:], b"tEXt"),
        with_wrong_checksum(with_chunk(PNG, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a"))), b"zTXt"),
        with_wrong_checksum(with_chunk(PNG, chunk(b"gAMA", (45455).to_bytes(4))), b"gAMA"),
    ],
    ids=["text", "a letter of the text", "text behind the pixels", "compressed text", "gamma"],
)
def test_png_is_read_despite_a_damaged_text(png):
    block = MemoryBlock((Input("damaged", png), Input("whole", PNG)), "")
    scanned = scan_block(ScanTask(block), PREPARATION)
    assert [found.verdict for found in scanned.records] == ["accepted", "accepted"]
    assert np.array_equal(scanned.pixels[0], scanned.pixels[1])


@pytest.mark.parametrize("image", [IMAGE, IMAGE.quantize(8), IMAGE.convert("LA")], ids=lambda image: image.mode)
def test_png_with_a_wrong_checksum_of_the_pixels_is_damaged(image):
    found = record(with_wrong_checksum(encode("PNG", image), b"IDAT"))
    assert (found.reason, found.width) == ("corrupt", 120)
    assert record(with_wrong_checksum(encode("PNG", image), b"IHDR")).reason == "unreadable"


def test_zips_in_a_zip_are_skipped_as_archives(tmp_path):
    (tmp_path / "all.zip").write_bytes(zip_of(first=zip_of(a=PNG), second=zip_of(b=PNG)))
    source = open_source("all.zip", tmp_path, Limits(10**6, 10))
    records = [found for block in source.blocks(9) for found in scan_block(ScanTask(block), PREPARATION).records]
    assert [found.reason for found in records] == ["unsupported"] * 2
    assert all("archive" in found.detail for found in records)
