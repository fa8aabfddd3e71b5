"""What lies below a folder. Links are not followed, hidden folders not entered; odd things have a row with a reason.

Paths are bytes, relative to the folder: names on a disk need not be text.
"""

import errno
import os
import stat
from collections.abc import Iterator

from kedro_dcgan.data.verdicts import Reason
from kedro_dcgan.errors import SourceError, UnusableImageError

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
