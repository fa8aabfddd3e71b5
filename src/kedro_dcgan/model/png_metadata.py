"""The XMP metadata of PNG files of any origin: files that are read may be hostile.

The sizes of a packet and of its namespaces are limited, and XML that declares a document type is refused, so that it
has no entities. Every fault is a ValueError, `zlib.error` or `ExpatError`.
"""

import struct
import zlib
from typing import BinaryIO
from xml.parsers import expat

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
# The keyword of XMP in a chunk `iTXt`.
XMP_KEYWORD = b"XML:com.adobe.xmp\0"

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Other tools add to the packet.
_MOST_PACKET_BYTES, _MOST_CHUNKS, _PIECE = 100_000, 100_000, 2**16
# expat copies the namespace into the name of each element: a long one in many elements takes minutes, or all memory.
_MOST_NAMESPACE = 1000
_DESCRIPTION = [f"{RDF} RDF", f"{RDF} Description"]


def find_packet(file: BinaryIO) -> bytes | None:
    """Return the XMP packet of a PNG file, if it has one; raise ValueError if the file is damaged."""
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        raise ValueError("not a PNG file")
    packet = None
    for number in range(_MOST_CHUNKS):
        length, kind = struct.unpack(">I4s", _read(file, 8))
        if number == 0 and (kind, length) != (b"IHDR", 13):
            raise ValueError("it does not start with a header")
        content = _read_chunk(file, kind, length)
        if packet is None and content.startswith(XMP_KEYWORD):
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
    rest = content[len(XMP_KEYWORD) :]
    parts = rest[2:].split(b"\0", 2)
    if len(rest) < 2 or len(parts) < 3:
        raise ValueError("its XMP chunk is incomplete")
    packet = parts[2]
    if rest[0]:
        packet = zlib.decompressobj().decompress(packet, _MOST_PACKET_BYTES + 1)
    if max(len(packet), len(content)) > _MOST_PACKET_BYTES:
        raise ValueError(f"its XMP packet has more than {_MOST_PACKET_BYTES:,} bytes")
    return packet


def read_properties(packet: bytes) -> dict[str, str]:
    """Return the properties of the image with a simple value, by namespace, space and name.

    Raises:
        ValueError, expat.ExpatError: if the packet is not valid, or hostile.
    """
    properties = _Properties()
    properties.parse(packet)
    return properties.found


class _Properties:
    """The properties of a packet: attributes or children of an `rdf:Description`. The first of a name counts."""

    def __init__(self) -> None:
        self.found = dict[str, str]()
        self._path = list[str]()
        self._text = list[str]()

    def parse(self, packet: bytes) -> None:
        # The encoding of a packet in PNG is UTF-8, whatever it declares.
        parser = expat.ParserCreate("utf-8", " ")
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartNamespaceDeclHandler = self._check_namespace
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._text.append
        parser.Parse(packet, True)

    def _refuse(self, *_: object) -> None:
        raise ValueError("its XMP packet declares a document type")

    def _check_namespace(self, _: str | None, uri: str | None) -> None:
        if len(uri or "") > _MOST_NAMESPACE:
            raise ValueError(f"its XMP packet has a namespace of more than {_MOST_NAMESPACE:,} characters")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        self._text.clear()
        if self._path[-2:] == _DESCRIPTION:
            for attribute, value in attributes.items():
                self.found.setdefault(attribute, value)
        if self._path[-3:-1] == _DESCRIPTION and f"{RDF} resource" in attributes:
            self.found.setdefault(name, attributes[f"{RDF} resource"])

    def _end(self, name: str) -> None:
        if self._path[-3:-1] == _DESCRIPTION:
            self.found.setdefault(name, "".join(self._text).strip())
        self._path.pop()
        self._text.clear()
