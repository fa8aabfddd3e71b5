"""The generator as an MLflow model: rows of seeds or latents in, PNG images out (`kedro_dcgan.model.image_requests`).

MLflow runs this file when it loads the model (`log_model` passes its path). The weights are safetensors, not a pickle.
"""

import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities.logged_model_status import LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature, set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType, Array

from kedro_dcgan.errors import RequestError
from kedro_dcgan.model.image_requests import answer_requests, read_requests
from kedro_dcgan.model.saved import read_generator
from kedro_dcgan.model.synthetic_marks import SyntheticMark
from kedro_dcgan.training.threads import most_threads, torch_threads

# Tag with the exported generator that a model, or its version, was created from: a retry finds an earlier attempt.
ORIGIN_TAG = "kedro_dcgan.generator"

_REQUIREMENTS = ("torch", "numpy", "pillow", "pandas", "pydantic", "safetensors")


class GeneratorModel(PythonModel):
    """Generates images."""

    def load_context(self, context: PythonModelContext) -> None:
        """Build the generator from the artifacts of the model."""
        trained = read_generator(Path(context.artifacts["generator"]))
        self._generator, self._mark = trained.build(), SyntheticMark.of(trained)
        self._workers, self._lock = most_threads(), threading.Lock()

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None):  # type: ignore[no-untyped-def]  # noqa: ANN201  (mlflow turns an annotated return type into a signature)
        """Return one row per image."""
        # pandas fills absent keys with NaN; a list is never NaN.
        rows = [
            {
                key: value.tolist() if isinstance(value, np.ndarray) else value
                for key, value in row.items()
                if not pd.api.types.is_scalar(value) or not pd.isna(value)
            }
            for row in model_input.to_dict(orient="records")
        ]
        try:
            requests = read_requests(rows, self._generator.config)
            # One request at a time uses all cores. torch has one number of threads for the whole process.
            with self._lock, torch_threads(1):
                answers = list(answer_requests(self._generator, requests, self._mark, self._workers))
        except RequestError as error:
            # MLflow's own server answers with status 400 and the message.
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from error
        return pd.DataFrame(answers, columns=["row", "index", "png"])


def log_model(client: mlflow.MlflowClient, run_id: str, folder: Path, step: int) -> str:
    """Log the exported generator in `folder` as a model of a run at a step (`images_seen`); return the model's id."""
    # Reuse a complete model of an interrupted attempt; delete an incomplete one.
    run = client.get_run(run_id)
    for earlier in client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'"):
        if earlier.tags.get(ORIGIN_TAG) == folder.name:
            if earlier.status == LoggedModelStatus.READY:
                return str(earlier.model_id)
            client.delete_logged_model(earlier.model_id)

    # `Model.log` would create it in the experiment of the active run, and no run is active.
    tags, parameters = {ORIGIN_TAG: folder.name}, dict(run.data.params)
    model = client.create_logged_model(run.info.experiment_id, "generator", run_id, tags, parameters, "generator")
    # The model itself checks that seed and count are integers: as `long`, MLflow would silently turn 1.5 into 1.
    latents = ColSpec(Array(DataType.double), "latents", required=False)
    inputs = Schema([*(ColSpec(AnyType(), name, required=False) for name in ("seed", "count", "label")), latents])
    outputs = Schema([ColSpec(DataType.long, "row"), ColSpec(DataType.long, "index"), ColSpec(DataType.string, "png")])
    Model.log(
        artifact_path=None,
        name="generator",
        flavor=mlflow.pyfunc,
        run_id=run_id,
        model_id=model.model_id,
        python_model=__file__,
        # Each artifact is named after its file, for example `generator.onnx`.
        artifacts={part.name: part.resolve().as_uri() for part in sorted(folder.iterdir())},
        code_paths=[str(Path(__file__).parents[1])],
        signature=ModelSignature(inputs, outputs),
        input_example=pd.DataFrame({"seed": [0], "count": [2]}),
        # Without a local version: 2.15.0+cu132 cannot be installed everywhere.
        pip_requirements=[f"{package}=={version(package).partition('+')[0]}" for package in _REQUIREMENTS],
        step=step,
    )
    return str(model.model_id)


set_model(GeneratorModel())
