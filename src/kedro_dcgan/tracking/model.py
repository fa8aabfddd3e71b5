"""The generator as an MLflow model: logged with its run, and registered as a version with its primary metric."""

import contextlib
import json
import math
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.entities.logged_model_status import LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array

from kedro_dcgan.model.saved import TrainedGenerator

# Identifies the exported generator that a model was created from, so that a retry finds an earlier attempt.
ORIGIN_TAG = "kedro_dcgan.generator"

_PACKAGE = Path(__file__).parents[1]
_REQUIREMENTS = ("torch", "numpy", "pillow", "pandas", "pydantic", "safetensors")


@dataclass(frozen=True)
class PrimaryMetric:
    """The metric that decides whether a version becomes champion: value, 95 % interval, dataset and protocol.

    Versions store its fields in their tags.
    """

    metric: str
    value: float
    low: float
    high: float
    dataset_digest: str
    protocol: str

    @classmethod
    def of(cls, trained: TrainedGenerator) -> "PrimaryMetric":
        """Return the primary metric of an evaluated generator."""
        name = trained.facts["primary_metric"]
        number = next(number for number in trained.facts["numbers"] if number["name"] == name)
        low, high = (math.nan if number[end] is None else number[end] for end in ("low", "high"))
        protocol = json.dumps(trained.facts["protocol"], sort_keys=True)
        return cls(name, number["value"], low, high, trained.dataset_digest, protocol)

    @classmethod
    def from_tags(cls, tags: dict[str, str]) -> "PrimaryMetric | None":
        """Return the primary metric of a registered version, or None if its tags do not contain one."""
        try:
            value, low, high = (float(tags[name]) for name in ("value", "low", "high"))
            return cls(tags["metric"], value, low, high, tags["dataset_digest"], tags["protocol"])
        except (KeyError, ValueError):
            return None

    def tags(self) -> dict[str, str]:
        """Return the fields as tags."""
        return {name: value if isinstance(value, str) else repr(value) for name, value in vars(self).items()}

    def reason_not_champion(self, champion: "PrimaryMetric") -> str | None:
        """Return why this version does not replace the champion, or None if it does.

        The difference must exceed its 95 % uncertainty: the root of the sum of the squared half-widths.
        """
        if self.metric != champion.metric:
            return "the champion was evaluated with another metric"
        if self.dataset_digest != champion.dataset_digest:
            return "the champion was evaluated on another dataset"
        if self.protocol != champion.protocol:
            return "the champion was evaluated with another protocol"
        uncertainty = math.hypot(self.high - self.value, champion.high - champion.value)
        # Written so that an unknown interval (NaN) replaces no champion.
        if not champion.value - self.value > uncertainty:
            return (
                f"{self.metric} {self.value:.1f} is not below the champion's {champion.value:.1f} by more than "
                f"the uncertainty of the difference, {uncertainty:.1f}"
            )
        return None


def create_version(
    client: mlflow.MlflowClient, run_id: str, folder: Path, trained: TrainedGenerator, name: str, origin: str
) -> str:
    """Log the exported generator in `folder` as a model, register a version of it, and return the version number.

    `origin` identifies the generator within the run: a model that an earlier attempt logged is reused.
    """
    model_id = _find_logged_model(client, run_id, origin) or _log_model(client, run_id, folder, trained, origin)
    with contextlib.suppress(MlflowException):
        # It exists already, except for the first version.
        client.create_registered_model(name, description="Generates images from latents, or from a seed and a count.")
    tags = {ORIGIN_TAG: origin, **PrimaryMetric.of(trained).tags(), "quality": trained.facts["quality"]}
    created = client.create_model_version(
        name, f"models:/{model_id}", run_id, tags, description=_description(trained), model_id=model_id
    )
    return str(created.version)


def _find_logged_model(client: mlflow.MlflowClient, run_id: str, origin: str) -> str | None:
    # Reuse a complete model of an interrupted attempt; delete an incomplete one.
    experiment = client.get_run(run_id).info.experiment_id
    for model in client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
        if model.tags.get(ORIGIN_TAG) == origin:
            if model.status == LoggedModelStatus.READY:
                return str(model.model_id)
            client.delete_logged_model(model.model_id)
    return None


def _log_model(client: mlflow.MlflowClient, run_id: str, folder: Path, trained: TrainedGenerator, origin: str) -> str:
    run = client.get_run(run_id)
    # `Model.log` would create it in the experiment of the active run, and no run is active.
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
        # Each artifact is called like its file, for example `generator.onnx`.
        artifacts={part.name: str(part) for part in sorted(folder.iterdir())},
        code_paths=[str(_PACKAGE)],
        signature=signature(),
        input_example=pd.DataFrame({"seed": [0], "count": [2]}),
        # Without a local version: 2.15.0+cu132 cannot be installed everywhere.
        pip_requirements=[f"{package}=={version(package).partition('+')[0]}" for package in _REQUIREMENTS],
        step=trained.images_seen,
    )
    return str(model.model_id)


def signature() -> ModelSignature:
    """Return the inputs and outputs of the registered model (`serving` explains them)."""
    # The model itself checks that seed and count are integers: as `long`, MLflow would silently turn 1.5 into 1.
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


def _description(trained: TrainedGenerator) -> str:
    # Markdown, shown in the UI.
    lines = ["| | | 95 % interval |", "|---|---:|---|"]
    for number in trained.facts["numbers"]:
        interval = "" if number["low"] is None else f"{number['low']:.4g} to {number['high']:.4g}"
        lines.append(f"| `{number['name']}` | {number['value']:.4g} | {interval} |")
    summary = f"{trained.facts['quality']}. {trained.images_seen:,} images seen, dataset {trained.dataset_digest}."
    return "\n".join([summary, "", *lines])
