"""Locks between processes: two runs never write to the same file or folder, or upload the same journal, at once.

The kernel releases the locks of a killed process. On a disk without locks, as NFS and Lustre may be, a marker file
beside the lock holds the process and the machine; the marker of a process that died on this machine is taken over.
Next to the lock of an output, `.locks/NAME.owner` names its process for the error message of a second run.
"""

import errno
import logging
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from kedro_dcgan.errors import DataError
from kedro_dcgan.storage import require_writable

logger = logging.getLogger(__name__)

# Answers of a disk without locks.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_MARKER = ".held"


@contextmanager
def lock_output(path: Path, timeout: float = 0) -> Iterator[None]:
    """Hold the lock of a file or folder that a run writes.

    Raises:
        DataError: if another run holds it for `timeout` seconds, or `path` is not writable.
    """
    locks = path.parent / ".locks"
    for folder in (locks, path) if path.is_dir() else (locks,):
        require_writable(path, folder)
    lock, owner = locks / f"{path.name}.lock", locks / f"{path.name}.owner"
    if timeout:
        with hold_lock(lock) as is_free:
            pass
        if not is_free:
            logger.info("waiting       up to %g s for the run that writes to %s", timeout, path)
    with hold_lock(lock, timeout) as is_held:
        if not is_held:
            other, marker = "another process", Path(f"{lock}{_MARKER}")
            with suppress(OSError):
                other = owner.read_text(encoding="utf-8")
            # On a disk without locks, nobody can know whether a process on another machine is still alive.
            remedy = f", or delete {marker} if that machine was switched off" if marker.is_file() else ""
            raise DataError(
                f"`{path}` must not be written to by two runs at once ({other} holds the lock). "
                f"Wait for that run to end, or stop it{remedy}."
            )
        try:
            command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
            started = f"process {os.getpid()}, `{command}`, since {time.strftime('%H:%M:%S')},"
            owner.write_text(started, encoding="utf-8", errors="backslashreplace")
            yield
        finally:
            owner.unlink(missing_ok=True)


@contextmanager
def hold_lock(path: Path, timeout: float = 0) -> Iterator[bool]:
    """Hold the lock `path`; yield False if another process holds it for `timeout` seconds."""
    # Not thread-local: another thread may release it.
    lock: BaseFileLock = FileLock(path, timeout, thread_local=False, fallback_to_soft=False)
    with suppress(Timeout):
        try:
            lock.acquire()
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            lock = SoftFileLock(f"{path}{_MARKER}", timeout, thread_local=False)
            lock.acquire()
    try:
        yield lock.is_locked
    finally:
        lock.release()
