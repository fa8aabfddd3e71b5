"""From files of any kind to prepared images: sources, decoding, transforms, shards, manifest.

Each input gets a verdict: it is accepted, or skipped for a `Reason`.
"""

from enum import StrEnum
from typing import Self

ACCEPTED, SKIPPED = "accepted", "skipped"


class Reason(StrEnum):
    """Why an input is skipped: the value in the manifest, and its `meaning`, with a remedy if there is one."""

    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> Self:
        """Make a member from its value and its meaning."""
        member = str.__new__(cls, value)
        member._value_, member.meaning = value, meaning
        return member

    EMPTY = "empty", "an empty file: copy it again"
    TRUNCATED = "truncated", "the file is cut off: copy or download it again"
    CORRUPT = "corrupt", "the image cannot be decoded: copy or download it again"
    UNREADABLE = "unreadable", "you may not read the file, or its header is damaged"
    NOT_AN_IMAGE = "not_an_image", "not an image, whatever the file name says"
    LFS_POINTER = "lfs_pointer", "a Git LFS pointer in place of the file: git lfs pull"
    DVC_POINTER = "dvc_pointer", "a DVC pointer in place of the file: dvc pull"
    UNSUPPORTED = (
        "unsupported",
        "a kind of picture that is not read, or an archive: convert it to 8-bit JPEG or PNG, or unpack it",
    )
    TOO_SMALL = "too_small", "smaller than `ingestion.min_size`: lower that, or choose a smaller image_size"
    TOO_MANY_PIXELS = "too_many_pixels", "more pixels than `ingestion.max_pixels`"
    TOO_LARGE = "too_large", "more bytes than `ingestion.max_file_megabytes`"
    BLANK = "blank", "a single colour"
    DUPLICATE = "duplicate", "the same bytes as another file, which is kept"
    NEAR_DUPLICATE = "near_duplicate", "a near-duplicate of another image, which is kept"
    NO_BOX = "no_box", "not in the file of boxes"
    HIDDEN = "hidden", "the name begins with a dot: a system file, or hidden on purpose"
    SIDE_FILE = "side_file", "a file that comes with images, such as labels, captions or a README"
    LINK = "link", "a link: links are not followed"
    NOT_A_FILE = "not_a_file", "a folder, pipe or device"


# Not counted as skipped images: a zip made on a Mac has a hidden entry per file, and WebDataset a label file per image.
NOT_COUNTED = (Reason.HIDDEN, Reason.LINK, Reason.NOT_A_FILE, Reason.SIDE_FILE)
