"""The registered model, as code: latents float32 `(N, latent_dim)` in, images uint8 `(N, H, W, C)` out.

MLflow runs this file when it loads the model; the weights lie beside it as safetensors, nothing is pickled.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from kedro_dcgan.gan.sampling import generate_all
from kedro_dcgan.generator_files import read_generator


class GeneratorModel(PythonModel):
    """Draws images from latents; equal latents give equal images."""

    def load_context(self, context: PythonModelContext) -> None:
        """Build the generator from the files that were logged with the model."""
        self._generator = read_generator(Path(context.artifacts["generator"])).build()

    def predict(self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None):  # type: ignore[no-untyped-def]  # noqa: ANN201  (mlflow turns an annotated return type into a signature)
        """Return one image for each latent."""
        latents = torch.as_tensor(np.asarray(model_input, dtype=np.float32))
        return generate_all(self._generator, latents).permute(0, 2, 3, 1).numpy()


set_model(GeneratorModel())
