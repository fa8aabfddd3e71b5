"""The MLflow run of a journal, and what each kind of record becomes there. Uploading a record twice does no harm.

| kind | fields | why a second upload changes nothing |
|---|---|---|
| `parameters`, `tags` | `values` | a parameter keeps its first value, a tag its last |
| `metrics` | `values`, `step` | MLflow drops duplicates: equal name, step, time and value |
| `dataset` | `name`, `digest`, `source`, `tags` | a run has an input only once |
| `picture` | `file`, `key`, `step` | step and time determine the file name |
| `file` | `file`, `folder` | it replaces itself |
| `generator` | `file`, `name` | the registry is searched for it first |
| `status` | `status` | the last one counts |
"""

import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import mlflow
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_LOGGED_IMAGES, MLFLOW_PARENT_RUN_ID
from PIL import Image

from kedro_dcgan.errors import DataError, TrackingError
from kedro_dcgan.tracking.connection import TrackingSettings, create_experiment, retry_conflicts
from kedro_dcgan.tracking.journal import Journal, Record, UploadState
from kedro_dcgan.tracking.registry import register_generator

# The tag with the key of a run: it identifies the run before we know its MLflow id.
KEY_TAG = "kedro_dcgan.run"


# Seconds to wait for another upload of the journal of the run that a run is nested in.
_LOCK_TIMEOUT = 20.0


class MlflowRun:
    """The run that the records of a journal belong to, created unless it must exist. Database conflicts are retried.

    `state` is how much of the journal the run has: nothing if it is not the previous run.
    """

    def __init__(self, journal: Journal, settings: TrackingSettings) -> None:
        self.journal, self._settings = journal, settings
        self._client = mlflow.MlflowClient(settings.server)
        self.state = journal.upload_state(settings.shown_server)
        state = retry_conflicts(self._find_or_create)
        if state != self.state:
            self.save_state(state)

    def save_state(self, state: UploadState) -> None:
        """Store in the journal how much of it the run has."""
        self.state = state
        self.journal.save_upload_state(state)

    def is_active(self) -> bool:
        """Return whether the run exists and is not deleted."""
        try:
            return bool(self._client.get_run(str(self.state.run_id)).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False

    def upload(self, records: Sequence[Record]) -> list[str]:
        """Upload one record, or several of metrics, except those that the run has already; return messages."""
        first, state = records[0], self.state
        if first["kind"] == "metrics":
            metrics = [
                Metric(name, value, record["time"], record["step"])
                for record in records
                if not record.get("is_history") or record["step"] > state.history_until
                for name, value in record["values"].items()
            ]
            retry_conflicts(lambda: self._client.log_batch(str(state.run_id), metrics=metrics))
            return []
        if first["kind"] == "picture" and first["step"] <= state.pictures_until:
            return []
        message = retry_conflicts(lambda: self._log_record(first))
        return [message] if message else []

    def _log_record(self, record: Record) -> str | None:
        # Return a message for the user, if any.
        client, run_id = self._client, str(self.state.run_id)
        match record["kind"]:
            case "parameters":
                # MLflow parameters cannot change. A resumed training keeps those of its first start.
                known = client.get_run(run_id).data.params
                new = [Param(name, str(value)) for name, value in record["values"].items() if name not in known]
                for start in range(0, len(new), 100):
                    client.log_batch(run_id, params=new[start : start + 100])
            case "tags":
                client.log_batch(run_id, tags=[RunTag(name, str(text)) for name, text in record["values"].items()])
            case "dataset":
                self._log_dataset(record)
            case "picture":
                self._log_picture(record)
            case "file":
                (file,) = self.journal.attachments(record).iterdir()
                client.log_artifact(run_id, str(file), record["folder"])
            case "generator":
                version = register_generator(client, run_id, self.journal.attachments(record), record["name"])
                return f"registered    {version}"
            case "status" if record["status"] == "RUNNING":
                client.update_run(run_id, "RUNNING")
            case "status":
                client.set_terminated(run_id, record["status"], record["time"])
            case kind:
                known_kinds = "parameters, tags, metrics, dataset, picture, file, generator or status"
                raise DataError(f"`kind` of a record must be {known_kinds} (got {kind}).")
        return None

    def _log_dataset(self, record: Record) -> None:
        # MLflow warns that a plain path is ambiguous.
        with warnings.catch_warnings(action="ignore"):
            try:
                source = resolve_dataset_source(record["source"])
            except MlflowException:
                # MLflow has no source type for the datasets of torchvision.
                source = CodeDatasetSource(tags={"source": record["source"]})
        dataset = MetaDataset(source, name=record["name"], digest=record["digest"])  # type: ignore[abstract]
        tags = [InputTag(*tag) for tag in {MLFLOW_DATASET_CONTEXT: "training", **record["tags"]}.items()]
        self._client.log_inputs(str(self.state.run_id), [DatasetInput(Dataset(**dataset.to_dict()), tags)])

    def _log_picture(self, record: Record) -> None:
        # The UI parses this name. It is that of MLflow's log_image, but the last part is not random.
        key = self.journal.identity.key[:8]
        name = f"{record['key']}+step+{record['step']}+timestamp+{record['time']}+{key}"
        (file,) = self.journal.attachments(record).iterdir()
        with tempfile.TemporaryDirectory() as folder, Image.open(file) as image:
            shutil.copyfile(file, Path(folder, f"{name}.png"))
            image.thumbnail((256, 256))
            image.save(Path(folder, f"{name}+compressed.webp"))
            # At the same step in all runs, so that the UI shows the newest samples of each side by side.
            latest = f"latest_{record['key']}+step+0+timestamp+0+{key}"
            for end in (".png", "+compressed.webp"):
                shutil.copyfile(Path(folder, f"{name}{end}"), Path(folder, f"{latest}{end}"))
            self._client.log_artifacts(str(self.state.run_id), folder, "images")
        self._client.set_tag(str(self.state.run_id), MLFLOW_LOGGED_IMAGES, True)

    def _find_or_create(self) -> UploadState:
        if self.state.run_id and self.is_active():
            return self.state
        # The user may have deleted the run or replaced the database. Then a new run gets all records.
        identity = self.journal.identity
        experiment = self._client.get_experiment_by_name(identity.experiment)
        if experiment and experiment.lifecycle_stage == "deleted" and not identity.must_exist:
            # This restores the runs of the experiment too.
            self._client.restore_experiment(experiment.experiment_id)
        found = self._find_by_key(experiment.experiment_id) if experiment else None
        if found:
            return found
        if identity.must_exist:
            raise TrackingError(f"the run {identity.key[:8]} that trained this generator must exist (it is missing).")
        if experiment is None:
            create_experiment(self._client, identity.experiment, self._settings.artifact_location)
            return self._find_or_create()
        tags = {KEY_TAG: identity.key, "mlflow.source.name": "kedro-dcgan", "mlflow.source.type": "PROJECT"}
        if parent := self._parent_id(experiment.experiment_id):
            tags[MLFLOW_PARENT_RUN_ID] = parent
        run = self._client.create_run(experiment.experiment_id, identity.created, tags, identity.name)
        return UploadState(self.state.server, str(run.info.run_id))

    def _parent_id(self, experiment: str) -> str | None:
        """Return the id of the run that this one is nested in; create it if its journal is here."""
        key = self.journal.identity.parent
        found = self._id_of(experiment, key) if key else None
        journal = Journal(self.journal.folder.with_name(key)) if key and not found else None
        if journal and (journal.folder / "run.json").is_file():
            # The upload of that journal also creates the run, unless it exists.
            with journal.lock("sending", _LOCK_TIMEOUT) as is_free:
                if not is_free:
                    raise TrackingError(
                        f"`{journal.folder}` must not be uploaded for so long (it is). Try again later."
                    )
                found = MlflowRun(journal, self._settings).state.run_id
        return found

    def _id_of(self, experiment: str, key: str) -> str | None:
        runs = self._client.search_runs([experiment], f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
        return str(runs[0].info.run_id) if runs else None

    def _find_by_key(self, experiment: str) -> UploadState | None:
        client, run_id = self._client, self._id_of(experiment, self.journal.identity.key)
        if run_id is None:
            return None
        history = [metric.step for metric in client.get_metric_history(run_id, "discriminator_loss")]
        # `_log_picture` puts the step into the name.
        names = [file.path.partition("+step+")[2] for file in client.list_artifacts(run_id, "images")]
        pictures = [int(name.partition("+")[0]) for name in names if name]
        return UploadState(self.state.server, run_id, 0, max(history, default=-1), max(pictures, default=-1))
