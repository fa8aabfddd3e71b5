"""The journal of a run: what MLflow is to be told, on this disk, in order. It knows nothing of MLflow.

A folder for each run:

    run.json         what the run is
    journal.jsonl    a record a line
    sent.json        how much of it which server has, and what it answered
    files/           what is to be sent as a file, removed when it has been

A record is `{"kind": …, "time": milliseconds since 1970, …}`; `records` says what there is for each kind.
"""

import contextlib
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kedro_dcgan.atomic import atomic_file, name_a_full_disk

Record = dict[str, Any]

_LONGEST_RECORD = 1_000_000


@dataclass(frozen=True)
class RunIdentity:
    """What a run is: `key` is ours, and stands in its tags.

    `must_exist`: it is looked for at the server, and not made there.
    """

    key: str
    experiment: str
    name: str
    created: int
    must_exist: bool = False


@dataclass(frozen=True)
class Sent:
    """What the server at an address has: so many bytes of the journal, in the run with that id; and its answers."""

    server: str
    run_id: str | None = None
    offset: int = 0
    answers: tuple[str, ...] = ()


class Journal:
    """One run's records. One process at a time writes them, and one at a time sends them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines = folder / "journal.jsonl"
        self._files = folder / "files"
        self._writing, self._sending = FileLock(folder / "writing.lock"), FileLock(folder / "sending.lock")
        self._adding = threading.Lock()

    @classmethod
    def of(cls, root: Path, key: str) -> "Journal":
        """Return the journal of a run; it need not be there."""
        return cls(root / key)

    @classmethod
    def all_in(cls, root: Path) -> "list[Journal]":
        """Return all journals that can be read, the oldest run first."""
        found = []
        for file in root.glob("*/run.json"):
            # One that is damaged must not stop the others.
            with contextlib.suppress(OSError, ValueError, TypeError):
                journal = cls(file.parent)
                journal.last_record()
                found.append((journal.identity.created, journal.identity.key, journal))
        return [journal for *_, journal in sorted(found, key=lambda one: one[:2])]

    def begin(self, identity: RunIdentity) -> None:
        """Make the folder, if it is not there."""
        if not (self.folder / "run.json").is_file():
            _write_json(self.folder / "run.json", asdict(identity))

    @property
    def identity(self) -> RunIdentity:
        """What the run is."""
        return RunIdentity(**json.loads((self.folder / "run.json").read_text(encoding="utf-8")))

    def add(self, kind: str, **values: Any) -> None:
        """Add a record; when this returns, it is on the disk. `time` is now, unless it is given.

        Raises:
            DiskFullError: if there is no room.
        """
        record = {"kind": kind, "time": milliseconds(), **values}
        with self._adding, name_a_full_disk(self._lines), self._lines.open("ab") as file:
            file.write(json.dumps(record, ensure_ascii=False, default=float).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def keep(self, *paths: Path) -> str:
        """Keep files and folders as they are now, until they are sent; return the name that their folder has here.

        Ours are never changed but replaced, so that a second link to a file is as good as a copy.
        """
        kept = self._files / uuid.uuid4().hex
        kept.mkdir(parents=True)
        for path in paths:
            if path.is_dir():
                shutil.copytree(path, kept / path.name, copy_function=_link)
            else:
                _link(path, kept / path.name)
        return kept.name

    def kept(self, name: str) -> Path:
        """Return the folder of what was kept under a name."""
        return self._files / name

    def kept_file(self, name: str) -> Path:
        """Return the one file that was kept under a name.

        Raises:
            FileNotFoundError: if it is gone.
        """
        (file,) = self.kept(name).iterdir()
        return file

    def drop(self, name: str) -> None:
        """Forget what was kept under a name."""
        shutil.rmtree(self.kept(name), ignore_errors=True)

    def records(self, offset: int = 0) -> Iterator[tuple[Record, int]]:
        """Yield records from an offset on, each with the offset behind it. A line that was cut short is no record."""
        if not self._lines.is_file():
            return
        with self._lines.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield json.loads(line), offset

    def sent(self, server: str) -> Sent:
        """Return what a server has: nothing, if the journal was sent to another one."""
        try:
            stored = json.loads((self.folder / "sent.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Sent(server)
        sent = Sent(**{**stored, "answers": tuple(stored["answers"])})
        return sent if sent.server == server else Sent(server)

    def note_sent(self, sent: Sent) -> None:
        """Write down what a server has."""
        _write_json(self.folder / "sent.json", asdict(sent))

    def is_all_sent(self, server: str) -> bool:
        """Tell whether a server has all."""
        return not self._lines.is_file() or self.sent(server).offset >= self._lines.stat().st_size

    def take_answers(self, server: str) -> tuple[str, ...]:
        """Return what a server has answered since the last time."""
        sent = self.sent(server)
        if sent.answers:
            self.note_sent(replace(sent, answers=()))
        return sent.answers

    def last_record(self) -> Record | None:
        """Return the last record."""
        if not self._lines.is_file():
            return None
        with self._lines.open("rb") as file:
            file.seek(max(0, self._lines.stat().st_size - _LONGEST_RECORD))
            *_, last = [b"", *file.read().split(b"\n")[:-1]]
        return json.loads(last) if last else None

    def last_step(self) -> int:
        """Return the last step of the history of training that is in here."""
        return max((record["step"] for record, _ in self.records() if record.get("is_history")), default=0)

    @contextlib.contextmanager
    def written(self) -> Iterator[bool]:
        """Hold the right to write; yield whether it was free."""
        with _held(self._writing) as is_free:
            if is_free:
                self._mend()
            yield is_free

    @contextlib.contextmanager
    def being_sent(self) -> Iterator[bool]:
        """Hold the right to send; yield whether it was free."""
        with _held(self._sending) as is_free:
            yield is_free

    def _mend(self) -> None:
        # A process that was killed, or a full disk, may have left half a line.
        if not self._lines.is_file():
            return
        whole = next((end for _, end in reversed(list(self.records()))), 0)
        if whole < self._lines.stat().st_size:
            os.truncate(self._lines, whole)


def new_key() -> str:
    """Return a key that no other run has."""
    return uuid.uuid4().hex


def milliseconds() -> int:
    """Return the time as MLflow counts it."""
    return time.time_ns() // 1_000_000


@contextlib.contextmanager
def _held(lock: FileLock) -> Iterator[bool]:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _link(source: Path | str, target: Path | str) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Another disk, or one without links.
        shutil.copy2(source, target)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
