"""Marks of generated images: other tools read them, they are read back, and a bad file is an error in one line."""

import io
import json
import os
import random
import shutil
import struct
import subprocess
import xml.etree.ElementTree as ET
import zlib
from functools import cache

import numpy as np
import pytest
from networks import generator_config
from PIL import Image
from projects import require_program

from kedro_dcgan.errors import DataError
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights
from kedro_dcgan.model.synthetic_marks import NAMESPACE, SOURCE_TYPE, MarkedPicture, SyntheticMark, mark_png, read_mark

OWN = "weights", "model", "training_id", "dataset_digest", "seed", "index"
EXIFTOOL = shutil.which("exiftool")
FULL = SyntheticMark(
    "kedro-dcgan 1.2", "0123456789abcdef", "dcgan-digits v3", "fedcba987654", "0011", 2**53 - 1, 7, "3"
)
PIXELS = np.arange(12 * 9 * 3, dtype=np.uint8).reshape(12, 9, 3)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "image.png"


def png(mark=FULL):
    return MarkedPicture(Image.fromarray(PIXELS), mark).png()


@cache
def plain_png():
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "PNG")
    return stream.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_packet(packet, head=b"XML:com.adobe.xmp\0\0\0\0\0", end=False):
    """A PNG file with an XMP packet, behind the header or before the end."""
    data = plain_png()
    place = len(data) - 12 if end else 33
    return data[:place] + chunk(b"iTXt", head + packet) + data[place:]


@pytest.mark.parametrize(
    "mark",
    [FULL, SyntheticMark(), SyntheticMark(seed=0, index=0), SyntheticMark(label='sea <lion> & "Übung"\'\n\t 象 😀')],
)
def test_a_mark_is_read_back_and_the_pixels_are_the_same(file, mark):
    file.write_bytes(png(mark))
    assert read_mark(file) == mark
    assert (np.asarray(Image.open(file)) == PIXELS).all()
    # The mark is all that was added.
    assert len(png(mark)) == len(plain_png()) + len(mark.chunk())
    assert len(SyntheticMark().chunk()) < 600
    assert len(FULL.chunk()) < 800


def test_the_mark_of_a_generator_names_its_weights_training_and_images():
    network = build_generator(generator_config("dcgan", 16, 1, 3, 1))
    trained = TrainedGenerator(network.config, snapshot_weights(network), "0011", 64, {"training_id": "fedcba987654"})
    mark = SyntheticMark.of(trained, "dcgan-digits v3").of_image(5, 1, "3")
    assert (mark.weights, mark.training_id, mark.dataset_digest) == (trained.fingerprint(), "fedcba987654", "0011")
    assert (mark.model, mark.seed, mark.index, mark.label) == ("dcgan-digits v3", 5, 1, "3")
    # A generator of an earlier version.
    assert SyntheticMark.of(TrainedGenerator(network.config, trained.weights, "0011", 64)).training_id == ""


def test_long_texts_of_others_are_cut(file):
    file.write_bytes(with_packet(FULL.packet().replace(FULL.model, "m" * 50_000).encode()))
    assert 200 <= len(read_mark(file).model) < 210


@pytest.mark.parametrize("label", ["\0\x1b[31m", "\udc80\ud800", "\ufffe\uffff", "x" * 100_000])
def test_a_class_with_any_name_gives_valid_xml_of_bounded_size(file, label):
    mark = SyntheticMark(label=label)
    ET.fromstring(mark.packet())
    assert len(mark.chunk()) < 1500
    file.write_bytes(png(mark))
    shown = read_mark(file).label
    assert shown[:1] == label[:1] if label.startswith("x") else set(shown) <= {"\ufffd", *"[31m"}


@require_program("exiftool", EXIFTOOL)
def test_exiftool_reads_the_mark(file):
    file.write_bytes(png())
    command = [EXIFTOOL, "-json", "-G1", file]
    (read,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert read["XMP-iptcExt:DigitalSourceType"] == SOURCE_TYPE
    assert read["XMP-xmp:CreatorTool"] == FULL.tool
    own = {name: str(read[f"XMP-dcgan:{name.capitalize()}"]) for name in OWN}
    assert own == {name: str(getattr(FULL, name)) for name in own}
    command = [EXIFTOOL, "-validate", "-warning", "-s3", file]
    assert subprocess.run(command, capture_output=True, check=True).stdout.split() == [b"OK"]


@require_program("exiftool", EXIFTOOL)
def test_a_mark_that_another_tool_has_written_or_changed_is_read(file):
    # It writes properties as elements, not as attributes.
    file.write_bytes(png())
    subprocess.run([EXIFTOOL, "-q", "-overwrite_original", "-XMP-dc:title=Dogs", file], check=True)
    assert b"Dogs" in file.read_bytes()
    assert read_mark(file) == FULL
    file.write_bytes(plain_png())
    subprocess.run([EXIFTOOL, "-q", "-overwrite_original", f"-XMP-iptcExt:DigitalSourceType={SOURCE_TYPE}", file])
    assert read_mark(file) == SyntheticMark(tool="")


def test_a_packet_may_be_compressed_and_behind_the_pixels(file):
    compressed = b"XML:com.adobe.xmp\0\1\0en\0XMP\0"
    file.write_bytes(with_packet(zlib.compress(FULL.packet().encode()), compressed, end=True))
    assert read_mark(file) == FULL


ATTRIBUTE = f'Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"'
RESOURCE = f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{SOURCE_TYPE}"/></rdf:Description>'


@pytest.mark.parametrize(
    "packet",
    [
        FULL.packet().replace("http://cv.iptc.org", "https://cv.iptc.org"),
        FULL.packet().replace(ATTRIBUTE, "").replace("/></rdf:RDF", f">{RESOURCE}</rdf:RDF"),
    ],
    ids=["https", "resource"],
)
def test_the_source_may_be_a_resource_or_have_https(file, packet):
    assert packet != FULL.packet()
    file.write_bytes(with_packet(packet.encode()))
    assert read_mark(file) == FULL


# It describes a part of the image.
PART, ENDS = "<rdf:Description><x:part><rdf:D", "</x:part></rdf:Description>"
NESTED = FULL.packet().replace("<rdf:D", PART).replace("/></rdf:RDF", f"/>{ENDS}</rdf:RDF")


@pytest.mark.parametrize(
    "packet",
    [
        "",
        FULL.packet().replace("trainedAlgorithmicMedia", "digitalCapture"),
        FULL.packet().replace("Iptc4xmpExt:DigitalSourceType", "xmp:DigitalSourceType"),
        NESTED,
    ],
    ids=["none", "photo", "other namespace", "nested"],
)
def test_other_pictures_have_no_mark(file, packet):
    file.write_bytes(with_packet(packet.encode()) if packet else plain_png())
    assert read_mark(file) is None


BOMB = FULL.packet().replace("<x:xmpmeta", '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]><x:xmpmeta', 1)
COMPRESSED = b"XML:com.adobe.xmp\0\1\0\0\0"
# expat would copy the namespace into the name of each element.
LONG_NAMESPACE = b'<x xmlns:n="%s">%s</x>' % (b"u" * 40_000, b"<n:a/>" * 9000)
DEFAULT_NAMESPACE = LONG_NAMESPACE.replace(b":n=", b"=").replace(b"n:a", b"a")
BAD = {
    "empty": (b"", "PNG"),
    "other kind": (b"GIF89a" + bytes(50), "PNG"),
    "no header": (plain_png()[:8] + plain_png()[33:], "header"),
    "cut": (png()[:200], "early"),
    "no end": (png()[:-12], "early"),
    "checksum": (png().replace(b"0011", b"0012"), "checksum"),
    "entities": (with_packet(BOMB.encode()), "document type"),
    "no XML": (with_packet(b"<x:xmpmeta"), "PNG"),
    "not UTF-8": (with_packet(b"<x>\xff</x>"), "PNG"),
    "seed": (with_packet(FULL.packet().replace("9007199254740991", "many").encode()), "seed"),
    "huge seed": (with_packet(FULL.packet().replace("9007199254740991", "9" * 5000).encode()), "seed"),
    "fingerprint": (with_packet(FULL.packet().replace(FULL.weights, "None").encode()), "weights"),
    "large": (with_packet(b" " * 100_001), "100,000"),
    "bomb": (with_packet(zlib.compress(b" " * 50_000_000), COMPRESSED), "100,000"),
    "namespace": (with_packet(zlib.compress(LONG_NAMESPACE), COMPRESSED), "namespace"),
    "default namespace": (with_packet(zlib.compress(DEFAULT_NAMESPACE), COMPRESSED), "namespace"),
    "compression": (with_packet(b"not compressed", COMPRESSED), "PNG"),
    "incomplete": (with_packet(b"", b"XML:com.adobe.xmp\0\0"), "incomplete"),
    "many chunks": (plain_png()[:33] + chunk(b"iTXt", b"") * 100_001 + plain_png()[33:], "100,000"),
    "length": (plain_png()[:33] + b"\xff\xff\xff\xffiTXt" + plain_png()[33:], "early"),
}


@pytest.mark.parametrize(("data", "fact"), BAD.values(), ids=BAD)
def test_a_bad_file_is_an_error_in_one_line(file, data, fact):
    file.write_bytes(data)
    with pytest.raises(DataError, match=fact) as caught:
        read_mark(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_a_folder_and_a_pipe_are_errors(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none.png", tmp_path, tmp_path / "pipe"):
        with pytest.raises(DataError):
            read_mark(path)


def test_no_damaged_file_crashes(file):
    drawn, outcomes, messages = random.Random(0), set(), []
    originals = [png(), plain_png(), with_packet(FULL.packet().encode(), end=True), with_packet(BOMB.encode())]
    packets = [FULL.packet().encode(), BOMB.encode()]
    for number in range(3000):
        if number % 2:
            # A damaged packet in an intact chunk.
            data = with_packet(mutated(drawn.choice(packets), drawn))
        else:
            data = mutated(drawn.choice(originals), drawn)
        file.write_bytes(data)
        try:
            mark = read_mark(file)
            outcomes.add("mark" if mark else "none")
        except DataError as error:
            messages.append(str(error))
    assert outcomes == {"mark", "none"}
    assert len(messages) > 800
    assert not any("\n" in message for message in messages)


def mutated(data, drawn):
    data = bytearray(data)
    for _ in range(drawn.randint(1, 4)):
        start = drawn.randrange(len(data) + 1)
        match drawn.randrange(4):
            case 0:
                data[start : start + 1] = bytes([drawn.randrange(256)])
            case 1:
                del data[start : start + drawn.randrange(1, 60)]
            case 2:
                data[start:start] = data[start : start + drawn.randrange(1, 60)]
            case 3:
                data[start:start] = drawn.choice([b"<", b'"', b"\0", b"&#0;", b"&a;", b"<!DOCTYPE x>", b"\xff\xfe"])
    return bytes(data)


def test_equal_marks_give_equal_files():
    assert png() == png(SyntheticMark(*(getattr(FULL, name) for name in FULL.__dataclass_fields__)))
    assert mark_png(plain_png(), FULL) == png()
    assert NAMESPACE in FULL.packet()
