"""Send a journal to an MLflow server, record by record.

A permanent error leaves a record out. A database conflict is retried here, soon. Any other transient error is raised:
whoever sends the journal retries later.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import mlflow
from mlflow.exceptions import MlflowException

from kedro_dcgan.errors import DataError, TrackingError
from kedro_dcgan.tracking.journal import Journal, RunIdentity, Sent
from kedro_dcgan.tracking.journal_files import Record
from kedro_dcgan.tracking.records import SEND, send_metrics
from kedro_dcgan.tracking.settings import TrackingSettings, in_one_line
from kedro_dcgan.tracking.transient_errors import is_integrity_error, is_refusal, retry_conflicts

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


# TODO(merge) tracking.remote

# Tells runs of ours from each other, before MLflow has given them an id that we know.
KEY_TAG = "kedro_dcgan.run"


def find_or_make_run(
    client: mlflow.MlflowClient, sent: Sent, identity: RunIdentity, settings: TrackingSettings
) -> Sent:
    """Return what is known to be sent to a run that is there now: nothing yet, if it is another than the one before.

    Raises:
        TrackingError: if there is none, and it must not be made.
        Exception: of many kinds, if the server does not answer.
    """
    if sent.run_id and is_active(client, sent.run_id):
        return sent
    # Another database may have taken the place of the one that had the run, or somebody has deleted it, and yet it
    # goes on: then there is a new one, with everything.
    found = _find_by_key(client, sent.server, identity)
    if found:
        return found
    if identity.must_exist:
        raise TrackingError(f"the run {identity.key[:8]} that trained this generator must be there (it is not)")
    return Sent(sent.server, _make(client, identity, settings))


def is_active(client: mlflow.MlflowClient, run_id: str) -> bool:
    """Tell whether a run is there and not deleted."""
    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


def _find_by_key(client: mlflow.MlflowClient, server: str, identity: RunIdentity) -> Sent | None:
    experiment = client.get_experiment_by_name(identity.experiment)
    if experiment is None:
        return None
    if experiment.lifecycle_stage == "deleted":
        if identity.must_exist:
            return None
        # Its runs come back with it.
        client.restore_experiment(experiment.experiment_id)
    runs = client.search_runs([experiment.experiment_id], f"tags.`{KEY_TAG}` = '{identity.key}'", max_results=1)
    if not runs:
        return None
    run_id = str(runs[0].info.run_id)
    history = client.get_metric_history(run_id, "discriminator_loss")
    # As `records` names pictures.
    pictures = [file.path.split("+step+") for file in client.list_artifacts(run_id, "images")]
    return Sent(
        server,
        run_id,
        history_until=max((metric.step for metric in history), default=-1),
        pictures_until=max((int(parts[1].split("+")[0]) for parts in pictures if len(parts) > 1), default=-1),
    )


def _make(client: mlflow.MlflowClient, identity: RunIdentity, settings: TrackingSettings) -> str:
    tags = {KEY_TAG: identity.key, "mlflow.source.name": "kedro-dcgan", "mlflow.source.type": "PROJECT"}
    experiment = _experiment_id(client, identity.experiment, settings)
    return str(client.create_run(experiment, identity.created, tags, identity.name).info.run_id)


def _experiment_id(client: mlflow.MlflowClient, name: str, settings: TrackingSettings) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    # The UI shows model training first, not language models.
    kind = {"mlflow.experimentKind": "custom_model_development"}
    try:
        return str(client.create_experiment(name, settings.artifact_location, kind))
    except MlflowException:
        # Another run was faster.
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return str(experiment.experiment_id)
