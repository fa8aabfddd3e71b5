"""Files and folders on disk: atomic writes, and clear errors for a full or read-only disk.

A reader sees the old content or the new one, never a mixture. A killed process leaves only hidden temporary files.

A folder that is a mount point, such as a volume of a container, cannot be renamed: its files are replaced one by one.
JSON files, which describe the others, go first and come last. So a reader may find the folder incomplete for a moment,
but never takes a mixture for complete data.
"""

import errno
import glob
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kedro_dcgan.errors import DataError, DcganError, DiskFullError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNWRITABLE = (
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.EIO,  # a damaged disk
    errno.ESTALE,  # the server of the folder was restarted
)
# A mount point is busy. In a container, a folder of the image is on another layer than its new name.
_NOT_RENAMABLE = (errno.EBUSY, errno.EXDEV)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, with the same suffix; on success, sync it and move it to `path`.

    After an error, such as `DiskFullError`, the temporary file is deleted and `path` is unchanged.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.incomplete{path.suffix}")
    try:
        with report_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _sync(temporary)
            try:
                temporary.replace(path)
            except OSError as error:
                if error.errno not in _NOT_RENAMABLE:
                    raise
                # The file is a mount point.
                shutil.copyfile(temporary, path)
                _sync(path)
            _sync(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new, empty folder on the disk of `path`; on success, sync its files and move it to `path`.

    After an error, such as `DiskFullError`, the temporary folder is deleted and `path` is unchanged. A symbolic link is
    followed and kept.
    """
    path = path.resolve()
    temporary = staging_folder(path) / f".{path.name}.{os.getpid()}.incomplete"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with report_write_errors(path):
            temporary.mkdir(parents=True)
            yield temporary
            replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def staging_folder(path: Path) -> Path:
    """Return the folder in which to prepare the new content of `path`: its parent, or itself if it is a mount point."""
    import psutil  # Not installed where a generator is served.

    # `os.path.ismount` misses a folder of the same disk that is mounted there.
    is_mount_point = str(path) in (mount.mountpoint for mount in psutil.disk_partitions(all=True))
    return path if is_mount_point else path.parent


def replace_folder(finished: Path, path: Path) -> None:
    """Sync the files of a folder in `staging_folder(path)` and move it to `path`."""
    retired = path.with_name(f".{path.name}.{os.getpid()}.retired")
    for written in [*finished.rglob("*"), finished]:
        _sync(written)
    try:
        # A folder cannot replace a folder that has files, so move the old one away first.
        if path.exists():
            path.rename(retired)
        finished.rename(path)
    except OSError as error:
        if error.errno not in _NOT_RENAMABLE:
            raise
        _replace_content(finished, path)
    _sync(path.parent)
    shutil.rmtree(retired, ignore_errors=True)


def _replace_content(finished: Path, path: Path) -> None:
    def is_description(file: Path) -> bool:
        return file.suffix == ".json"

    for old in sorted(path.iterdir(), key=is_description, reverse=True):
        # Disks have entries of their own that nobody can delete: lost+found, .snapshot.
        if not old.name.startswith(".") and old.name != "lost+found":
            _remove(old)
    for new in sorted(finished.iterdir(), key=is_description):
        if is_description(new):
            _sync(path)
        shutil.move(new, path / new.name)
    finished.rmdir()
    _sync(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def remove_leftovers(path: Path) -> None:
    """Delete the temporary files that killed processes left for `path`; restore a folder that one was replacing.

    The caller must hold the lock of `path`: otherwise, another process may be writing.
    """
    if path.is_dir():
        # It may be a symbolic link to a folder on another disk.
        path = path.resolve()
    pattern = f".{glob.escape(path.stem)}*.*"
    for leftover in [*path.parent.glob(pattern), *path.glob(pattern)]:
        name = re.fullmatch(r"\.(.+)\.\d+\.(incomplete|retired)(\..+)?", leftover.name)
        if not name or f"{name[1]}{name[3] or ''}" != path.name:
            continue
        if name[2] == "retired" and not path.exists():
            leftover.rename(path)
        else:
            _remove(leftover)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def report_write_errors(path: Path) -> Iterator[None]:
    """Turn an error that a full or read-only disk causes while `path` is written into one line.

    Raises:
        DiskFullError: if the disk or the user's quota is full.
        DataError: if the disk is read-only, or the user may not write there.
    """
    try:
        yield
    except Exception as error:
        # An error of this package, such as one about the source, has named its cause.
        is_explained = isinstance(error, DcganError) and not isinstance(error, DiskFullError)
        cause: BaseException | None = None if is_explained else error
        # Kedro's datasets and other libraries wrap the `OSError`.
        while cause and not _is_write_error(cause, path):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        problem = os.strerror(_error_number(cause))
        if _error_number(cause) in _UNWRITABLE:
            raise unwritable(path, problem) from None
        raise DiskFullError(
            f"the disk of `{path}` must have room for it ({problem}). Its previous content is unchanged. "
            "Free some space and run again."
        ) from None


def _is_write_error(error: BaseException, path: Path) -> bool:
    number = _error_number(error)
    # Permission may also be missing for a file that is read while `path` is written.
    name = getattr(error, "filename", None)
    file = Path(os.fsdecode(name)) if isinstance(name, (str, bytes)) else path
    is_near = path.is_relative_to(file) or file.is_relative_to(path.parent)
    return number in _FULL or (number in _UNWRITABLE and is_near)


def _error_number(error: BaseException) -> int:
    if isinstance(error, OSError):
        return error.errno or 0
    # Libraries in Rust, such as safetensors, have errors of their own and write the number into the message.
    written = re.search(r"\(os error (\d+)\)", str(error))
    return int(written[1]) if written else 0


def unwritable(path: Path, problem: str) -> DataError:
    """Return the error for a file or folder that cannot be written."""
    return DataError(
        f"`{path}` must be writable ({problem}). Allow it for this user, or write elsewhere: "
        "another path in conf/base/catalog.yml, or a copy of the project."
    )


def require_writable(path: Path, folder: Path) -> None:
    """Create a folder if it is missing; raise a `DataError` for `path` if no file can be written to the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        # Name the folder above that is in the way, but not the temporary file.
        place = Path(error.filename or folder)
        raise unwritable(path, f"{error.strerror}: {place if folder.is_relative_to(place) else folder}") from None


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
