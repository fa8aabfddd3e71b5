"""The mark of generated images: PNG metadata that any tool can read, written and read back.

The mark is an XMP packet in a chunk `iTXt` behind the header of the PNG file (XMP specification, part 3). Its property
`Iptc4xmpExt:DigitalSourceType` is `trainedAlgorithmicMedia` of IPTC, which says that a trained model made the image.
Properties of our own namespace name the weights and their training, and the seed and the index from which the image can
be generated again. There is no time: the same training gives the same files.

A mark that is read is never trusted: anybody can write one. Sizes are limited (`png_metadata`), and every fault is a
`DataError`.
"""

import io
import re
import struct
import zlib
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from xml.parsers import expat
from xml.sax.saxutils import escape

from kedro_dcgan import __version__
from kedro_dcgan.errors import DataError, in_short
from kedro_dcgan.model.png_metadata import RDF, XMP_KEYWORD, find_packet, read_properties
from kedro_dcgan.stored_files import require_file

if TYPE_CHECKING:  # The command `inspect` needs none of them.
    import numpy as np
    from PIL import Image

    from kedro_dcgan.model.saved import TrainedGenerator

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
NAMESPACE = "urn:kedro-dcgan:1.0#"
_IPTC, _XMP = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "http://ns.adobe.com/xap/1.0/"
# Longer texts are cut, in marks that are written or read.
_LONGEST_TEXT = 200

# The signature and the chunk IHDR, which is always the first and has 13 bytes.
_HEADER_BYTES = 33
# No compression, no language, no translated keyword.
_ITXT_HEAD = XMP_KEYWORD + b"\0\0\0\0"
# Of the fields that are not free text, in files that are read.
_RULES = {"weights": "[0-9a-f]{16}", "seed": "[0-9]{1,19}", "index": "[0-9]{1,19}"}

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class SyntheticMark:
    """The facts in a mark; unknown ones are empty or None.

    `weights` is the fingerprint of the weights, `model` the registered name and version. `training_id` and
    `dataset_digest` are those of `generator.json` and of the tags in MLflow. The image is number `index` of `seed`.
    """

    tool: str = f"kedro-dcgan {__version__}"
    weights: str = ""
    model: str = ""
    training_id: str = ""
    dataset_digest: str = ""
    seed: int | None = None
    index: int | None = None
    label: str = ""

    @classmethod
    def of(cls, trained: "TrainedGenerator", model: str = "") -> Self:
        """Return the mark of all images of a generator."""
        return cls(
            weights=trained.fingerprint(),
            model=model,
            training_id=str(trained.facts.get("training_id", "")),
            dataset_digest=trained.dataset_digest,
        )

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
        head = _packet_head(self.tool, self.weights, self.model, self.training_id, self.dataset_digest)
        return f"{head}{seed}{index}{label}{_TAIL}"


# The properties of our namespace have the names of the fields.
_OWN_PROPERTIES = tuple(field.name for field in fields(SyntheticMark) if field.name != "tool")
_FIELDS = {f"{NAMESPACE} {name}": name for name in _OWN_PROPERTIES} | {f"{_XMP} CreatorTool": "tool"}
_TAIL = '/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'


@lru_cache(64)
def _packet_head(tool: str, weights: str, model: str, training_id: str, dataset_digest: str) -> str:
    """Return the start of the packet, which is the same for all images of a generator."""
    origin = {"weights": weights, "model": model, "training_id": training_id, "dataset_digest": dataset_digest}
    given = "".join(f' dcgan:{name}="{_escape(value)}"' for name, value in origin.items() if value)
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" xmlns:xmp="{_XMP}" xmlns:Iptc4xmpExt="{_IPTC}" '
        f'xmlns:dcgan="{NAMESPACE}" xmp:CreatorTool="{_escape(tool)}" '
        f'Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"{given}'
    )


@dataclass(frozen=True)
class MarkedPicture:
    """A picture of generated images only, and the mark of its PNG file."""

    picture: "Image.Image"
    mark: SyntheticMark

    @classmethod
    def of_tick(cls, grid: "np.ndarray", training_id: str) -> Self:
        """Return the grid of a tick, uint8 `(H, W)` or `(H, W, 3)`. It names the training: no generator is kept."""
        from PIL import Image

        return cls(Image.fromarray(grid), SyntheticMark(training_id=training_id))

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
    text = _NOT_IN_XML.sub("\ufffd", _cut(text))
    return escape(text, {'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"})


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def read_mark(path: Path) -> SyntheticMark | None:
    """Return the mark of a PNG file of any origin, or None if its XMP metadata do not name a trained model.

    Only IPTC's `DigitalSourceType` counts. Other metadata can also say so, such as C2PA manifests: they are not read.

    Raises:
        DataError: if the file is no PNG file, or damaged.
    """
    remedy = "Name a PNG file."
    require_file(path, remedy)
    try:
        with path.open("rb") as file:
            packet = find_packet(file)
        return None if packet is None else _read_packet(packet)
    except OSError as error:
        raise DataError(f"`{path}` must be readable ({error.strerror or error}). {remedy}") from None
    except (ValueError, expat.ExpatError, zlib.error) as error:
        raise DataError(f"`{path}` must be an intact PNG file ({in_short(error)}). {remedy}") from None


def _read_packet(packet: bytes) -> SyntheticMark | None:
    found = read_properties(packet)
    # Some tools write the address with https.
    if found.get(f"{_IPTC} DigitalSourceType", "").replace("https:", "http:", 1) != SOURCE_TYPE:
        return None
    given: dict[str, Any] = {field: _cut(found.get(name, "")) for name, field in _FIELDS.items()}
    for field, rule in _RULES.items():
        if given[field] and not re.fullmatch(rule, given[field]):
            raise ValueError(f"the {field} in its mark must match {rule}")
    for field in ("seed", "index"):
        given[field] = int(given[field]) if given[field] else None
    return SyntheticMark(**given)
