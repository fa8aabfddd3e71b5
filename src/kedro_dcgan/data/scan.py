"""The unit of work: some inputs in, their records and their pixels out. A pure function, for any pool or cluster.

Each input is read once: one pass gives its hash, its verdict and its pixels. This module is imported
by worker processes: it needs numpy and Pillow and nothing that is slow to import.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from kedro_dcgan.data.decode import Colour, Header, open_image, read_pixels, strict_pillow
from kedro_dcgan.data.duplicates import perceptual_hashes
from kedro_dcgan.data.orientation import Region, region_in_file, set_upright, upright_size
from kedro_dcgan.data.thumbnails import Thumbnails
from kedro_dcgan.data.transforms import Crop, Resample, is_blank, pad, resize
from kedro_dcgan.data.verdicts import ACCEPTED, SKIPPED, Reason
from kedro_dcgan.errors import UnusableImageError

# A JPEG may be decoded at a fraction of its size if that leaves this many times the pixels asked for:
# at 2 the result differs from that of a full decode by 0.4 levels in the mean (benchmarks/ingestion.py).
_SPARE = 2

Jpeg = bytes


@dataclass(frozen=True, slots=True)
class Input:
    """One file of a source: its bytes, or why they could not be had."""

    path: str
    data: bytes = b""
    label: str | None = None
    problem: UnusableImageError | None = None


class Block(Protocol):
    """Some consecutive inputs of a source, cheap to send to another process and read there."""

    @property
    def paths(self) -> Sequence[str]:
        """The inputs' paths, for the manifest."""

    def fingerprint(self) -> str:
        """Return what changes when an input does, without reading it."""

    def read(self) -> Iterator[Input]:
        """Yield the inputs, in the order of `paths`."""


@dataclass(frozen=True)
class Preparation:
    """Everything that decides what an input becomes, apart from the input; `boxes` names the file of boxes."""

    image_size: int
    channels: int
    resample: Resample
    crop: Crop
    background: Colour
    min_size: int
    max_pixels: int
    max_file_bytes: int
    perceptual_hash: bool = False
    boxes: str | None = None
    boxes_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What is known of one input. `width` and `height` are those of the upright image, in pixels.

    `box`, as `left,top,right,bottom`, is what it was cut around; `row` is where its pixels are;
    `perceptual_hash` has 64 bits; `thumbnail` is a JPEG, of a few of the skipped.
    """

    path: str
    sha256: str = ""
    bytes: int = 0
    format: str | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    label: str | None = None
    box: str | None = None
    verdict: str = ACCEPTED
    reason: str | None = None
    detail: str | None = None
    row: int | None = None
    perceptual_hash: int | None = None
    thumbnail: Jpeg | None = None


@dataclass(frozen=True)
class ScanTask:
    """A block and the boxes, by path, of those of its inputs that have one (none at all: no boxes are used)."""

    block: Block
    boxes: Mapping[str, Region] | None = None


@dataclass(frozen=True)
class ScannedBlock:
    """One record an input, in their order; pixels of the accepted ones, uint8 `(accepted, channels, size, size)`."""

    records: list[ImageRecord]
    pixels: np.ndarray = field(repr=False)
    fingerprint: str


def scan_block(task: ScanTask, preparation: Preparation) -> ScannedBlock:
    """Judge and prepare the inputs of a block.

    Raises:
        SourceError: if the source is gone. What is wrong with a single input goes into its record.
    """
    fingerprint = task.block.fingerprint()
    shape = (len(task.block.paths), preparation.channels, preparation.image_size, preparation.image_size)
    pixels, gathered, count = np.empty(shape, dtype=np.uint8), [], 0
    thumbnails = Thumbnails(preparation.background)
    with strict_pillow():
        for item in task.block.read():
            known, prepared = _scan(item, preparation, task.boxes)
            if prepared is None:
                known["thumbnail"] = thumbnails.of(item.data, known["reason"], preparation.max_pixels)
            else:
                pixels[count] = prepared
                known["row"] = count
                count += 1
            gathered.append(known)
    if preparation.perceptual_hash:
        accepted = [known for known in gathered if "row" in known]
        for known, perceptual_hash in zip(accepted, perceptual_hashes(pixels[:count]), strict=True):
            known["perceptual_hash"] = int(perceptual_hash)
    return ScannedBlock([ImageRecord(**known) for known in gathered], pixels[:count], fingerprint)


def _scan(
    item: Input, preparation: Preparation, boxes: Mapping[str, Region] | None
) -> tuple[dict[str, Any], np.ndarray | None]:
    # The fields of its record, gathered as they become known.
    known: dict[str, Any] = {"path": item.path, "bytes": len(item.data), "label": item.label}
    try:
        if item.problem is not None:
            raise item.problem
        known["sha256"] = hashlib.sha256(item.data).hexdigest()
        header = open_image(item.data, preparation.max_pixels)
        known |= {"format": header.format, "width": header.width, "height": header.height, "mode": header.mode}
        box = _box_of(item.path, boxes)
        known["box"] = ",".join(map(str, box)) if box else None
        pixels = _prepare(header, preparation, box)
    except UnusableImageError as error:
        return {**known, "verdict": SKIPPED, "reason": error.reason, "detail": error.detail or None}, None
    return known, pixels


def _prepare(header: Header, preparation: Preparation, box: Region | None) -> np.ndarray:
    crop, size, orientation = preparation.crop, preparation.image_size, header.orientation
    region = crop.region(header.width, header.height, box)
    side = min(region[2] - region[0], region[3] - region[1])
    least = max(preparation.min_size, crop.side or 0)
    if side < least:
        what = "of its box" if box else "of the image"
        raise UnusableImageError(Reason.TOO_SMALL, f"the shorter side {what} has {max(side, 0)} pixels, least {least}")
    pixels, reduced_by = read_pixels(header, preparation.background, preparation.channels == 1, side / (_SPARE * size))
    # It is turned when it is small.
    left, top, right, bottom = region_in_file(region, header.width, header.height, orientation)
    in_pixels = (left / reduced_by, top / reduced_by, right / reduced_by, bottom / reduced_by)
    size_in_file = upright_size(crop.size_of(region, size), orientation)
    picture = set_upright(resize(pixels, in_pixels, size_in_file, preparation.resample), orientation)
    if is_blank(picture):
        raise UnusableImageError(Reason.BLANK)
    return pad(picture, size, preparation.background).transpose(2, 0, 1)


def _box_of(path: str, boxes: Mapping[str, Region] | None) -> Region | None:
    if boxes is None:
        return None
    if path not in boxes:
        raise UnusableImageError(Reason.NO_BOX)
    return boxes[path]
