"""Stored files that must be as they were written: their index, their hashes, and what is said if they are not."""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from kedro_dcgan.errors import DataError


def read_index(file: Path, index_format: int, remedy: str) -> dict[str, Any]:
    """Read an index.

    Raises:
        DataError: if it is not there, damaged or of another format.
    """
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"`{file.parent}` must hold prepared images (it does not). {remedy}") from None
    except ValueError:
        raise damaged(file, remedy) from None
    if not isinstance(index, dict):
        raise damaged(file, remedy)
    if index.get("format") != index_format:
        raise DataError(f"`{file.parent}` must be of format {index_format} (got {index.get('format')}). {remedy}")
    return index


def require_sha256(file: Path, sha256: str, remedy: str) -> None:
    """Check a file against its hash: once in a process, if it does not change.

    Raises:
        DataError: if it is missing or damaged.
    """
    try:
        status = file.stat()
    except FileNotFoundError:
        raise damaged(file, remedy, "missing") from None
    if _sha256(file, status.st_size, status.st_mtime_ns) != sha256:
        raise damaged(file, remedy)


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def damaged(file: Path, remedy: str, how: str = "damaged") -> DataError:
    """Return the error that says that a file is not as it was."""
    return DataError(f"`{file}` must be as it was written (it is {how}). {remedy}")


@functools.cache
def _sha256(file: Path, size: int, changed: int) -> str:
    return sha256_of(file)
