"""Files and folders on disk: written atomically, with clear errors for a full disk.

A reader sees the old content or the new one, never a mixture. A killed process leaves only hidden temporary files.
"""

import errno
import glob
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kedro_dcgan.errors import DiskFullError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, with the same suffix; on success, sync it and move it to `path`.

    After an error, such as `DiskFullError`, the temporary file is deleted and `path` is unchanged.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.incomplete{path.suffix}")
    try:
        with report_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new, empty folder next to `path`; on success, sync its files and move it to `path`.

    After an error, such as `DiskFullError`, the temporary folder is deleted and `path` is unchanged. A symbolic link is
    followed and kept.
    """
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.incomplete")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with report_full_disk(path):
            temporary.mkdir(parents=True)
            yield temporary
            replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(finished: Path, path: Path) -> None:
    """Sync the files of a folder and move it to `path`, in the same parent folder."""
    retired = path.with_name(f".{path.name}.{os.getpid()}.retired")
    for written in [*finished.rglob("*"), finished]:
        _sync(written)
    # A folder cannot replace a folder that has files, so move the old one away first.
    if path.exists():
        path.rename(retired)
    finished.rename(path)
    _sync(path.parent)
    shutil.rmtree(retired, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Delete the temporary files that killed processes left for `path`; restore a folder that one was replacing.

    The caller must hold the lock of `path`: otherwise, another process may be writing.
    """
    if path.is_dir():
        # It may be a symbolic link to a folder on another disk.
        path = path.resolve()
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}*.*"):
        name = re.fullmatch(r"\.(.+)\.\d+\.(incomplete|retired)(\..+)?", leftover.name)
        if not name or f"{name[1]}{name[3] or ''}" != path.name:
            continue
        if name[2] == "retired" and not path.exists():
            leftover.rename(path)
        elif leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def report_full_disk(path: Path) -> Iterator[None]:
    """Turn any error that a full disk causes while `path` is written into a `DiskFullError` of one line."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        # Kedro's datasets and other libraries wrap the `OSError`.
        while cause and not (isinstance(cause, OSError) and cause.errno in _FULL):
            cause = cause.__cause__ or cause.__context__
        if not isinstance(cause, OSError):
            raise
        raise DiskFullError(
            f"the disk of `{path}` must have room for it ({cause.strerror}). Its previous content is unchanged. "
            "Free some space and run again."
        ) from None


def require_disk_space(path: Path, nbytes: int, content: str) -> None:
    """Raise a `DiskFullError` if the disk that `path` will be written to has less than `nbytes` free."""
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < nbytes:
        raise DiskFullError(
            f"the disk of `{path}` must have room for {content}, {nbytes / 1e6:,.0f} MB (it has {free / 1e6:,.0f} MB). "
            "Free some space, or set another path in conf/base/catalog.yml."
        )


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
