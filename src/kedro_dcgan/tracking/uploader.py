"""Upload journals to MLflow: a thread that works beside the training, and the upload of one journal.

The thread uploads the journal of the open run as records arrive, then the pending records of other runs. Training never
waits for it. Three kinds of error (`connection`): a permanent error skips the record, a database conflict is retried
within seconds, and any other error is retried after 1 s, 2 s, 4 s, …, at most 60 s.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kedro_dcgan.tracking.connection import TrackingSettings, connect, in_one_line, is_integrity_error, is_permanent
from kedro_dcgan.tracking.journal import Journal, Record
from kedro_dcgan.tracking.relocation import relocate

if TYPE_CHECKING:
    from kedro_dcgan.tracking.records import MlflowRun

logger = logging.getLogger(__name__)

# Seconds before the first retry, and the maximum.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
# Seconds that `finish` waits for a single record. If it takes longer, the next run uploads it.
_RECORD_TIMEOUT = 60.0
# Seconds that `finish` waits for another process that uploads the same journal.
_LOCK_TIMEOUT = 20.0
# MLflow's limit for one request.
_METRICS_PER_REQUEST = 1000


class Uploader:
    """A thread. From `start` to `finish`, it uploads `journal`, and the journals of other runs while it is idle."""

    def __init__(self, journal: Journal, settings: TrackingSettings) -> None:
        self._journal, self._settings = journal, settings
        self._has_records, self._is_finishing = threading.Event(), threading.Event()
        self._last_progress = time.monotonic()
        self._failed: set[Path] = set()
        self._has_warned = False
        # Results for the user, such as a registered model.
        self.messages: list[str] = []
        self._thread = threading.Thread(target=self._run, name="mlflow-uploader", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def notify(self) -> None:
        """Wake the thread, because the journal has a new record."""
        self._has_records.set()

    def finish(self) -> bool:
        """Wait until the journal is uploaded, or the server fails or hangs; return whether it is uploaded."""
        self._last_progress = time.monotonic()
        self._is_finishing.set()
        self._has_records.set()
        while self._thread.is_alive() and time.monotonic() - self._last_progress < _RECORD_TIMEOUT:
            self._thread.join(0.05)
        return self._journal.is_uploaded(self._settings.shown_server)

    def _run(self) -> None:
        # The pause before the next attempt in seconds: 0 after a success, doubled by each failure.
        pause = 0.0
        while True:
            self._has_records.clear()
            is_last_attempt = self._is_finishing.is_set()
            try:
                self._upload_own_journal(_LOCK_TIMEOUT if is_last_attempt else 0)
            except Exception as error:
                self._warn_once(error)
                # In `finish`, a server that worked until now gets one more attempt.
                if is_last_attempt and pause:
                    return
                pause = min(2 * pause or _FIRST_PAUSE, _LONGEST_PAUSE)
                if is_last_attempt:
                    time.sleep(pause)
                else:
                    self._is_finishing.wait(pause)
            else:
                if is_last_attempt:
                    return
                pause = 0.0
                # A failure of another journal does not concern this run.
                with contextlib.suppress(OSError):
                    self._upload_other_journals()
                self._has_records.wait()

    def _warn_once(self, error: Exception) -> None:
        if not self._has_warned:
            logger.warning(
                "Cannot upload to MLflow at %s (%s). The run continues; its records in %s are uploaded later.",
                self._settings.shown_server,
                in_one_line(error),
                self._journal.folder,
            )
        self._has_warned = True

    def _upload_own_journal(self, timeout: float) -> None:
        relocate(self._settings)
        connect(self._settings)
        identity = self._journal.identity
        # An addition to a run must follow the records of its training, and of earlier additions.
        for journal in pending_journals(self._settings) if identity.must_exist else []:
            if journal.identity.key == identity.key and journal.folder != self._journal.folder:
                self._upload(journal)
        self._upload(self._journal, timeout)

    def _upload_other_journals(self) -> None:
        for journal in pending_journals(self._settings):
            if self._has_records.is_set():
                return
            if journal.folder in (*self._failed, self._journal.folder):
                continue
            try:
                self._upload(journal, is_background=True)
            except Exception as error:
                # Do not retry in this process: a broken journal must not delay the others.
                self._failed.add(journal.folder)
                logger.warning("Cannot upload the records in %s (%s).", journal.folder, in_one_line(error))

    def _upload(self, journal: Journal, timeout: float = 0, is_background: bool = False) -> None:
        for _, messages in upload_journal(journal, self._settings, timeout):
            self._last_progress = time.monotonic()
            self.messages += messages
            # The open run has priority.
            if is_background and self._has_records.is_set():
                return


def pending_journals(settings: TrackingSettings, include_other_servers: bool = False) -> list[Journal]:
    """Return the journals with records that the server lacks, oldest first; by default none begun on another server."""
    pending = []
    for journal in Journal.find_all(settings.journals):
        stored = journal.stored_upload_state()
        is_of_server = stored is None or stored.server == settings.shown_server
        if not journal.is_uploaded(settings.shown_server) and (is_of_server or include_other_servers):
            pending.append(journal)
    return pending


def upload_journal(journal: Journal, settings: TrackingSettings, timeout: float = 0) -> Iterator[tuple[int, list[str]]]:
    """Upload the pending records step by step; yield the number of records of a step and its messages for the user.

    A step is one record, or all metrics up to the next record of another kind. A permanent error skips a record, with
    one warning per kind; its attachments stay. A transient error, of any type, ends the upload. If another process
    uploads the journal for `timeout` seconds, do nothing.
    """
    with journal.lock("sending", timeout) as is_free:
        if not is_free or journal.is_uploaded(settings.shown_server):
            return
        # Importing MLflow takes seconds: the thread does it, and commands that upload nothing do not.
        from kedro_dcgan.tracking.records import MlflowRun

        run = MlflowRun(journal, settings)
        warned_kinds: set[str] = set()
        while True:
            records, end = _next_records(journal, run.state.offset)
            if not records:
                return
            accepted, messages = _upload_batch(run, records, warned_kinds)
            run.save_state(replace(run.state, offset=end))
            for record in accepted:
                journal.remove_attachments(record)
            yield len(records), messages


def _next_records(journal: Journal, offset: int) -> tuple[list[Record], int]:
    # Return one record, or several of metrics, and the offset of the record after them.
    records: list[Record] = []
    metrics = 0
    for record, next_offset in journal.records(offset):
        is_metrics = record["kind"] == "metrics"
        metrics += len(record["values"]) if is_metrics else 0
        if records and (not is_metrics or metrics > _METRICS_PER_REQUEST):
            break
        records.append(record)
        offset = next_offset
        if not is_metrics:
            break
    return records, offset


def _upload_batch(
    run: "MlflowRun", records: Sequence[Record], warned_kinds: set[str]
) -> tuple[list[Record], list[str]]:
    # Return the records that MLflow accepted, and messages.
    try:
        return list(records), run.upload(records)
    except Exception as error:
        # An integrity error that outlasts all retries is caused by the record.
        if not (is_permanent(error) or is_integrity_error(error)):
            raise
        if len(records) == 1:
            # MLflow also rejects every record of a run that was just deleted: that is not the record's fault.
            if not run.is_active():
                raise
            kind, message = records[0]["kind"], "MLflow rejects a record of kind %s (%s). It stays in %s."
            if kind not in warned_kinds:
                logger.warning(message, kind, in_one_line(error), run.journal.path)
            warned_kinds.add(kind)
            return [], []
    # One invalid record makes MLflow reject the whole batch: upload them one by one.
    return [accepted for record in records for accepted in _upload_batch(run, [record], warned_kinds)[0]], []
