"""The generator as a model of MLflow: logged with its run, and registered as a version with its numbers."""

import contextlib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import pandas as pd
from mlflow.entities.logged_model_status import LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array

from kedro_dcgan.tracking.standing import Standing

if TYPE_CHECKING:
    from kedro_dcgan.model.saved import TrainedGenerator

# Which of a run's generators a model was made of: a second attempt finds the first one by it.
ORIGIN_TAG = "kedro_dcgan.generator"

_PACKAGE = Path(__file__).parents[1]
_RUNTIME = ("torch", "numpy", "pillow", "pandas", "pydantic", "safetensors")


def create_version(
    client: mlflow.MlflowClient, run_id: str, folder: Path, trained: "TrainedGenerator", name: str, origin: str
) -> str:
    """Log the model that export made in `folder`, create a version of it, and return its number.

    `origin` tells it from other generators of the run: what an earlier attempt has made under it is used.
    """
    model_id = _logged_before(client, run_id, origin) or _log(client, run_id, folder, trained, origin)
    with contextlib.suppress(MlflowException):
        # There from the second version on.
        client.create_registered_model(name, description="Turns latents, or a seed and a count, into images.")
    tags = {ORIGIN_TAG: origin, **Standing.of(trained).tags(), "quality": trained.facts["quality"]}
    made = client.create_model_version(
        name, f"models:/{model_id}", run_id, tags, description=_account(trained), model_id=model_id
    )
    return str(made.version)


def _logged_before(client: mlflow.MlflowClient, run_id: str, origin: str) -> str | None:
    # What an attempt that was cut short has logged whole is used, and what it has not is removed.
    experiment = client.get_run(run_id).info.experiment_id
    for model in client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
        if model.tags.get(ORIGIN_TAG) == origin:
            if model.status == LoggedModelStatus.READY:
                return str(model.model_id)
            client.delete_logged_model(model.model_id)
    return None


def _log(client: mlflow.MlflowClient, run_id: str, folder: Path, trained: "TrainedGenerator", origin: str) -> str:
    run = client.get_run(run_id)
    # Made here, because `Model.log` would make it in the experiment of the run that is active: there is none.
    model = client.create_logged_model(
        run.info.experiment_id, "generator", run_id, {ORIGIN_TAG: origin}, dict(run.data.params), "generator"
    )
    Model.log(
        artifact_path=None,
        name="generator",
        flavor=mlflow.pyfunc,
        run_id=run_id,
        model_id=model.model_id,
        python_model=str(_PACKAGE / "tracking/serving.py"),
        # The key of `generator.onnx` is `generator.onnx`, and so on.
        artifacts={part.name: str(part) for part in sorted(folder.iterdir())},
        code_paths=[str(_PACKAGE)],
        signature=signature(),
        input_example=pd.DataFrame({"seed": [0], "count": [2]}),
        pip_requirements=_pinned(_RUNTIME),
        step=trained.images_seen,
    )
    return str(model.model_id)


def signature() -> ModelSignature:
    """Return what the registered model takes and gives (`serving` says what it means)."""
    # The model itself checks that these are whole numbers: of a `long`, MLflow would make 1 of 1.5 before.
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(AnyType(), "seed", required=False),
        ColSpec(AnyType(), "count", required=False),
        ColSpec(Array(DataType.double), "latents", required=False),
    ]
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.long, "row"),
        ColSpec(DataType.long, "index"),
        ColSpec(DataType.string, "png"),
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def _account(trained: "TrainedGenerator") -> str:
    """Return what people read of a version, in Markdown: its numbers with their intervals, and where they are from."""
    lines = ["| | | 95 % interval |", "|---|---:|---|"]
    for number in trained.facts["numbers"]:
        ends = "" if number["low"] is None else f"{number['low']:.4g} to {number['high']:.4g}"
        lines.append(f"| `{number['name']}` | {number['value']:.4g} | {ends} |")
    said = f"{trained.facts['quality']}. {trained.images_seen:,} images seen, of dataset {trained.dataset_digest}."
    return "\n".join([said, "", *lines])


def _pinned(packages: tuple[str, ...]) -> list[str]:
    # A local version such as 2.15.0+cu132 cannot be installed by that name everywhere.
    return [f"{package}=={version(package).partition('+')[0]}" for package in packages]
