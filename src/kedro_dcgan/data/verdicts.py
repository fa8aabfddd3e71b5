"""Verdicts: an input is accepted, or skipped for one reason of a closed list."""

from enum import StrEnum

ACCEPTED, SKIPPED = "accepted", "skipped"


class Reason(StrEnum):
    """Why an input is skipped, as the manifest has it."""

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
    Reason.EMPTY: "a file of no bytes: copy it again",
    Reason.TRUNCATED: "the file ends before the picture does: copy or download it again",
    Reason.CORRUPT: "it cannot be decoded: copy or download it again",
    Reason.UNREADABLE: "the file may not be read, or its header is damaged",
    Reason.NOT_AN_IMAGE: "something else than a picture, whatever its name says",
    Reason.LFS_POINTER: "a note by Git LFS in place of the file: git lfs pull",
    Reason.DVC_POINTER: "a note by DVC in place of the file: dvc pull",
    Reason.UNSUPPORTED: "a picture of a kind that is not read: convert it to JPEG or PNG",
    Reason.TOO_SMALL: "smaller than `ingestion.min_size`: lower that, or choose a smaller image_size",
    Reason.TOO_MANY_PIXELS: "more pixels than `ingestion.max_pixels`",
    Reason.TOO_LARGE: "more bytes than `ingestion.max_file_megabytes`",
    Reason.BLANK: "one colour all over",
    Reason.DUPLICATE: "the same bytes as another file, which is kept",
    Reason.NEAR_DUPLICATE: "looks like another picture, which is kept",
    Reason.NO_BOX: "not in the file of boxes",
    Reason.HIDDEN: "its name begins with a dot: clutter of the system, or not meant to be seen",
    Reason.LINK: "a link: links are not followed",
    Reason.NOT_A_FILE: "a folder, pipe or device",
}


def meaning_of(reason: str) -> str:
    """Return what a reason means in words, with what a person can do."""
    return _MEANING[Reason(reason)]
