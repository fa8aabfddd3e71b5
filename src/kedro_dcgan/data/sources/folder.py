"""A folder, nested as may be. Regular files are read; everything else is named and left alone."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kedro_dcgan.data.scan import Input
from kedro_dcgan.data.sources.source import Limits
from kedro_dcgan.data.verdicts import Reason
from kedro_dcgan.errors import SourceError, UnusableImageError

# Without the second, opening a pipe that took a file's place would wait for ever.
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class FolderSource:
    """All that lies below a folder, in the order of the bytes of the relative paths.

    Raises:
        SourceError: on construction, if the folder may not be listed or there are too many files.
    """

    def __init__(self, root: Path, limits: Limits) -> None:
        self._root, self._limits = os.fsencode(root), limits
        # Memory: a path is kept as bytes, and only the odd ones have an entry more.
        self._odd: dict[bytes, UnusableImageError] = {}
        self._paths: list[bytes] = []
        for path, problem in walk(self._root):
            # A folder may have a row for its name already when it turns out that it may not be listed.
            if path not in self._odd:
                self._paths.append(path)
                limits.require_count(len(self._paths))
            if problem:
                self._odd[path] = problem
        self._paths.sort()
        self.count = len(self._paths)

    @staticmethod
    def recognises(path: Path) -> bool:
        """Tell whether it is a folder."""
        return path.is_dir()

    def blocks(self, size: int) -> Iterator["FolderBlock"]:
        """Yield the files, `size` at a time."""
        for start in range(0, self.count, size):
            names = tuple(self._paths[start : start + size])
            odd = {name: self._odd[name] for name in names if name in self._odd}
            yield FolderBlock(self._root, names, odd, self._limits.file_bytes)


@dataclass(frozen=True)
class FolderBlock:
    """Some files of a folder, by relative path."""

    root: bytes
    names: tuple[bytes, ...]
    odd: Mapping[bytes, UnusableImageError]
    most_bytes: int

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths as people and manifests can read them."""
        return tuple(readable(name) for name in self.names)

    def fingerprint(self) -> str:
        """Hash names, sizes and times of change: of the content, which a copy may keep, and of the file itself."""
        hasher = hashlib.sha256()
        for name in self.names:
            try:
                status = os.lstat(os.path.join(self.root, name))  # noqa: PTH118  (bytes)
                changed = status.st_mtime_ns, status.st_ctime_ns
                hasher.update(b"%s\0%d\0%d\0%d\0" % (name, status.st_size, *changed))
            except OSError:
                hasher.update(b"%s\0gone\0" % name)
        return hasher.hexdigest()

    def read(self) -> Iterator[Input]:
        """Yield the files.

        Raises:
            SourceError: if the folder itself is gone.
        """
        for name, path in zip(self.names, self.paths, strict=True):
            label = path.rpartition("/")[0] or None
            problem = self.odd.get(name)
            data = b""
            if problem is None:
                try:
                    data = _read_file(os.path.join(self.root, name), self.most_bytes)  # noqa: PTH118  (bytes)
                except UnusableImageError as error:
                    problem = error
                except OSError as error:
                    refuse_if_gone(self.root, error)
                    problem = unreadable(error)
            yield Input(path, data, label, problem)


def _read_file(path: bytes, most_bytes: int) -> bytes:
    descriptor = os.open(path, _OPEN)
    try:
        status = os.fstat(descriptor)
        # It may have been replaced since the folder was listed.
        if not stat.S_ISREG(status.st_mode):
            raise UnusableImageError(Reason.NOT_A_FILE)
        if status.st_size > most_bytes:
            raise UnusableImageError(Reason.TOO_LARGE, f"{status.st_size:,} bytes, limit {most_bytes:,}")
        data = os.read(descriptor, status.st_size + 1)
        while len(data) < status.st_size and (part := os.read(descriptor, status.st_size + 1 - len(data))):
            data += part
    finally:
        os.close(descriptor)
    if len(data) > status.st_size:
        raise UnusableImageError(Reason.UNREADABLE, "it grows while it is read")
    return data


# TODO(merge) sources.listing

_GONE = (errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN)
_IMAGE_SUFFIXES = (b".jpg", b".jpeg", b".png", b".webp", b".bmp", b".gif", b".tif", b".tiff")

Listed = tuple[bytes, UnusableImageError | None]


def walk(root: bytes) -> Iterator[Listed]:
    """Yield each path below a folder, in any order, and what is wrong with it, if that is known already.

    Raises:
        SourceError: if the folder itself may not be listed, or is gone.
    """
    # Not recursive: a hostile tree may be deeper than Python's stack.
    waiting = [b""]
    while waiting:
        prefix = waiting.pop()
        try:
            with os.scandir(root + b"/" + prefix) as entries:
                for entry in entries:
                    yield from _listed(entry, prefix, waiting)
        except OSError as error:
            if not prefix:
                raise _may_not_be_listed(root, error) from None
            refuse_if_gone(root, error)
            yield prefix[:-1], unreadable(error)


def readable(path: bytes) -> str:
    r"""Return a path as people and manifests can read it, another one for each: `\xff` is a byte, `\\` a backslash."""
    return path.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def unreadable(error: OSError) -> UnusableImageError:
    """Return the reason that the operating system gives, as a row has it."""
    return UnusableImageError(Reason.UNREADABLE, str(error.strerror))


def refuse_if_gone(root: bytes, error: OSError) -> None:
    """Tell an error of one file from that of a disk that was taken away.

    Raises:
        SourceError: if the folder is not there any more, or is empty as a mount point is.
    """
    try:
        with os.scandir(root) as entries:
            there = any(entries)
    except OSError:
        there = False
    if not there or error.errno in _GONE:
        raise SourceError(
            f"`{os.fsdecode(root)}` must be there until all of it is read (it has gone: {error.strerror}). "
            "Put it back and run the same command: finished shards are kept."
        ) from None


def _listed(entry: os.DirEntry[bytes], prefix: bytes, waiting: list[bytes]) -> Iterator[Listed]:
    path = prefix + entry.name
    try:
        is_folder = entry.is_dir(follow_symlinks=False)
        problem = _problem(entry, is_folder)
    except OSError as error:
        yield path, unreadable(error)
        return
    if problem or not is_folder:
        yield path, problem
    if is_folder and not entry.name.startswith(b"."):
        waiting.append(path + b"/")


def _problem(entry: os.DirEntry[bytes], is_folder: bool) -> UnusableImageError | None:
    if entry.name.startswith(b"."):
        return UnusableImageError(Reason.HIDDEN, "a folder, not looked into" if is_folder else "")
    if entry.is_symlink():
        target = os.readlink(entry.path).decode("utf-8", "backslashreplace")  # noqa: PTH115  (bytes)
        return UnusableImageError(Reason.LINK, f"points to {target}")
    if is_folder:
        named = entry.name.lower().endswith(_IMAGE_SUFFIXES)
        return UnusableImageError(Reason.NOT_A_FILE, "a folder") if named else None
    return None if entry.is_file(follow_symlinks=False) else UnusableImageError(Reason.NOT_A_FILE, _kind(entry))


def _kind(entry: os.DirEntry[bytes]) -> str:
    mode = entry.stat(follow_symlinks=False).st_mode
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


def _may_not_be_listed(root: bytes, error: OSError) -> SourceError:
    return SourceError(f"`{os.fsdecode(root)}` must be a folder that may be listed ({error.strerror}). Change that.")
