"""Send a journal to an MLflow server, record by record.

A permanent error leaves a record out. A database conflict is retried here, soon. Any other transient error is raised:
whoever sends the journal retries later.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import mlflow

from kedro_dcgan.errors import DataError
from kedro_dcgan.tracking.journal import Journal, Sent
from kedro_dcgan.tracking.journal_files import Record
from kedro_dcgan.tracking.records import SEND, send_metrics
from kedro_dcgan.tracking.refusals import is_refusal
from kedro_dcgan.tracking.remote import find_or_make_run, is_active
from kedro_dcgan.tracking.settings import TrackingSettings, in_one_line
from kedro_dcgan.tracking.transient_errors import is_integrity_error, retry_conflicts

logger = logging.getLogger(__name__)

# MLflow takes so many at once.
_METRICS_AT_ONCE = 1000


@dataclass(frozen=True)
class Delivered:
    """So many records are behind us; and what the server has answered that people want to hear."""

    count: int
    answers: tuple[str, ...] = ()


def send_all(journal: Journal, settings: TrackingSettings, patience: float = 0) -> Iterator[Delivered]:
    """Send what is left of a journal, step by step. Nothing is, if another process is at it for so many seconds.

    Raises:
        Exception: what the server, or the way to it, answers today and may not answer tomorrow.
    """
    with journal.being_sent(patience) as is_free:
        if is_free:
            delivery = Delivery(journal, settings)
            while delivered := delivery.send_next():
                yield delivered


class Delivery:
    """Sends one journal; whoever uses it holds the journal's right to be sent."""

    def __init__(self, journal: Journal, settings: TrackingSettings) -> None:
        self._journal, self._settings = journal, settings
        self._client = mlflow.MlflowClient(settings.server)
        self._sent = journal.sent(settings.shown_server)
        self._is_found = False
        self._warned_of: set[str] = set()

    def send_next(self) -> Delivered | None:
        """Send the next record, or all metrics up to the next one that is something else; nothing if none is left.

        What the server refuses is left out, with a warning for each kind. Its files stay.

        Raises:
            Exception: what the server, or the way to it, answers today and may not answer tomorrow.
        """
        if not self._next()[0]:
            return None
        self._find_run()
        # From the beginning, if the run is new.
        records, end = self._next()
        taken, answers = self._deliver(records)
        self._note(replace(self._sent, offset=end))
        for record in taken:
            if "file" in record:
                self._journal.files.drop(record["file"])
        return Delivered(len(records), tuple(answers))

    def _next(self) -> tuple[list[Record], int]:
        found: list[Record] = []
        numbers, end = 0, self._sent.offset
        for record, behind in self._journal.records(end):
            numbers += len(record["values"]) if record["kind"] == "metrics" else 0
            if found and (record["kind"] != "metrics" or numbers > _METRICS_AT_ONCE):
                break
            found.append(record)
            end = behind
            if record["kind"] != "metrics":
                break
        return found, end

    def _find_run(self) -> None:
        # Once for a delivery: it may have been deleted, or its database with it.
        if not self._is_found:
            found = retry_conflicts(
                lambda: find_or_make_run(self._client, self._sent, self._journal.identity, self._settings)
            )
            if found != self._sent:
                self._note(found)
            self._is_found = True

    def _deliver(self, records: Sequence[Record]) -> tuple[list[Record], list[str]]:
        # Return the records that were taken, and what was answered.
        unknown = [one for one in records if not self._is_known(one)]
        try:
            return list(records), retry_conflicts(lambda: self._send(unknown))
        except Exception as error:
            # A race is over after a retry or two. An integrity error that outlasts all retries is the record's own.
            if not (is_refusal(error) or is_integrity_error(error)):
                raise
            if len(records) == 1:
                # MLflow refuses everything for a run that somebody has just deleted: that is no fault of the record.
                if not is_active(self._client, str(self._sent.run_id)):
                    raise
                self._warn(records[0], error)
                return [], []
        # One of them may have spoiled all.
        return [taken for one in records for taken in self._deliver([one])[0]], []

    def _send(self, records: Sequence[Record]) -> list[str]:
        if not records:
            return []
        kind, run_id = records[0]["kind"], str(self._sent.run_id)
        if kind == "metrics":
            send_metrics(self._client, run_id, records)
            return []
        if kind not in SEND:
            raise DataError(f"`kind` must be {', '.join(SEND)} or metrics (got {kind}).")
        answer = SEND[kind](self._client, run_id, self._journal, records[0])
        return [answer] if answer else []

    def _is_known(self, record: Record) -> bool:
        if record["kind"] == "picture":
            return bool(record["step"] <= self._sent.pictures_until)
        return bool(record.get("is_history")) and record["step"] <= self._sent.history_until

    def _note(self, sent: Sent) -> None:
        self._sent = sent
        self._journal.note_sent(sent)

    def _warn(self, record: Record, error: Exception) -> None:
        if record["kind"] not in self._warned_of:
            place = self._journal.folder / "journal.jsonl"
            what = (record["kind"], in_one_line(error), place)
            logger.warning("MLflow does not take a record of kind %s (%s). It stays in %s.", *what)
        self._warned_of.add(record["kind"])
