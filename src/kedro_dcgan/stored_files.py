"""Files that are read back: JSON of a known type with a checksum of its content, and files of a known SHA-256.

Any fault gives one `DamagedFileError` before anything large is allocated. Links are followed, because DVC may replace
files with links into its cache.
"""

import errno
import functools
import hashlib
import json
import stat
from collections.abc import Mapping
from os import stat_result
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from kedro_dcgan.errors import DataError, in_short
from kedro_dcgan.storage import sha256_of

# The key of the checksum of all other keys but `source`: equal images have equal indexes, whatever the container they
# come from. Files of earlier versions have none.
CHECKSUM = "checksum"

Content = TypeVar("Content")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# It cannot lead out of a folder.
FolderName = Annotated[str, Field(pattern=r"^\w[\w-]*$", max_length=64)]
Count = Annotated[int, Field(ge=0, lt=2**53)]


class StoredModel(BaseModel):
    """The content of a JSON file: no unknown keys, no conversions (`"32"` is not an int), no NaN."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class DamagedFileError(DataError):
    """A stored file is missing, damaged, or not the one that was written."""


class OtherFormatError(DamagedFileError):
    """A stored file has another format: an earlier or later version of this package wrote it."""


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object and its checksum. UTF-8 has no lone surrogates: they become question marks."""
    text = json.dumps(dict(content), ensure_ascii=False).encode("utf-8", "replace")
    stored = json.loads(text)
    stored[CHECKSUM] = _checksum(stored)
    file.write_text(json.dumps(stored, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(file: Path, model: type[Content], remedy: str, max_bytes: int = 4_000_000) -> Content:
    """Read a JSON object as a pydantic model or a dataclass; a file without a checksum is accepted.

    Raises:
        OtherFormatError: if its `format` is another integer than the one that the model allows.
        DamagedFileError: for any other fault; the message names the file, the field, the rule and `remedy`.
    """
    size = require_file(file, remedy).st_size
    if size > max_bytes:
        raise DamagedFileError(f"`{file}` must have at most {max_bytes:,} bytes (got {size:,}). {remedy}")
    try:
        content = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_unique)
        if not isinstance(content, dict):
            raise ValueError("it is not an object")
        checksum = content.pop(CHECKSUM, None)
        is_changed = checksum is not None and checksum != _checksum(content)
        text = json.dumps(content)
    except OSError as error:
        raise _unreadable(file, error, remedy) from None
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"`{file}` must be valid JSON in UTF-8 ({in_short(error)}). {remedy}") from None
    try:
        validated: Content = _adapter(model).validate_json(text, strict=True)  # type: ignore[arg-type]  # classes are hashable
    except ValidationError as error:
        raise _invalid(file, error, remedy) from None
    if is_changed:
        raise DamagedFileError(f"`{file}` must have the content of its `{CHECKSUM}` (it was changed). {remedy}")
    return validated


def require_file(file: Path, remedy: str) -> stat_result:
    """Return the size and times of a regular file, or of the target of a link; raise DamagedFileError for others."""
    try:
        status = file.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise DamagedFileError(f"`{file}` must exist (it is missing). {remedy}") from None
        raise _unreadable(file, error, remedy) from None
    if not stat.S_ISREG(status.st_mode):
        raise DamagedFileError(f"`{file}` must be a regular file (it is a folder, pipe or device). {remedy}")
    return status


def require_sha256(file: Path, sha256: str, remedy: str) -> None:
    """Raise DamagedFileError unless a file exists and has this hash. A file is hashed once per process."""
    status = require_file(file, remedy)
    try:
        stored = _cached_sha256(file, status.st_ino, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise _unreadable(file, error, remedy) from None
    if stored != sha256:
        raise DamagedFileError(f"`{file}` must have the stored SHA-256 (it is damaged or was replaced). {remedy}")


@functools.cache
def _cached_sha256(file: Path, inode: int, size: int, modified: int) -> str:
    return sha256_of(file)


@functools.cache
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def _checksum(content: Mapping[str, Any]) -> str:
    checked = {key: value for key, value in content.items() if key != "source"}
    return hashlib.sha256(json.dumps(checked, sort_keys=True).encode()).hexdigest()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key occurs twice")
    return content


def _unreadable(file: Path, error: OSError, remedy: str) -> DataError:
    # A wrong permission or a failing disk: the file itself may be intact.
    return DataError(f"`{file}` must be readable ({error.strerror or error}). {remedy}")


def _invalid(file: Path, error: ValidationError, remedy: str) -> DamagedFileError:
    """Return the error for the first fault; another format explains all others."""
    faults = error.errors(include_url=False)
    fault = next((fault for fault in faults if fault["loc"] == ("format",)), faults[0])
    kind, message = fault["type"], fault["msg"].replace("\n", " ")
    # Names and values come from the file: shorten them, and keep them on one line.
    name, got = (
        text if len(text) <= 60 else f"{text[:60]}…"
        for text in (repr(".".join(map(str, fault["loc"])))[1:-1], f"got {fault['input']!r}")
    )
    if kind in ("missing", "missing_argument"):
        rule, got = "be given", "it is missing"
    elif kind in ("extra_forbidden", "unexpected_keyword_argument"):
        rule, got = "be a known key", "it is not"
    else:
        is_rule = message.startswith("Input should be ")
        rule = f"be {message.removeprefix('Input should be ')}" if is_rule else f"be valid: {message}"
    is_other_format = fault["loc"] == ("format",) and type(fault["input"]) is int
    error_type = OtherFormatError if is_other_format else DamagedFileError
    return error_type(f"`{name}` in `{file}` must {rule} ({got}). {remedy}")
