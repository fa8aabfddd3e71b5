"""Scan a block of inputs, the unit of work, into records and pixels. A pure function, for any pool or cluster.

Each input is read once: one pass gives its hash, its verdict and its pixels, or a thumbnail if it is skipped. Worker
processes import this module: it needs numpy and Pillow and nothing that is slow to import.
"""

import hashlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from kedro_dcgan.data import ACCEPTED, SKIPPED, Reason, transforms
from kedro_dcgan.data.decode import open_image, open_with_pillow, read_pixels, strict_pillow
from kedro_dcgan.data.duplicates import perceptual_hashes
from kedro_dcgan.data.plain import Header
from kedro_dcgan.data.sources import Block, Input, is_side_file
from kedro_dcgan.data.transforms import Preparation, Region
from kedro_dcgan.errors import UnusableImageError

# A JPEG may be decoded at a fraction of its size if that leaves this many times the pixels asked for: at 2 the result
# differs from that of a full decode by 0.4 levels in the mean (benchmarks/ingestion.py).
_OVERSAMPLING = 2
# Limits of one task.
_MAX_BYTES, _MAX_IMAGES = 2_000_000, 64
# Maximum thumbnails of skipped inputs per reason: of a scan, as many as a contact sheet shows, and of a block.
MAX_THUMBNAILS = 48
_MAX_THUMBNAILS_PER_BLOCK = 4
_THUMBNAIL_SIDE = 96
# With one of these reasons a file is beside the images, if its name says so.
_SIDE_REASONS = (Reason.NOT_AN_IMAGE, Reason.UNSUPPORTED, Reason.EMPTY, Reason.TOO_LARGE)
_SHOWABLE = (Reason.TOO_SMALL, Reason.BLANK, Reason.TRUNCATED, Reason.CORRUPT, Reason.NO_BOX)

# An alias, because `ImageRecord` has a field named `bytes`.
Jpeg = bytes


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """The facts about one input. `width` and `height` are those of the upright image, in pixels.

    `box`, as `left,top,right,bottom`, is the box that it was cropped around; `row` is the row of its pixels;
    `perceptual_hash` has 64 bits; `thumbnail` is a JPEG, of a few of the skipped inputs.
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
    """A block, and the boxes of its inputs by path, or None if no boxes are used."""

    block: Block
    boxes: Mapping[str, Region] | None = None


@dataclass(frozen=True)
class ScannedBlock:
    """One record for each input, in order, and the pixels of the accepted ones, uint8 `(accepted, channels, H, W)`."""

    records: list[ImageRecord]
    pixels: np.ndarray = field(repr=False)
    fingerprint: str


def images_per_block(image_size: int, channels: int) -> int:
    """Return how many images one task prepares: 64, or as many as fit into 2 megabytes."""
    return min(_MAX_IMAGES, max(1, _MAX_BYTES // (image_size * image_size * channels)))


def images_per_shard(image_size: int, channels: int, megabytes: int) -> int:
    """Return how many images fill a shard of that many megabytes (10^6 bytes): whole blocks, at least one."""
    block = images_per_block(image_size, channels)
    return block * max(1, megabytes * 1_000_000 // (image_size * image_size * channels * block))


def scan_block(task: ScanTask, preparation: Preparation) -> ScannedBlock:
    """Judge and prepare the inputs of a block; a problem of a single input goes into its record."""
    fingerprint = task.block.fingerprint()
    shape = (len(task.block.paths), preparation.channels, preparation.image_size, preparation.image_size)
    pixels, fields_of_inputs, count = np.empty(shape, dtype=np.uint8), [], 0
    thumbnails = Counter[str]()
    with strict_pillow():
        for item in task.block.read():
            fields, prepared = _scan(item, preparation, task.boxes)
            if prepared is not None:
                pixels[count] = prepared
                fields["row"] = count
                count += 1
            elif thumbnails[fields["reason"]] < _MAX_THUMBNAILS_PER_BLOCK:
                fields["thumbnail"] = draw_thumbnail(item.data, fields["reason"], preparation)
                thumbnails[fields["reason"]] += fields["thumbnail"] is not None
            fields_of_inputs.append(fields)
    if preparation.perceptual_hash:
        accepted = [fields for fields in fields_of_inputs if "row" in fields]
        for fields, perceptual_hash in zip(accepted, perceptual_hashes(pixels[:count]), strict=True):
            fields["perceptual_hash"] = int(perceptual_hash)
    return ScannedBlock([ImageRecord(**fields) for fields in fields_of_inputs], pixels[:count], fingerprint)


def _scan(
    item: Input, preparation: Preparation, boxes: Mapping[str, Region] | None
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Return the fields of the record that are known when the input is accepted or skipped, and the pixels."""
    fields: dict[str, Any] = {"path": item.path, "bytes": len(item.data), "label": item.label}
    try:
        if item.problem is not None:
            raise item.problem
        fields["sha256"] = hashlib.sha256(item.data).hexdigest()
        header = open_image(item.data, preparation.max_pixels)
        fields |= {"format": header.format, "width": header.width, "height": header.height, "mode": header.mode}
        if boxes is not None and item.path not in boxes:
            raise UnusableImageError(Reason.NO_BOX)
        box = boxes[item.path] if boxes is not None else None
        fields["box"] = ",".join(map(str, box)) if box else None
        pixels = prepare(header, preparation, box)
    except UnusableImageError as error:
        return {**fields, "verdict": SKIPPED, "reason": skip_reason(error, item), "detail": error.detail or None}, None
    return fields, pixels


def skip_reason(error: UnusableImageError, item: Input) -> str:
    """Return the reason to skip an input: a file beside the images, such as `0001.json`, is no bad image."""
    is_beside = error.reason in _SIDE_REASONS and is_side_file(item.path)
    return Reason.SIDE_FILE if is_beside else error.reason


def prepare(header: Header, preparation: Preparation, box: Region | None = None) -> np.ndarray:
    """Decode, crop, resize and pad an image to uint8 `(channels, image_size, image_size)`."""
    crop, size, orientation = preparation.crop, preparation.image_size, header.orientation
    region = crop.region(header.width, header.height, box)
    side = min(region[2] - region[0], region[3] - region[1])
    min_side = max(preparation.min_size, crop.side or 0)
    if side < min_side:
        what = "the box" if box else "the image"
        detail = f"the shorter side of {what} has {max(side, 0)} pixels, minimum {min_side}"
        raise UnusableImageError(Reason.TOO_SMALL, detail)
    reduction = side / (_OVERSAMPLING * size)
    pixels, reduced_by = read_pixels(header, preparation.background, preparation.channels == 1, reduction)
    # Resize before turning upright: fewer pixels to turn.
    left, top, right, bottom = transforms.region_in_file(region, header.width, header.height, orientation)
    reduced_region = (left / reduced_by, top / reduced_by, right / reduced_by, bottom / reduced_by)
    size_in_file = transforms.upright_size(crop.resized_size(region, size), orientation)
    resized = transforms.resize(pixels, reduced_region, size_in_file, preparation.resample)
    image = transforms.set_upright(resized, orientation)
    if (image == image[0, 0]).all():
        raise UnusableImageError(Reason.BLANK)
    return transforms.pad(image, size, preparation.background).transpose(2, 0, 1)


def draw_thumbnail(data: bytes, reason: str, preparation: Preparation) -> Jpeg | None:
    """Return a skipped image as a JPEG that fits 96x96, also if it is truncated, or None if it cannot be shown."""
    if reason not in _SHOWABLE:
        return None
    try:
        header = open_image(data, preparation.max_pixels)
        reduction = max(1.0, max(header.width, header.height) / (_OVERSAMPLING * _THUMBNAIL_SIDE))
        try:
            pixels, _ = read_pixels(header, preparation.background, reduction=reduction)
        except UnusableImageError:
            # Show the rows before the damage.
            damaged = open_with_pillow(header.data)
            with suppress(OSError):
                damaged.load()
            damaged.tile = []  # Keep Pillow from decoding again.
            damaged.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
            pixels = np.asarray(damaged.convert("RGB"))
        upright = transforms.set_upright(pixels, header.orientation)
        image = Image.fromarray(np.ascontiguousarray(upright if upright.shape[2] == 3 else upright[:, :, 0]))
        image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=80)
    except Exception:  # The record has its reason already: a missing thumbnail adds nothing.
        return None
    return stream.getvalue()


def drop_surplus(
    thumbnails: Sequence[bytes | None], reasons: Sequence[str | None], pictured: Counter[str]
) -> list[bytes | None]:
    """Keep the first thumbnails of each reason; `pictured`, the number so far by reason, is updated."""
    kept = list(thumbnails)
    for place, reason in enumerate(reasons):
        if reason is not None and kept[place] is not None:
            pictured[reason] += 1
            kept[place] = kept[place] if pictured[reason] <= MAX_THUMBNAILS else None
    return kept
