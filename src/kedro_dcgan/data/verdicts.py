"""Verdicts: an input is accepted, or skipped for one reason of a closed list.

Worker processes import this module, so it must load fast.
"""

from enum import StrEnum
from typing import NoReturn

from kedro_dcgan.errors import UnusableImageError

ACCEPTED, SKIPPED = "accepted", "skipped"


class Reason(StrEnum):
    """Why an input is skipped; the values are those of the manifest."""

    EMPTY = "empty"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    UNREADABLE = "unreadable"
    NOT_AN_IMAGE = "not_an_image"
    LFS_POINTER = "lfs_pointer"
    DVC_POINTER = "dvc_pointer"
    UNSUPPORTED = "unsupported"
    TOO_SMALL = "too_small"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_LARGE = "too_large"
    BLANK = "blank"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    NO_BOX = "no_box"
    HIDDEN = "hidden"
    LINK = "link"
    NOT_A_FILE = "not_a_file"


_MEANING = {
    Reason.EMPTY: "an empty file: copy it again",
    Reason.TRUNCATED: "the file is cut off: copy or download it again",
    Reason.CORRUPT: "the image cannot be decoded: copy or download it again",
    Reason.UNREADABLE: "you may not read the file, or its header is damaged",
    Reason.NOT_AN_IMAGE: "not an image, whatever the file name says",
    Reason.LFS_POINTER: "a Git LFS pointer in place of the file: git lfs pull",
    Reason.DVC_POINTER: "a DVC pointer in place of the file: dvc pull",
    Reason.UNSUPPORTED: "an unsupported image format: convert it to JPEG or PNG",
    Reason.TOO_SMALL: "smaller than `ingestion.min_size`: lower that, or choose a smaller image_size",
    Reason.TOO_MANY_PIXELS: "more pixels than `ingestion.max_pixels`",
    Reason.TOO_LARGE: "more bytes than `ingestion.max_file_megabytes`",
    Reason.BLANK: "a single colour",
    Reason.DUPLICATE: "the same bytes as another file, which is kept",
    Reason.NEAR_DUPLICATE: "a near-duplicate of another image, which is kept",
    Reason.NO_BOX: "not in the file of boxes",
    Reason.HIDDEN: "the name begins with a dot: a system file, or hidden on purpose",
    Reason.LINK: "a link: links are not followed",
    Reason.NOT_A_FILE: "a folder, pipe or device",
}

_SUPPORTED = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"II*\x00", b"MM\x00*")
_UNSUPPORTED = {
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"%PDF": "PDF",
    b"8BPS": "Photoshop",
    b"\x00\x00\x01\x00": "icon",
    b"\x00\x00\x00\x0cjP": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL": "JPEG XL",
    b"gimp xcf": "GIMP",
    b"SIMPLE  =": "FITS",
}
# Brands of ISO media files, after `ftyp`.
_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC", b"avif": "AVIF", b"avis": "AVIF"}


def meaning_of(reason: str) -> str:
    """Return a short explanation of a reason, with a remedy if there is one."""
    return _MEANING[Reason(reason)]


def refuse_unidentified(data: bytes) -> NoReturn:
    """Refuse data that Pillow cannot identify, with the best guess of its kind.

    Raises:
        UnusableImageError: always: `lfs_pointer`, `dvc_pointer`, `unsupported`, `unreadable` or `not_an_image`.
    """
    start = data[:1024].lstrip()
    if start.startswith(b"version https://git-lfs"):
        raise UnusableImageError(Reason.LFS_POINTER, "Git LFS pointer: run git lfs pull")
    if start.startswith((b"outs:", b"md5:")) and b"md5:" in start:
        raise UnusableImageError(Reason.DVC_POINTER, "DVC pointer: run dvc pull")
    kind = _unsupported_kind(data, start)
    if kind:
        raise UnusableImageError(Reason.UNSUPPORTED, f"{kind}: convert it to JPEG or PNG")
    if data.startswith(_SUPPORTED):
        raise UnusableImageError(Reason.UNREADABLE, "the header is damaged or cut off")
    if not data.strip(b"\x00"):
        raise UnusableImageError(Reason.UNREADABLE, f"{len(data):,} zero bytes: an incomplete copy")
    if start[:15].lower().startswith((b"<!doctype html", b"<html")):
        raise UnusableImageError(Reason.NOT_AN_IMAGE, "a web page: the download failed")
    raise UnusableImageError(Reason.NOT_AN_IMAGE)


def _unsupported_kind(data: bytes, start: bytes) -> str | None:
    for magic, kind in _UNSUPPORTED.items():
        if data.startswith(magic):
            return kind
    if data[4:8] == b"ftyp" and data[8:12] in _BRANDS:
        return _BRANDS[data[8:12]]
    is_markup = start.startswith((b"<?xml", b"<svg", b"<!--", b"<!DOCTYPE svg"))
    return "SVG" if is_markup and b"<svg" in start else None
