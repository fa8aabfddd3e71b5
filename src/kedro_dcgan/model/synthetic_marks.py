"""The mark of generated images: PNG metadata that any tool can read, written and read back.

The mark is an XMP packet in a chunk `iTXt` behind the header of the PNG file (XMP specification, part 3). Its property
`Iptc4xmpExt:DigitalSourceType` is `trainedAlgorithmicMedia` of IPTC, which says that a trained model made the image.
Properties of our own namespace name the generator and its training, and the seed and the index from which the image can
be generated again. There is no time: the same training gives the same files.

A mark that is read is never trusted: anybody can write one. Sizes are limited, XML that declares a document type is
refused, so that it has no entities, and every fault is a `DataError`.
"""

import io
import re
import struct
import zlib
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self
from xml.parsers import expat
from xml.sax.saxutils import escape

from kedro_dcgan import __version__
from kedro_dcgan.errors import DataError, in_short
from kedro_dcgan.stored_files import require_file

if TYPE_CHECKING:  # They import torch, or take long.
    from PIL import Image

    from kedro_dcgan.model.saved import TrainedGenerator

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
NAMESPACE = "urn:kedro-dcgan:1.0#"
_IPTC, _XMP = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "http://ns.adobe.com/xap/1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
# Longer names of classes are cut.
_LONGEST_TEXT = 200

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The signature and the chunk IHDR, which is always the first and has 13 bytes.
_HEADER_BYTES = 33
# Keyword, no compression, no language, no translated keyword.
_KEYWORD = b"XML:com.adobe.xmp\0"
_ITXT_HEAD = _KEYWORD + b"\0\0\0\0"
# Of files that are read. Other tools add to the packet.
_MOST_PACKET_BYTES, _MOST_CHUNKS, _PIECE = 1_000_000, 100_000, 2**16
_MOST_DIGITS = 19

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class SyntheticMark:
    """What a mark says; facts that are unknown are empty or None.

    `generator` is the fingerprint of the weights, `model` the registered name and version, `training` the id of the
    training, `dataset` the digest of the training images. The image is number `index` of `seed`.
    """

    tool: str = f"kedro-dcgan {__version__}"
    generator: str = ""
    model: str = ""
    training: str = ""
    dataset: str = ""
    seed: int | None = None
    index: int | None = None
    label: str = ""

    @classmethod
    def of(cls, trained: "TrainedGenerator", model: str = "") -> Self:
        """Return the mark of all images of a generator."""
        training = str(trained.facts.get("training_id", ""))
        return cls(generator=trained.fingerprint(), model=model, training=training, dataset=trained.dataset_digest)

    def of_image(self, seed: int | None = None, index: int | None = None, label: str = "") -> Self:
        """Return the mark of one image, or of a picture of several."""
        return replace(self, seed=seed, index=index, label=label)

    def chunk(self) -> bytes:
        """Return the PNG chunk with the mark."""
        content = b"iTXt" + _ITXT_HEAD + self.packet().encode()
        return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))

    def packet(self) -> str:
        """Return the XMP packet."""
        seed = "" if self.seed is None else f' dcgan:seed="{self.seed}"'
        index = "" if self.index is None else f' dcgan:index="{self.index}"'
        label = f' dcgan:label="{_escape(self.label)}"' if self.label else ""
        head = _packet_head(self.tool, self.generator, self.model, self.training, self.dataset)
        return f"{head}{seed}{index}{label}{_TAIL}"


# The properties of our namespace have the names of the fields.
_OURS = tuple(field.name for field in fields(SyntheticMark) if field.name != "tool")
_FIELDS = {f"{NAMESPACE} {name}": name for name in _OURS} | {f"{_XMP} CreatorTool": "tool"}
_TAIL = '/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'


@lru_cache(64)
def _packet_head(tool: str, generator: str, model: str, training: str, dataset: str) -> str:
    """Return the start of the packet, which is the same for all images of a generator."""
    origin = {"generator": generator, "model": model, "training": training, "dataset": dataset}
    given = "".join(f' dcgan:{name}="{_escape(value)}"' for name, value in origin.items() if value)
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description rdf:about="" xmlns:xmp="{_XMP}" xmlns:Iptc4xmpExt="{_IPTC}" '
        f'xmlns:dcgan="{NAMESPACE}" xmp:CreatorTool="{_escape(tool)}" '
        f'Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"{given}'
    )


@dataclass(frozen=True)
class MarkedPicture:
    """A picture of generated images only, and the mark of its PNG file."""

    picture: "Image.Image"
    mark: SyntheticMark

    def png(self) -> bytes:
        """Return the PNG file."""
        stream = io.BytesIO()
        self.picture.save(stream, "PNG")
        return mark_png(stream.getvalue(), self.mark)


def mark_png(png: bytes, mark: SyntheticMark) -> bytes:
    """Return a PNG file with a mark; the file, which Pillow has written, must not have one already."""
    return b"".join((png[:_HEADER_BYTES], mark.chunk(), png[_HEADER_BYTES:]))


def _escape(text: str) -> str:
    # Names of classes come from files: they may contain anything, also what XML does not allow.
    text = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
    return escape(_NOT_IN_XML.sub("\ufffd", text), {'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"})


def read_mark(path: Path) -> SyntheticMark | None:
    """Return the mark of a PNG file of any origin, or None if it is not marked as made by a trained model.

    Raises:
        DataError: if the file is no PNG file, or damaged.
    """
    remedy = "Name a PNG file."
    require_file(path, remedy)
    try:
        with path.open("rb") as file:
            packet = _find_packet(file)
        return None if packet is None else _read_packet(packet)
    except OSError as error:
        raise DataError(f"`{path}` must be readable ({error.strerror or error}). {remedy}") from None
    except (ValueError, expat.ExpatError, zlib.error) as error:
        raise DataError(f"`{path}` must be an intact PNG file ({in_short(error)}). {remedy}") from None


def _find_packet(file: BinaryIO) -> bytes | None:
    """Return the XMP packet of a PNG file, if it has one; raise ValueError if the file is damaged."""
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        raise ValueError("it is of another kind")
    packet = None
    for number in range(_MOST_CHUNKS):
        length, kind = struct.unpack(">I4s", _read(file, 8))
        if number == 0 and (kind, length) != (b"IHDR", 13):
            raise ValueError("it does not start with a header")
        content = _read_chunk(file, kind, length)
        if packet is None and content.startswith(_KEYWORD):
            packet = _packet_of(content)
        if kind == b"IEND":
            return packet
    raise ValueError(f"it has more than {_MOST_CHUNKS:,} chunks")


def _read_chunk(file: BinaryIO, kind: bytes, length: int) -> bytes:
    """Check a chunk and skip it; return only the content of `iTXt`."""
    content, crc, left = bytearray(), zlib.crc32(kind), length
    while left:
        piece = _read(file, min(left, _PIECE))
        crc, left = zlib.crc32(piece, crc), left - len(piece)
        if kind == b"iTXt" and len(content) <= _MOST_PACKET_BYTES:
            content += piece
    if _read(file, 4) != struct.pack(">I", crc):
        raise ValueError(f"the checksum of its chunk {str(kind)[2:-1]} is wrong")
    return bytes(content)


def _read(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise ValueError("it ends too early")
    return data


def _packet_of(content: bytes) -> bytes:
    # Keyword, flag and method of compression, then two texts that end with 0.
    rest = content[len(_KEYWORD) :]
    parts = rest[2:].split(b"\0", 2)
    if len(rest) < 2 or len(parts) < 3:
        raise ValueError("its XMP chunk is incomplete")
    packet = parts[2]
    if rest[0]:
        packet = zlib.decompressobj().decompress(packet, _MOST_PACKET_BYTES + 1)
    if max(len(packet), len(content)) > _MOST_PACKET_BYTES:
        raise ValueError(f"its XMP packet has more than {_MOST_PACKET_BYTES:,} bytes")
    return packet


def _read_packet(packet: bytes) -> SyntheticMark | None:
    properties = _Properties()
    properties.parse(packet)
    if properties.found.get(f"{_IPTC} DigitalSourceType") != SOURCE_TYPE:
        return None
    given: dict[str, Any] = {field: properties.found.get(name, "") for name, field in _FIELDS.items()}
    for name in ("seed", "index"):
        text = given[name]
        if text and not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
            raise ValueError(f"the {name} in its mark is not an integer")
        given[name] = int(text) if text else None
    return SyntheticMark(**given)


class _Properties:
    """The properties of an XMP packet that marks have: attributes or children of an `rdf:Description`."""

    def __init__(self) -> None:
        self.found = dict[str, str]()
        self._path = list[str]()
        self._text = list[str]()

    def parse(self, packet: bytes) -> None:
        # The encoding of a packet in PNG is UTF-8, whatever it declares.
        parser = expat.ParserCreate("utf-8", " ")
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._text.append
        parser.Parse(packet, True)

    def _refuse(self, *_: object) -> None:
        raise ValueError("its XMP packet declares a document type")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        self._text.clear()
        if self._path[-2:] == [f"{_RDF} RDF", f"{_RDF} Description"]:
            for attribute, value in attributes.items():
                self.found.setdefault(attribute, value)

    def _end(self, name: str) -> None:
        if self._path[-3:-1] == [f"{_RDF} RDF", f"{_RDF} Description"]:
            self.found.setdefault(name, "".join(self._text).strip())
        self._path.pop()
        self._text.clear()
