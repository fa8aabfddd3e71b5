"""The journal of a run: what MLflow is to be told, on this disk, in order. It knows nothing of MLflow.

A folder for each training, and one for each later command that adds to its run:

    run.json         what the run is
    journal.jsonl    a record a line
    sent.json        how much of it which server has
    files/           what is to be sent as a file, removed when it has been

A record is `{"kind": …, "time": milliseconds since 1970, …}`; `records` says what there is for each kind.
"""

import contextlib
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kedro_dcgan.storage import atomic_file
from kedro_dcgan.tracking.journal_files import KeptFiles, Lines, Record


@dataclass(frozen=True)
class RunIdentity:
    """What a run is: `key` is ours, and stands in its tags.

    `must_exist`: it was made by a training, and is only added to. Its beginning and its end are not told here.
    """

    key: str
    experiment: str
    name: str
    created: int
    must_exist: bool = False


@dataclass(frozen=True)
class Sent:
    """What the server at an address has: so many bytes of the journal, in the run with that id.

    It had history and pictures up to these steps before it was sent anything from here: where a journal was lost.
    """

    server: str
    run_id: str | None = None
    offset: int = 0
    history_until: int = -1
    pictures_until: int = -1


class Journal:
    """One run's records. One process at a time writes them, and one at a time sends them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines = Lines(folder / "journal.jsonl")
        self.files = KeptFiles(folder / "files")
        # A run may be closed by another thread than the one that opened it.
        self._writing = FileLock(folder / "writing.lock", thread_local=False)
        self._sending = FileLock(folder / "sending.lock", thread_local=False)

    @classmethod
    def of(cls, root: Path, identity: RunIdentity) -> "Journal":
        """Return the journal of a training, the same each time, or a new one to add to its run. Make its folder."""
        journal = cls(root / (new_key() if identity.must_exist else identity.key))
        if not (journal.folder / "run.json").is_file():
            _write_json(journal.folder / "run.json", asdict(identity))
        return journal

    @classmethod
    def all_in(cls, root: Path) -> "list[Journal]":
        """Return all journals that say what they are, the oldest run first."""
        found = []
        for file in root.glob("*/run.json"):
            # One that is damaged must not stop the others.
            with contextlib.suppress(OSError, ValueError, TypeError):
                journal = cls(file.parent)
                identity = journal.identity
                # Before what is added to it: the run must be there.
                found.append((identity.created, identity.must_exist, journal.folder.name, journal))
        return [journal for *_, journal in sorted(found, key=lambda one: one[:-1])]

    @property
    def identity(self) -> RunIdentity:
        """What the run is."""
        return RunIdentity(**json.loads((self.folder / "run.json").read_text(encoding="utf-8")))

    def __str__(self) -> str:
        return self.identity.name or f"more about {self.identity.key[:8]}"

    def add(self, kind: str, files: Sequence[Path] = (), **values: Any) -> None:
        """Add a record, with files and folders as they are now; when this returns, it is on the disk.

        `time` is now, unless it is given. What is kept stands in the record as `file`.

        Raises:
            DiskFullError: if there is no room. The journal is as it was.
            OSError: if a file cannot be kept. The journal is as it was.
        """
        kept = {"file": self.files.keep(files)} if files else {}
        try:
            self._lines.append({"kind": kind, "time": milliseconds(), **values, **kept})
        except BaseException:
            for name in kept.values():
                self.files.drop(name)
            raise

    def records(self, offset: int = 0) -> Iterator[tuple[Record, int]]:
        """Yield records from an offset on, each with the offset behind it."""
        return self._lines.read(offset)

    def last_step(self, mark: str) -> int:
        """Return the last step of the records that have a mark: -1, if there are none."""
        return max((record["step"] for record, _ in self.records() if record.get(mark)), default=-1)

    def sent(self, server: str) -> Sent:
        """Return what a server has: nothing, if the journal was sent to another one."""
        stored = self._stored()
        return stored if stored and stored.server == server else Sent(server)

    def note_sent(self, sent: Sent) -> None:
        """Write down what a server has."""
        _write_json(self.folder / "sent.json", asdict(sent))

    def is_all_sent(self, server: str) -> bool:
        """Tell whether a server has all."""
        return self.sent(server).offset == self._lines.size()

    def is_elsewhere(self, server: str) -> bool:
        """Tell whether it is another server that has been sent this journal."""
        stored = self._stored()
        return stored is not None and stored.server != server

    def _stored(self) -> Sent | None:
        # What it would say is only lost time: everything may be sent twice.
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Sent(**json.loads((self.folder / "sent.json").read_text(encoding="utf-8")))
        return None

    def mark_killed(self) -> None:
        """Write that the run was killed, if it did not end and nobody writes it any more."""
        if self._left_running():
            with self.written() as is_free:
                # Asked again: it may have ended just now.
                last = self._left_running() if is_free else None
                if last:
                    self.add("status", status="KILLED", time=last.get("time", milliseconds()))

    def _left_running(self) -> Record | None:
        # The last record of a training whose end is not told. (What a thread writes late may come after the end.)
        records = [] if self.identity.must_exist else self._lines.read_end()
        status = next((record["status"] for record in records if record["kind"] == "status"), "RUNNING")
        return records[0] if records and status == "RUNNING" else None

    @contextlib.contextmanager
    def written(self, patience: float = 0) -> Iterator[bool]:
        """Hold the right to write; yield whether it was free within so many seconds."""
        with _held(self._writing, patience) as is_free:
            yield is_free

    @contextlib.contextmanager
    def being_sent(self, patience: float = 0) -> Iterator[bool]:
        """Hold the right to send; yield whether it was free within so many seconds."""
        with _held(self._sending, patience) as is_free:
            yield is_free


def new_key() -> str:
    """Return a key that no other run has."""
    return uuid.uuid4().hex


def milliseconds() -> int:
    """Return the time as MLflow counts it."""
    return time.time_ns() // 1_000_000


@contextlib.contextmanager
def _held(lock: FileLock, patience: float) -> Iterator[bool]:
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _write_json(path: Path, values: dict[str, Any]) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
