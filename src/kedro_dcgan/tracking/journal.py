"""The journal of a run: an append-only log of tracking records on the local disk. It does not know MLflow.

Each training has a folder, and so has each later command that adds to its run:

    run.json         the identity of the run
    journal.jsonl    the records, one JSON object per line
    sent.json        the upload state: how much of the journal a server has
    files/           attachments, removed after their upload; the record's `file` names their folder

A record is `{"kind": …, "time": milliseconds since 1970, …}`; `records` lists the kinds. The journal survives killed
processes and full disks: readers ignore an incomplete last line, and the next record overwrites it.
"""

import contextlib
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from kedro_dcgan.errors import DataError
from kedro_dcgan.locks import hold_lock
from kedro_dcgan.storage import atomic_file, report_write_errors
from kedro_dcgan.stored_files import read_json

Record = dict[str, Any]


@dataclass(frozen=True)
class RunIdentity:
    """The identity of a run. An MLflow tag contains `key`, which exists before the MLflow id.

    `must_exist`: a training created the run; this journal adds to it, and records neither its start nor its end.
    `parent`: the key of the run that this one is nested in, if any.
    """

    key: str
    experiment: str
    name: str
    created: int
    must_exist: bool = False
    parent: str = ""


@dataclass(frozen=True)
class UploadState:
    """How much of a journal a server has: the first `offset` bytes, in the run `run_id`.

    `history_until`, `pictures_until`: if an earlier journal was lost, the last steps that the run has (-1: none).
    """

    server: str
    run_id: str | None = None
    offset: int = 0
    history_until: int = -1
    pictures_until: int = -1


class Journal:
    """The records of one run. One process at a time writes them, from any thread; one at a time uploads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "journal.jsonl"
        self._files = folder / "files"
        self._append_lock = threading.Lock()

    @classmethod
    def create(cls, root: Path, identity: RunIdentity) -> "Journal":
        """Return the journal of a training, which may exist already, or a new journal that adds to its run."""
        journal = cls(root / (uuid.uuid4().hex if identity.must_exist else identity.key))
        if not (journal.folder / "run.json").is_file():
            _write_json(journal.folder / "run.json", asdict(identity))
        return journal

    @classmethod
    def find_all(cls, root: Path) -> "list[Journal]":
        """Return all journals with a readable identity: the oldest run first, and a training before additions to it."""
        journals = {}
        for file in root.glob("*/run.json"):
            # A damaged journal must not block the others.
            with contextlib.suppress(OSError, DataError):
                identity = cls(file.parent).identity
                journals[identity.created, identity.must_exist, file.parent] = cls(file.parent)
        return [journals[order] for order in sorted(journals)]

    @property
    def identity(self) -> RunIdentity:
        """The identity of the run."""
        return read_json(self.folder / "run.json", RunIdentity, "Remove its folder; the run stays on the server.")

    def __str__(self) -> str:
        return self.identity.name or f"addition to run {self.identity.key[:8]}"

    def add(self, kind: str, files: Sequence[Path] = (), **values: Any) -> None:
        """Append a record (`time` defaults to now) and its attachments to the disk: all or, after an error, nothing."""
        record = {"kind": kind, "time": milliseconds(), **values}
        if files:
            record["file"] = uuid.uuid4().hex
        try:
            for path in files:
                target = self._files / record["file"] / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir():
                    shutil.copytree(path, target, copy_function=_link_or_copy)
                else:
                    _link_or_copy(path, target)
            self._append(memoryview(json.dumps(record, default=float).encode() + b"\n"))
        except BaseException:
            self.remove_attachments(record)
            raise

    def _append(self, line: memoryview) -> None:
        # Unbuffered: closing a buffered file would retry a failed write.
        with self._append_lock, report_write_errors(self.path), self.path.open("a+b", buffering=0) as file:
            end = _end_of_last_line(file)
            file.truncate(end)
            try:
                while line:
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(end)
                raise

    def attachments(self, record: Record) -> Path:
        """Return the folder with the attachments of a record; raise DataError if it is missing."""
        folder = self._files / record["file"]
        if not folder.is_dir():
            raise DataError(f"`{folder}` must exist to be uploaded (it is missing).")
        return folder

    def remove_attachments(self, record: Record) -> None:
        """Delete the files of a record, if it has any."""
        if "file" in record:
            shutil.rmtree(self._files / record["file"], ignore_errors=True)

    def records(self, offset: int = 0) -> Iterator[tuple[Record, int]]:
        """Yield the records from an offset on, each with the offset of the next one."""
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            if offset:
                # If it is not the start of a line, the record before it was rolled back after it had been read.
                file.seek(offset - 1)
                offset = offset if file.read(1) == b"\n" else 0
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield _decode(line), offset

    def last_records(self) -> list[Record]:
        """Return the last 64 kB of records. The first may be cut, and is then unreadable."""
        if not self.path.is_file():
            return []
        with self.path.open("rb") as file:
            file.seek(max(0, _end_of_last_line(file) - 65_536))
            return [_decode(line) for line in file.read().split(b"\n")[:-1]]

    def last_step(self, mark: str) -> int:
        """Return the largest step of the records that have a mark such as `is_history`; -1 without any."""
        return max((record["step"] for record, _ in self.records() if record.get(mark)), default=-1)

    def stored_upload_state(self) -> UploadState | None:
        """Return the upload state of the server that had records last, if any."""
        # Losing this file only costs time: every record may be uploaded twice.
        with contextlib.suppress(OSError, DataError):
            state = read_json(self.folder / "sent.json", UploadState, "")
            return state if 0 <= state.offset < 2**63 else None
        return None

    def upload_state(self, server: str) -> UploadState:
        """Return how much a server has: nothing if the journal was uploaded to another one."""
        stored = self.stored_upload_state()
        return stored if stored and stored.server == server else UploadState(server)

    def save_upload_state(self, state: UploadState) -> None:
        """Store how much a server has, instead of the state of another server."""
        _write_json(self.folder / "sent.json", asdict(state))

    def is_uploaded(self, server: str) -> bool:
        """Return whether a server has all records."""
        return next(self.records(self.upload_state(server).offset), None) is None

    @contextlib.contextmanager
    def lock(self, purpose: Literal["writing", "sending"], timeout: float = 0) -> Iterator[bool]:
        """Hold the lock for writing or uploading; yield False if another process holds it for `timeout` seconds."""
        with hold_lock(self.folder / f"{purpose}.lock", timeout) as is_held:
            yield is_held


def milliseconds() -> int:
    """Return the time in milliseconds since 1970, as MLflow counts it."""
    return time.time_ns() // 1_000_000


def _link_or_copy(source: Path | str, target: Path | str) -> None:
    # A hard link is enough: this project replaces files and never changes one in place.
    try:
        os.link(source, target)
    except OSError:
        # The target is on another disk, or its file system has no hard links.
        shutil.copy2(source, target)


def _decode(line: bytes) -> Record:
    with contextlib.suppress(ValueError, RecursionError):
        record = json.loads(line)
        if _is_readable(record):
            return dict(record)
    return {"kind": "unreadable"}


def _is_readable(record: Any) -> bool:
    """Return whether a record can be uploaded: its values have the right types, and `file` stays in the journal."""
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        return False
    file = record.get("file", "none")
    is_inside = isinstance(file, str) and file == Path(file).name and file not in ("", "..") and "\0" not in file
    has_values = record["kind"] != "metrics" or isinstance(record.get("values"), dict)
    numbers = (record[name] for name in ("step", "time") if name in record)
    return is_inside and has_values and all(isinstance(number, int | float) for number in numbers)


def _end_of_last_line(file: BinaryIO) -> int:
    # A killed process may have left an incomplete line.
    end = file.seek(0, os.SEEK_END)
    if not end or os.pread(file.fileno(), 1, end - 1) == b"\n":
        return end
    file.seek(0)
    return file.read().rfind(b"\n") + 1


def _write_json(path: Path, values: dict[str, Any]) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
