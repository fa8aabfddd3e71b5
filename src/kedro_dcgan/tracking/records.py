"""What is done at the server for a record of each kind. Done twice it does no harm.

| kind | what it has | why twice is once |
|---|---|---|
| `parameters`, `tags` | `values` | what a run says already stays |
| `metrics` | `values`, `step` | MLflow keeps one of what has the same name, step, time and value |
| `dataset` | `name`, `digest`, `source`, `tags` | a run has an input once |
| `picture` | `file`, `key`, `step` | the file's name follows from step and time |
| `file` | `file`, `folder` | it takes its own place |
| `generator` | `file`, `name` | it is looked for in the registry first |
| `status` | `status` | the last one counts |
"""

import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import mlflow
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_LOGGED_IMAGES
from PIL import Image

from kedro_dcgan.tracking.journal import Journal
from kedro_dcgan.tracking.journal_files import Record
from kedro_dcgan.tracking.registry import register_generator


def send_metrics(client: mlflow.MlflowClient, run_id: str, records: Sequence[Record]) -> None:
    """Send records of metrics, at most 1,000 numbers, in one request."""
    metrics = [
        Metric(name, value, record["time"], record["step"])
        for record in records
        for name, value in record["values"].items()
    ]
    if metrics:
        client.log_batch(run_id, metrics=metrics)


def _parameters(client: mlflow.MlflowClient, run_id: str, journal: Journal, record: Record) -> None:
    # MLflow does not let them change: where a training is gone on with, what its run says stays.
    known = client.get_run(run_id).data.params
    new = [Param(name, str(value)) for name, value in record["values"].items() if name not in known]
    for start in range(0, len(new), 100):
        client.log_batch(run_id, params=new[start : start + 100])


def _tags(client: mlflow.MlflowClient, run_id: str, journal: Journal, record: Record) -> None:
    client.log_batch(run_id, tags=[RunTag(name, str(text)) for name, text in record["values"].items()])


def _dataset(client: mlflow.MlflowClient, run_id: str, journal: Journal, record: Record) -> None:
    # MLflow warns that a plain path could also be something else.
    with warnings.catch_warnings(action="ignore"):
        try:
            place = resolve_dataset_source(record["source"])
        except MlflowException:
            # torchvision's datasets are no place that MLflow knows.
            place = CodeDatasetSource(tags={"source": record["source"]})
    dataset = MetaDataset(place, name=record["name"], digest=record["digest"])  # type: ignore[abstract]
    tags = {MLFLOW_DATASET_CONTEXT: "training", **record["tags"]}
    listed = [InputTag(name, text) for name, text in tags.items()]
    client.log_inputs(run_id, [DatasetInput(Dataset(**dataset.to_dict()), listed)])


def _picture(client: mlflow.MlflowClient, run_id: str, journal: Journal, record: Record) -> None:
    # As MLflow's own log_image names them, but for the last part, which follows from the others: the UI reads it.
    name = f"{record['key']}+step+{record['step']}+timestamp+{record['time']}+{journal.identity.key[:8]}"
    file = journal.files.file(record["file"])
    with tempfile.TemporaryDirectory() as folder, Image.open(file) as picture:
        shutil.copyfile(file, Path(folder, f"{name}.png"))
        picture.thumbnail((256, 256))
        picture.save(Path(folder, f"{name}+compressed.webp"))
        client.log_artifacts(run_id, folder, "images")
    client.set_tag(run_id, MLFLOW_LOGGED_IMAGES, True)


def _file(client: mlflow.MlflowClient, run_id: str, journal: Journal, record: Record) -> None:
    client.log_artifact(run_id, str(journal.files.file(record["file"])), record["folder"])


def _generator(client: mlflow.MlflowClient, run_id: str, journal: Journal, record: Record) -> str:
    folder = journal.files.folder(record["file"])
    return f"registered    {register_generator(client, run_id, folder, record['name'])}"


def _status(client: mlflow.MlflowClient, run_id: str, journal: Journal, record: Record) -> None:
    if record["status"] == "RUNNING":
        client.update_run(run_id, "RUNNING")
    else:
        client.set_terminated(run_id, record["status"], record["time"])


# What answers says what people want to hear.
SEND: dict[str, Callable[[mlflow.MlflowClient, str, Journal, Record], str | None]] = {
    "parameters": _parameters,
    "tags": _tags,
    "dataset": _dataset,
    "picture": _picture,
    "file": _file,
    "generator": _generator,
    "status": _status,
}
