"""Files and folders that appear whole or not at all."""

import errno
import functools
import glob
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kedro_dcgan.errors import DataError, DiskFullError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def name_a_full_disk(path: Path) -> Iterator[None]:
    """Turn the many errors that a full disk ends in, while `path` is written, into one.

    Raises:
        DiskFullError: in one line.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        # Kedro's datasets wrap what the system says.
        while cause and not (isinstance(cause, OSError) and cause.errno in _FULL):
            cause = cause.__cause__ or cause.__context__
        if not isinstance(cause, OSError):
            raise
        raise DiskFullError(
            f"the disk of `{path}` must have room for it ({cause.strerror}). What was there before is as it was. "
            "Free some space and run again."
        ) from None


def require_room(path: Path, nbytes: int, what: str) -> None:
    """Check that the disk that `path` is going to be on has so many bytes free.

    Raises:
        DiskFullError: if it has not.
    """
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < nbytes:
        raise DiskFullError(
            f"the disk of `{path}` must have room for {what}, {nbytes / 1e6:,.0f} MB (it has {free / 1e6:,.0f} MB). "
            "Free some space, or name another place in conf/base/catalog.yml."
        )


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with the same suffix; on success it is synced and takes `path`'s place.

    After an error the temporary file is gone and `path` is as it was.

    Raises:
        DiskFullError: if there is no room.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.incomplete{path.suffix}")
    try:
        with name_a_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new, empty folder beside `path`; on success its files are synced and it takes `path`'s place.

    After an error the temporary folder is gone and `path` is as it was. A link to a folder stays one.

    Raises:
        DiskFullError: if there is no room.
    """
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.incomplete")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with name_a_full_disk(path):
            temporary.mkdir(parents=True)
            yield temporary
            replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(finished: Path, path: Path) -> None:
    """Sync a folder's files and put it in the place of `path`, beside which it must be."""
    retired = path.with_name(f".{path.name}.{os.getpid()}.retired")
    for written in [*finished.rglob("*"), finished]:
        _sync(written)
    # A folder cannot be renamed onto one that has files: the old one steps aside first.
    if path.exists():
        path.rename(retired)
    finished.rename(path)
    _sync(path.parent)
    shutil.rmtree(retired, ignore_errors=True)


def sweep(path: Path) -> None:
    """Remove what killed processes left beside `path`; put the old folder back if one died while replacing it.

    Only for the holder of the lock on `path`: another process may be writing right now.
    """
    if path.is_dir():
        # It may be a link to a folder on a larger disk.
        path = path.resolve()
    for left in path.parent.glob(f".{glob.escape(path.stem)}*.*"):
        name = re.fullmatch(r"\.(.+)\.\d+\.(incomplete|retired)(\..+)?", left.name)
        if not name or f"{name[1]}{name[3] or ''}" != path.name:
            continue
        if name[2] == "retired" and not path.exists():
            left.rename(path)
        elif left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# TODO(merge) integrity


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
