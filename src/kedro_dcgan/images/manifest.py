"""The manifest: one row for each input file, with its content hash, its verdict and its split.

It is the dataset's identity. The split depends on nothing but the content hash, so it does not
move when files are added, renamed or listed in another order.
"""

import hashlib
from dataclasses import asdict, dataclass, replace

import pandas as pd

from kedro_dcgan.errors import UnusableImageError
from kedro_dcgan.images.decode import decode

SPLITS = ("train", "validation", "test")
ACCEPTED, SKIPPED = "accepted", "skipped"


@dataclass(frozen=True)
class ImageRecord:
    """What is known of one input file. `width` and `height` are those of the upright image, in pixels."""

    path: str
    sha256: str
    bytes: int
    format: str | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    label: str | None = None
    verdict: str = ACCEPTED
    reason: str | None = None
    detail: str | None = None
    split: str | None = None


def inspect(path: str, data: bytes, min_size: int, max_pixels: int) -> ImageRecord:
    """Judge one file: decode it fully and record what it is, or the reason why it is skipped.

    `path` is relative to the source, with `/`; its folder becomes the label.
    """
    label = path.rpartition("/")[0] or None
    record = ImageRecord(path, hashlib.sha256(data).hexdigest(), len(data), label=label)
    try:
        image, format_name, mode = decode(data, min_size, max_pixels)
    except UnusableImageError as error:
        return replace(record, verdict=SKIPPED, reason=error.reason, detail=str(error))
    return replace(record, format=format_name, width=image.width, height=image.height, mode=mode)


def unreadable(path: str, detail: str) -> ImageRecord:
    """Record a file whose bytes could not be had."""
    return ImageRecord(path, sha256="", bytes=0, verdict=SKIPPED, reason="unreadable", detail=detail)


def assign_split(sha256: str, train: float, validation: float) -> str:
    """Return the split of a content hash: its first 64 bits, read as a fraction of 1, fall into one share."""
    position = int(sha256[:16], 16) / 2**64
    if position < train:
        return "train"
    return "validation" if position < train + validation else "test"


def build_manifest(records: list[ImageRecord], train: float, validation: float) -> pd.DataFrame:
    """Sort the records by path, skip exact duplicates of an earlier one, and give the others their split."""
    first_path: dict[str, str] = {}
    rows = []
    for record in sorted(records, key=lambda record: record.path.encode()):
        if record.verdict == ACCEPTED:
            original = first_path.setdefault(record.sha256, record.path)
            if original == record.path:
                record = replace(record, split=assign_split(record.sha256, train, validation))
            else:
                record = replace(record, verdict=SKIPPED, reason="duplicate", detail=f"same bytes as {original}")
        rows.append(asdict(record))
    manifest = pd.DataFrame(rows, columns=list(ImageRecord.__dataclass_fields__))
    # A column without one value would otherwise get no type of its own, and Parquet would store "null".
    whole = dict.fromkeys(("bytes", "width", "height"), "Int64")
    return manifest.astype({name: whole.get(name, "string") for name in manifest.columns})


def summarise(manifest: pd.DataFrame) -> str:
    """Return one line: `1,797 images scanned · 1,790 accepted · 7 skipped (5 duplicate, 2 empty)`."""
    skipped = manifest.loc[manifest["verdict"] == SKIPPED, "reason"].value_counts()
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in skipped.items())
    accepted = int((manifest["verdict"] == ACCEPTED).sum())
    line = f"{len(manifest):,} images scanned · {accepted:,} accepted · {skipped.sum():,} skipped"
    return f"{line} ({reasons})" if reasons else line
