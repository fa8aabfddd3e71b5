"""A file of JSON objects, one a line, that only grows, and bears what killed processes and full disks leave behind."""

import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from kedro_dcgan.errors import DataError
from kedro_dcgan.storage import report_full_disk

Record = dict[str, Any]

# Stands for a line that cannot be read.
UNREADABLE = "unreadable"

_TAIL = 65_536


class Lines:
    """The file. One process at a time appends, from as many threads as it likes; any may read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._appending = threading.Lock()

    def append(self, record: Record) -> None:
        """Append a record: when this returns it is on the disk, and when it fails the file is as it was.

        Raises:
            DiskFullError: if there is no room.
        """
        line = memoryview(json.dumps(record, default=float).encode() + b"\n")
        # Without a buffer, which would try once more to write when it is closed.
        with self._appending, report_full_disk(self._path), self._path.open("a+b", buffering=0) as file:
            end = _end_of_last_line(file)
            file.truncate(end)
            try:
                while line:
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(end)
                raise

    def read(self, offset: int = 0) -> Iterator[tuple[Record, int]]:
        """Yield records from an offset on, each with the offset behind it. A line that was cut short is no record.

        From the beginning, where the offset is that of no line: what was read there has been taken back.
        """
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            if offset:
                file.seek(offset - 1)
                offset = offset if file.read(1) == b"\n" else 0
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield _decoded(line), offset

    def read_end(self) -> list[Record]:
        """Return the last records, the newest first: as many as are quickly read."""
        if not self._path.is_file():
            return []
        with self._path.open("rb") as file:
            file.seek(max(0, self.size() - _TAIL))
            is_cut = file.tell() > 0
            lines = file.read().split(b"\n")[is_cut:-1]
        return [_decoded(line) for line in reversed(lines)]

    def size(self) -> int:
        """Return how many bytes whole lines have."""
        if not self._path.is_file():
            return 0
        with self._path.open("rb") as file:
            return _end_of_last_line(file)


def _decoded(line: bytes) -> Record:
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    return record if isinstance(record, dict) and "kind" in record else {"kind": UNREADABLE}


def _end_of_last_line(file: BinaryIO) -> int:
    # A killed process may have left half a line.
    end = file.seek(0, os.SEEK_END)
    if not end or os.pread(file.fileno(), 1, end - 1) == b"\n":
        return end
    file.seek(0)
    return file.read().rfind(b"\n") + 1


# TODO(merge) tracking.kept_files


class KeptFiles:
    """A folder that has one of its own, with a name of ours, for what was kept together."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, paths: Sequence[Path]) -> str:
        """Keep files and folders as they are now; return the name of what holds them here.

        Ours are never changed but replaced, so that a second link to a file is as good as a copy. When it fails,
        nothing is kept.
        """
        name = uuid.uuid4().hex
        kept = self._folder / name
        try:
            kept.mkdir(parents=True)
            for path in paths:
                if path.is_dir():
                    shutil.copytree(path, kept / path.name, copy_function=_link)
                else:
                    _link(path, kept / path.name)
        except BaseException:
            self.drop(name)
            raise
        return name

    def folder(self, name: str) -> Path:
        """Return the folder of what was kept under a name.

        Raises:
            DataError: if it is gone.
        """
        kept = self._folder / name
        if not kept.is_dir():
            raise DataError(f"`{kept}` must be there to be sent (it is not).")
        return kept

    def file(self, name: str) -> Path:
        """Return the one file that was kept under a name.

        Raises:
            DataError: if it is gone.
        """
        return next(self.folder(name).iterdir())

    def drop(self, name: str) -> None:
        """Forget what was kept under a name."""
        shutil.rmtree(self._folder / name, ignore_errors=True)


def _link(source: Path | str, target: Path | str) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Another disk, or one without links.
        shutil.copy2(source, target)
