r"""A folder with any depth of subfolders. Regular files are read; everything else is listed with a reason and skipped.

Paths are bytes on disk, and text in the manifest: `\xff` is a byte that is not UTF-8, `\\` a backslash.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kedro_dcgan.data import Reason
from kedro_dcgan.data.sources.archive import ZipSource
from kedro_dcgan.data.sources.source import OPEN_FLAGS, Input, Limits, SourceFile
from kedro_dcgan.errors import SourceError, UnusableImageError

# Errors of a disk that was removed.
_DISK_ERRORS = (errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN)
_IMAGE_SUFFIXES = (b".jpg", b".jpeg", b".png", b".webp", b".bmp", b".gif", b".tif", b".tiff")


class FolderSource:
    """All files below a folder, in the order of the bytes of their relative paths."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self._root, self._limits = os.fsencode(root), limits
        # To save memory, paths are bytes, and only paths with a problem have an entry here.
        self.problems: dict[bytes, UnusableImageError] = {}
        self._paths: list[bytes] = []
        for path, problem in _walk(self._root):
            # A folder named like an image is listed twice if it cannot be opened.
            if path not in self.problems:
                self._paths.append(path)
                limits.require_count(len(self._paths))
            if problem:
                self.problems[path] = problem
        self._paths.sort()
        self.count = len(self._paths)

    def blocks(self, size: int) -> Iterator["FolderBlock"]:
        for start in range(0, self.count, size):
            names = tuple(self._paths[start : start + size])
            problems = {name: self.problems[name] for name in names if name in self.problems}
            yield FolderBlock(self._root, names, problems, self._limits.file_bytes)

    def files(self) -> Iterator[SourceFile]:
        """Yield the readable files that are not named like images; for an npz file, the arrays in it."""
        for name, file in zip(self._paths, self.disk_files(), strict=True):
            if name in self.problems or name.lower().endswith(_IMAGE_SUFFIXES):
                continue
            with contextlib.suppress(OSError):
                found = SourceFile.on_disk(file, _text_of(name))
                if name.lower().endswith(b".npz") and found.start.startswith(b"PK"):
                    with contextlib.suppress(SourceError):
                        for array in ZipSource(file, self._limits).files():
                            yield replace(array, path=f"{found.path}/{array.path}", entry=found.path)
                else:
                    yield found

    def disk_files(self) -> list[Path]:
        """Return all files, in the order of their paths."""
        return [Path(os.fsdecode(os.path.join(self._root, name))) for name in self._paths]  # noqa: PTH118  (bytes)


@dataclass(frozen=True)
class FolderBlock:
    """Some files of a folder, by relative path."""

    root: bytes
    names: tuple[bytes, ...]
    problems: Mapping[bytes, UnusableImageError]
    max_bytes: int

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(map(_text_of, self.names))

    def fingerprint(self) -> str:
        hasher = hashlib.sha256()
        for name in self.names:
            state = b"gone"
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(self.root, name))  # noqa: PTH118  (bytes)
                # A copy may keep the modification time, but not the change time of the inode.
                state = b"%d\0%d\0%d" % (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            hasher.update(b"%s\0%s\0" % (name, state))
        return hasher.hexdigest()

    def read(self) -> Iterator[Input]:
        for name, path in zip(self.names, self.paths, strict=True):
            problem, data = self.problems.get(name), b""
            try:
                if problem is None:
                    data = _read_file(os.path.join(self.root, name), self.max_bytes)  # noqa: PTH118  (bytes)
            except UnusableImageError as error:
                problem = error
            except OSError as error:
                _require_folder(self.root, error)
                problem = UnusableImageError(Reason.UNREADABLE, str(error.strerror))
            yield Input(path, data, path.rpartition("/")[0] or None, problem)


def _text_of(name: bytes) -> str:
    return name.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def _read_file(path: bytes, max_bytes: int) -> bytes:
    descriptor = os.open(path, OPEN_FLAGS)
    try:
        status = os.fstat(descriptor)
        # It may have been replaced since the folder was listed.
        if not stat.S_ISREG(status.st_mode):
            raise UnusableImageError(Reason.NOT_A_FILE)
        if status.st_size > max_bytes:
            raise UnusableImageError(Reason.TOO_LARGE, f"{status.st_size:,} bytes, limit {max_bytes:,}")
        data = os.read(descriptor, status.st_size + 1)
        while len(data) < status.st_size and (part := os.read(descriptor, status.st_size + 1 - len(data))):
            data += part
    finally:
        os.close(descriptor)
    if len(data) > status.st_size:
        raise UnusableImageError(Reason.UNREADABLE, "it grows while it is read")
    return data


def _walk(root: bytes) -> Iterator[tuple[bytes, UnusableImageError | None]]:
    """Yield each path below a folder, in any order, and its problem, if that is known from listing it."""
    # Not recursive: a hostile tree may be deeper than Python's stack.
    pending = [b""]
    while pending:
        prefix = pending.pop()
        try:
            with os.scandir(root + b"/" + prefix) as entries:
                for entry in entries:
                    path = prefix + entry.name
                    try:
                        is_folder = entry.is_dir(follow_symlinks=False)
                        problem = _problem(entry, is_folder)
                    except OSError as error:
                        is_folder, problem = False, UnusableImageError(Reason.UNREADABLE, str(error.strerror))
                    if problem or not is_folder:
                        yield path, problem
                    if is_folder and not entry.name.startswith(b"."):
                        pending.append(path + b"/")
        except OSError as error:
            if not prefix:
                raise SourceError(
                    f"`{os.fsdecode(root)}` must be a folder that you may list ({error.strerror}). "
                    "Allow it with chmod u+rx, or copy the folder."
                ) from None
            _require_folder(root, error)
            yield prefix[:-1], UnusableImageError(Reason.UNREADABLE, str(error.strerror))


def _problem(entry: os.DirEntry[bytes], is_folder: bool) -> UnusableImageError | None:
    if entry.name.startswith(b"."):
        return UnusableImageError(Reason.HIDDEN, "a folder, not searched" if is_folder else "")
    if entry.is_symlink():
        target = os.readlink(entry.path).decode("utf-8", "backslashreplace")  # noqa: PTH115  (bytes)
        return UnusableImageError(Reason.LINK, f"points to {target}")
    if is_folder:
        looks_like_image = entry.name.lower().endswith(_IMAGE_SUFFIXES)
        return UnusableImageError(Reason.NOT_A_FILE, "a folder") if looks_like_image else None
    if entry.is_file(follow_symlinks=False):
        return None
    mode = entry.stat(follow_symlinks=False).st_mode
    kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
    return UnusableImageError(Reason.NOT_A_FILE, kind)


def _require_folder(root: bytes, error: OSError) -> None:
    """Raise a `SourceError` if an error of one file comes from a removed disk: the folder is gone or empty."""
    try:
        with os.scandir(root) as entries:
            exists = any(entries)
    except OSError:
        exists = False
    if not exists or error.errno in _DISK_ERRORS:
        raise SourceError(
            f"`{os.fsdecode(root)}` must stay available until all of it is read (it is gone: {error.strerror}). "
            "Put it back and run the same command: finished shards are kept."
        ) from None
