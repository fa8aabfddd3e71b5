"""What bytes are that are no image of ours: a person with a folder of odd files wants to know."""

from typing import NoReturn

from kedro_dcgan.data.verdicts import Reason
from kedro_dcgan.errors import UnusableImageError

_OURS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"II*\x00", b"MM\x00*")
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
_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC", b"avif": "AVIF", b"avis": "AVIF"}


def refuse_unidentified(data: bytes) -> NoReturn:
    """Say what `data`, which Pillow does not know, seem to be.

    Raises:
        UnusableImageError: `lfs_pointer`, `dvc_pointer`, `unsupported`, `unreadable` or `not_an_image`; always.
    """
    start = data[:1024].lstrip()
    if start.startswith(b"version https://git-lfs"):
        raise UnusableImageError(Reason.LFS_POINTER, "Git LFS pointer: run git lfs pull")
    if start.startswith((b"outs:", b"md5:")) and b"md5:" in start:
        raise UnusableImageError(Reason.DVC_POINTER, "DVC pointer: run dvc pull")
    kind = _unsupported_kind(data, start)
    if kind:
        raise UnusableImageError(Reason.UNSUPPORTED, f"{kind}: convert it to JPEG or PNG")
    if data.startswith(_OURS):
        raise UnusableImageError(Reason.UNREADABLE, "the header is damaged or cut off")
    if not data.strip(b"\x00"):
        raise UnusableImageError(Reason.UNREADABLE, f"{len(data):,} zero bytes: a copy that failed")
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
