"""The registered model, as code: seeds or latents in, PNG images in base64 out.

A row of the input is a request. It has either `seed` and, if more than one image is wanted, `count`, or `latents`, a
list of `latent_dim` numbers for one image. The output has a row an image: `row`, which request it answers, `index`,
which of its images it is, and `png`. Equal requests give equal images, whatever else is asked with them.

MLflow runs this file when it loads the model; the weights lie beside it as safetensors, nothing is pickled.
"""

import base64
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from PIL import Image
from torch import Tensor

from kedro_dcgan.model.networks import GeneratorConfig
from kedro_dcgan.model.sampling import generate_all, sample_latents
from kedro_dcgan.model.saved import read_generator
from kedro_dcgan.training.threads import most_threads

# In one request and its neighbours together: more would take memory and time from everyone else.
MOST_IMAGES = 1024
# The largest whole number that comes through JSON, and through MLflow, as it is everywhere.
LARGEST_SEED = 2**53 - 1


class GeneratorModel(PythonModel):
    """Draws images."""

    def load_context(self, context: PythonModelContext) -> None:
        """Build the generator from the files that were logged with the model."""
        torch.set_num_threads(most_threads())
        self._generator = read_generator(Path(context.artifacts["generator"])).build()

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None):  # type: ignore[no-untyped-def]  # noqa: ANN201  (mlflow turns an annotated return type into a signature)
        """Return a row an image."""
        requests = [_latents(row, number, self._generator.config) for number, row in enumerate(_rows(model_input))]
        wanted = sum(map(len, requests))
        _require(
            0 < wanted <= MOST_IMAGES,
            f"its rows must have `seed` or `latents`, and ask for 1 to {MOST_IMAGES} images in all (got {wanted})",
        )
        images = generate_all(self._generator, torch.cat(requests)).permute(0, 2, 3, 1).numpy()
        places = [(row, index) for row, latents in enumerate(requests) for index in range(len(latents))]
        answers = [(*place, _png(image)) for place, image in zip(places, images, strict=True)]
        return pd.DataFrame(answers, columns=["row", "index", "png"])


def _rows(model_input: pd.DataFrame) -> list[dict[str, Any]]:
    rows = model_input.to_dict(orient="records")
    return [{str(name): value for name, value in row.items() if not _is_missing(value)} for row in rows]


def _latents(row: dict[str, Any], number: int, config: GeneratorConfig) -> Tensor:
    name = f"row {number}"
    _require(("seed" in row) != ("latents" in row), f"{name} must have either `seed` or `latents`")
    if "latents" in row:
        values = np.asarray(row["latents"], dtype=np.float32)
        is_vector = values.shape == (config.latent_dim,) and bool(np.isfinite(values).all())
        _require(
            is_vector and "count" not in row,
            f"`latents` of {name} must be {config.latent_dim} finite numbers, without `count`",
        )
        return torch.from_numpy(values)[None]
    seed, count = _whole(row["seed"], f"`seed` of {name}", 0, LARGEST_SEED), row.get("count", 1)
    return sample_latents(_whole(count, f"`count` of {name}", 1, MOST_IMAGES), config, seed)


def _whole(value: Any, name: str, least: int, most: int) -> int:
    # A column in which some rows have nothing is one of floats.
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    is_whole = is_number and least <= value <= most and value == int(value)
    _require(is_whole, f"{name} must be a whole number from {least} to {most} (got {value})")
    return int(value)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA


def _require(holds: bool, rule: str) -> None:
    # MLflow's server answers 400 to this, with the text.
    if not holds:
        raise MlflowException(f"The request is not valid: {rule}.", INVALID_PARAMETER_VALUE)


def _png(image: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


set_model(GeneratorModel())
