"""The generator as an MLflow model: seeds or latents in, base64-encoded PNG images out.

Each input row is a request: either `seed` and optionally `count` (default 1), or `latents`, a list of `latent_dim`
numbers for one image. Each output row is an image: `row` is the index of its request, `index` its index within the
request, and `png` the image. Equal requests give equal images, whatever the other rows contain.

MLflow runs this file when it loads the model (`log_model` passes its path). The weights are safetensors, not a pickle.
"""

import base64
import io
from collections.abc import Hashable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.entities.logged_model_status import LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature, set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType, Array
from PIL import Image
from torch import Tensor

from kedro_dcgan.model.networks import GeneratorConfig
from kedro_dcgan.model.sampling import generate_all, sample_latents
from kedro_dcgan.model.saved import read_generator
from kedro_dcgan.training.threads import most_threads

# The limit for all rows together: one client must not take all memory and time.
MAX_IMAGES = 1024
# The largest integer that JSON, and MLflow, pass on exactly.
MAX_SEED = 2**53 - 1

# Tag with the exported generator that a model, or its version, was created from: a retry finds an earlier attempt.
ORIGIN_TAG = "kedro_dcgan.generator"

_REQUIREMENTS = ("torch", "numpy", "pillow", "pandas", "pydantic", "safetensors")


class GeneratorModel(PythonModel):
    """Generates images."""

    def load_context(self, context: PythonModelContext) -> None:
        """Build the generator from the artifacts of the model."""
        torch.set_num_threads(most_threads())
        self._generator = read_generator(Path(context.artifacts["generator"])).build()

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None):  # type: ignore[no-untyped-def]  # noqa: ANN201  (mlflow turns an annotated return type into a signature)
        """Return one row per image."""
        rows = model_input.to_dict(orient="records")
        requests = [_latents(row, number, self._generator.config) for number, row in enumerate(rows)]
        total = sum(map(len, requests))
        rule = f"its rows must have `seed` or `latents`, and request 1 to {MAX_IMAGES} images in total (got {total})"
        _require(0 < total <= MAX_IMAGES, rule)
        images = generate_all(self._generator, torch.cat(requests)).permute(0, 2, 3, 1).numpy()
        indices = [(row, index) for row, latents in enumerate(requests) for index in range(len(latents))]
        results = []
        for index, image in zip(indices, images, strict=True):
            file = io.BytesIO()
            Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, "PNG")
            results.append((*index, base64.b64encode(file.getvalue()).decode()))
        return pd.DataFrame(results, columns=["row", "index", "png"])


def _latents(row: Mapping[Hashable, Any], number: int, config: GeneratorConfig) -> Tensor:
    # Return the latents of a request: (images, latent_dim). pandas fills absent keys with NaN; a list is never NaN.
    row = {key: value for key, value in row.items() if not pd.api.types.is_scalar(value) or not pd.isna(value)}
    name = f"row {number}"
    _require(("seed" in row) != ("latents" in row), f"{name} must have either `seed` or `latents`")
    if "latents" in row:
        values = np.asarray(row["latents"], dtype=np.float32)
        is_valid = values.shape == (config.latent_dim,) and bool(np.isfinite(values).all()) and "count" not in row
        _require(is_valid, f"`latents` of {name} must be {config.latent_dim} finite numbers, without `count`")
        return torch.from_numpy(values)[None]
    seed = _integer(row["seed"], f"`seed` of {name}", 0, MAX_SEED)
    count = _integer(row.get("count", 1), f"`count` of {name}", 1, MAX_IMAGES)
    return sample_latents(count, config, seed)


def _integer(value: Any, name: str, minimum: int, maximum: int) -> int:
    # pandas stores a column with missing values as floats.
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    is_integer = is_number and minimum <= value <= maximum and value == int(value)
    _require(is_integer, f"{name} must be an integer from {minimum} to {maximum} (got {value})")
    return int(value)


def _require(is_valid: bool, rule: str) -> None:
    # MLflow's server answers with status 400 and the message.
    if not is_valid:
        raise MlflowException(f"The request is not valid: {rule}.", INVALID_PARAMETER_VALUE)


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
    inputs = Schema([*(ColSpec(AnyType(), name, required=False) for name in ("seed", "count")), latents])
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
