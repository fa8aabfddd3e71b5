"""Files and folders that appear whole or not at all."""

import glob
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with the same suffix; on success it is synced and takes `path`'s place.

    After an error the temporary file is gone and `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.incomplete{path.suffix}")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new, empty folder beside `path`; on success its files are synced and it takes `path`'s place.

    After an error the temporary folder is gone and `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.incomplete")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
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
    for left in path.parent.glob(f".{glob.escape(path.stem)}*.*"):
        name = re.fullmatch(r"\.(.+)\.\d+\.(incomplete|retired)(\..+)?", left.name)
        if not name or f"{name[1]}{name[3] or ''}" != path.name:
            continue
        if name[2] == "retired" and not path.exists():
            left.rename(path)
        elif left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
