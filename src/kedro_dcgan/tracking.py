"""MLflow: one run for each trained generator, live numbers and pictures, and the registry.

No other module imports mlflow, but for `serving.py`, which MLflow itself runs.

Metrics are logged at `step = images_seen`.
"""

import contextlib
import io
import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import RunStatus
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from kedro_dcgan.errors import ModelError

if TYPE_CHECKING:
    from kedro_dcgan.gan.trained import TrainedGenerator

logger = logging.getLogger(__name__)

# What MLflow raises when its server or its database does not answer.
Unavailable = (MlflowException, ConnectionError, TimeoutError)

_PACKAGE = Path(__file__).parent
_RUNTIME = ("torch", "numpy", "pillow", "pandas", "pydantic", "safetensors")


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model and the aliases that point to it."""

    name: str
    version: str
    aliases: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} v{self.version} ({', '.join(self.aliases)})"


def open_run(experiment: str, name: str | None = None) -> str:
    """Open a new run and return its id. Without a name MLflow makes one up."""
    experiment_id = mlflow.set_experiment(experiment).experiment_id
    return str(mlflow.start_run(experiment_id=experiment_id, run_name=name).info.run_id)


def reopen_run(run_id: str) -> str:
    """Go on with a former run and return its id."""
    return str(mlflow.start_run(run_id=run_id).info.run_id)


def run_exists(run_id: str) -> bool:
    """Tell whether the tracking server knows a run and has not deleted it."""
    try:
        return bool(mlflow.MlflowClient().get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException:
        return False


def last_step(run_id: str) -> int:
    """Return the last step at which a run has losses, 0 if it has none."""
    history = mlflow.MlflowClient().get_metric_history(run_id, "discriminator_loss")
    return max((metric.step for metric in history), default=0)


def close_run(status: str) -> None:
    """End the open run with FINISHED, FAILED or KILLED; do nothing if none is open."""
    mlflow.end_run(RunStatus.to_string(RunStatus.from_string(status)))


def log_parameters(parameters: dict[str, Any], tags: dict[str, str]) -> None:
    """Log flat parameters and tags to the open run. What it says already stays: MLflow does not let it change."""
    run = mlflow.active_run()
    known = mlflow.MlflowClient().get_run(run.info.run_id).data.params if run and parameters else {}
    mlflow.log_params({name: value for name, value in parameters.items() if name not in known})
    mlflow.set_tags(tags)


def log_dataset(name: str, digest: str, source: str, tags: dict[str, str]) -> None:
    """Log the images that the open run trains on: the UI shows them, and finds runs by them."""
    # MLflow warns that a plain path could also be something else.
    with warnings.catch_warnings(action="ignore"):
        try:
            place = resolve_dataset_source(source)
        except MlflowException:
            # torchvision's datasets are no place that MLflow knows.
            place = CodeDatasetSource(tags={"source": source})
    dataset = MetaDataset(place, name=name, digest=digest)  # type: ignore[abstract]
    mlflow.log_input(dataset, context="training", tags=tags)


def log_metrics(metrics: dict[str, float], images_seen: int) -> None:
    """Log numbers to the open run."""
    mlflow.log_metrics(metrics, step=images_seen)


def log_samples(picture: np.ndarray, images_seen: int) -> None:
    """Log a sample grid, uint8 `(H, W)` or `(H, W, 3)`; the UI shows them with a slider over steps."""
    mlflow.log_image(picture, key="samples", step=images_seen)


def log_file(path: Path) -> None:
    """Log a file under `reports`."""
    mlflow.log_artifact(str(path), "reports")


def register_generator(folder: Path, trained: "TrainedGenerator", name: str) -> RegisteredVersion:
    """Register the generator in `folder` as a new version of a model that turns latents into images.

    `candidate` always moves to the new version. `champion` moves if there is none yet, or if the new
    version is better by the same metric, measured in the same way on the same images.
    """
    metric = trained.facts["primary_metric"]
    version = _log_new_version(folder, trained, name)
    client = mlflow.MlflowClient()
    tags = {
        "metric": metric,
        "value": repr(trained.facts["metrics"][metric]),
        "dataset_digest": trained.dataset_digest,
        "protocol": json.dumps(trained.facts["protocol"], sort_keys=True),
    }
    for key, text in tags.items():
        client.set_model_version_tag(name, version, key, text)
    aliases = ["candidate", "champion"] if _beats_champion(client, name, tags) else ["candidate"]
    for alias in aliases:
        client.set_registered_model_alias(name, alias, version)
    return RegisteredVersion(name, version, tuple(aliases))


def _log_new_version(folder: Path, trained: "TrainedGenerator", name: str) -> str:
    spec = trained.spec
    # MLflow prints its own account of this to standard error; the caller has a line of its own.
    with contextlib.redirect_stderr(io.StringIO()) as chatter:
        info = mlflow.pyfunc.log_model(
            name="generator",
            python_model=str(_PACKAGE / "serving.py"),
            artifacts={"generator": str(folder)},
            code_paths=[str(_PACKAGE)],
            signature=ModelSignature(
                inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, spec.latent_dim))]),
                outputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, spec.image_size, spec.image_size, spec.channels))]),
            ),
            input_example=np.zeros((2, spec.latent_dim), dtype=np.float32),
            pip_requirements=_pinned(_RUNTIME),
            registered_model_name=name,
            step=trained.images_seen,
        )
    logger.debug(chatter.getvalue())
    return str(info.registered_model_version)


def fetch_generator(model: str) -> Path:
    """Return a local folder with the generator's files of `NAME@ALIAS`.

    Raises:
        ModelError: if the registry has no such model or alias.
    """
    try:
        return Path(mlflow.artifacts.download_artifacts(f"models:/{model}")) / "artifacts" / "generator"
    except MlflowException as error:
        raise ModelError(
            f"`--model` must be a registered NAME@ALIAS (got {model}: {error.message}). "
            "Train one with kedro run, or look at kedro mlflow ui."
        ) from None


def _beats_champion(client: mlflow.MlflowClient, name: str, tags: dict[str, str]) -> bool:
    try:
        champion = client.get_model_version_by_alias(name, "champion")
    except MlflowException as error:
        # There is none; MLflow has two codes for that. A server that cannot be asked is another matter.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return True
        raise
    comparable = all(champion.tags.get(key) == tags[key] for key in ("metric", "dataset_digest", "protocol"))
    return comparable and float(tags["value"]) < float(champion.tags["value"])


def _pinned(packages: tuple[str, ...]) -> list[str]:
    from importlib.metadata import version

    # A local version such as 2.15.0+cu132 cannot be installed by that name everywhere.
    return [f"{package}=={version(package).partition('+')[0]}" for package in packages]
