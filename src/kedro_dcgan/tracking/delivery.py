"""A journal, sent to an MLflow server record by record: what is refused is left out, what fails comes again."""

import dataclasses
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from kedro_dcgan.errors import TrackingError
from kedro_dcgan.tracking.journal import Journal, Record, Sent
from kedro_dcgan.tracking.records import SEND, send_metrics
from kedro_dcgan.tracking.settings import TrackingSettings, masked

logger = logging.getLogger(__name__)

# Tells runs of ours from each other, before MLflow has given them an id that we know.
KEY_TAG = "kedro_dcgan.run"

# MLflow takes so many at once.
_METRICS_AT_ONCE = 1000
# Requests that may be answered in another way tomorrow: by a server that was restarted, or with the right password.
_PASSING = (401, 403, 408, 409, 429)


class Delivery:
    """Sends one journal; whoever uses it holds the journal's right to be sent."""

    def __init__(self, journal: Journal, settings: TrackingSettings) -> None:
        self._journal, self._settings = journal, settings
        self._client = mlflow.MlflowClient(settings.server)
        self._sent = journal.sent(settings.shown_server)
        self._run: Run | None = None
        # A run that the server had before this journal: which of its steps it needs no more.
        self._known_until = 0

    def send_next(self) -> int:
        """Send the next record, or all metrics up to the next one that is something else; return how many these were.

        What the server refuses is left out, with a warning.

        Raises:
            Exception: what the server, or the way to it, answers today and may not answer tomorrow.
        """
        records, end = self._next()
        if not records:
            return 0
        answers: list[str] = []
        try:
            run = self._find_run()
            # From the beginning, if the run is new.
            records, end = self._next()
            answers = self._deliver(records, run) if run else []
        except Exception as error:
            if not _is_refusal(error):
                raise
            self._warn(records[0], error)
        self._note(offset=end, answers=(*self._sent.answers, *answers))
        for record in records:
            if "file" in record:
                self._journal.drop(record["file"])
        return len(records)

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

    def _deliver(self, records: list[Record], run: Run) -> list[str]:
        run_id = str(run.info.run_id)
        if records[0]["kind"] == "metrics":
            send_metrics(self._client, run_id, [one for one in records if not self._is_known(one)])
            return []
        answer = SEND[records[0]["kind"]](self._client, run_id, self._journal, records[0])
        return [answer] if answer else []

    def _is_known(self, record: Record) -> bool:
        return bool(record.get("is_history")) and record["step"] <= self._known_until

    def _find_run(self) -> Run | None:
        # Once for a delivery: it may have been deleted, or its database with it.
        if self._run is None:
            self._run = self._former_run() or self._tagged_run()
            if self._run is None and not self._journal.identity.must_exist:
                self._run = self._new_run()
            if self._run is None:
                logger.warning("The MLflow run that trained this generator is not at %s.", self._settings.shown_server)
                return None
            self._note(run_id=self._run.info.run_id)
        return self._run

    def _former_run(self) -> Run | None:
        if self._sent.run_id is None:
            return None
        try:
            run = self._client.get_run(self._sent.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            run = None
        if run is None or run.info.lifecycle_stage != "active":
            # Another database has taken the place of the one that had it, or somebody has deleted it, and yet it
            # goes on: there is a new one, with everything.
            self._sent = Sent(self._sent.server)
            return None
        return run

    def _tagged_run(self) -> Run | None:
        experiment = self._client.get_experiment_by_name(self._journal.identity.experiment)
        if experiment is None:
            return None
        sought = f"tags.`{KEY_TAG}` = '{self._journal.identity.key}'"
        runs = self._client.search_runs([experiment.experiment_id], sought, max_results=1)
        if runs:
            history = self._client.get_metric_history(runs[0].info.run_id, "discriminator_loss")
            self._known_until = max((metric.step for metric in history), default=0)
        return runs[0] if runs else None

    def _new_run(self) -> Run:
        identity = self._journal.identity
        tags = {KEY_TAG: identity.key, "mlflow.source.name": "kedro-dcgan", "mlflow.source.type": "PROJECT"}
        return self._client.create_run(self._experiment_id(), identity.created, tags, identity.name)

    def _experiment_id(self) -> str:
        name = self._journal.identity.experiment
        experiment = self._client.get_experiment_by_name(name)
        if experiment is not None:
            if experiment.lifecycle_stage == "deleted":
                self._client.restore_experiment(experiment.experiment_id)
            return str(experiment.experiment_id)
        # The UI shows model training first, not language models.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        try:
            return str(self._client.create_experiment(name, self._settings.artifact_location, kind))
        except MlflowException:
            # Another run was faster.
            experiment = self._client.get_experiment_by_name(name)
            if experiment is None:
                raise
            return str(experiment.experiment_id)

    def _note(self, **changes: Any) -> None:
        self._sent = dataclasses.replace(self._sent, **changes)
        self._journal.note_sent(self._sent)

    def _warn(self, record: Record, error: Exception) -> None:
        said = masked(" ".join(str(error).split()))
        place = self._journal.folder / "journal.jsonl"
        logger.warning("MLflow refuses a record of kind %s (%s). It stays in %s.", record["kind"], said, place)


def connect(settings: TrackingSettings) -> None:
    """Let MLflow's own functions use the server of the project."""
    mlflow.set_tracking_uri(settings.server)
    mlflow.set_registry_uri(settings.server)


@contextmanager
def reachable(settings: TrackingSettings) -> Iterator[None]:
    """Say in one line that the server did not answer.

    Raises:
        TrackingError: if it did not.
    """
    try:
        yield
    except (MlflowException, OSError) as error:
        said = masked(" ".join(str(error).split())[:300])
        raise TrackingError(
            f"`{settings.shown_server}` must answer (it does not: {said}). Start it, or set MLFLOW_TRACKING_URI."
        ) from None


def send_all(journal: Journal, settings: TrackingSettings) -> Iterator[int]:
    """Send what is left of a journal; yield how many records went each time. None do if another process is at it.

    Raises:
        Exception: as `Delivery.send_next`.
    """
    with journal.being_sent() as is_free:
        delivery = Delivery(journal, settings)
        while is_free and (count := delivery.send_next()):
            yield count


def _is_refusal(error: Exception) -> bool:
    if isinstance(error, MlflowException):
        # (Of a server on this disk, too: MLflow says it as it would over HTTP.)
        status = error.get_http_status_code()
        return 400 <= status < 500 and status not in _PASSING and error.error_code != "ENDPOINT_NOT_FOUND"
    # A server that does not answer, a disk that is full. But a file that is gone does not come back.
    return isinstance(error, FileNotFoundError) or not isinstance(error, OSError)
