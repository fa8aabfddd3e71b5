"""The generator as a model of MLflow: logged with its run, and registered as a version with its numbers."""

import contextlib
import json
import math
from dataclasses import dataclass
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

if TYPE_CHECKING:
    from kedro_dcgan.model.saved import TrainedGenerator
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


# TODO(merge) tracking.standing


@dataclass(frozen=True)
class Standing:
    """What decides between two versions: one metric with its interval, and how and on which images it was measured.

    The intervals of both sides hold 95 %; the difference's is the root of the sum of their squares.
    """

    metric: str
    value: float
    low: float
    high: float
    dataset_digest: str
    protocol: str

    @classmethod
    def of(cls, trained: "TrainedGenerator") -> "Standing":
        """Return that of an evaluated generator."""
        name = trained.facts["primary_metric"]
        number = next(one for one in trained.facts["numbers"] if one["name"] == name)
        low, high = (math.nan if number[end] is None else number[end] for end in ("low", "high"))
        protocol = json.dumps(trained.facts["protocol"], sort_keys=True)
        return cls(name, number["value"], low, high, trained.dataset_digest, protocol)

    @classmethod
    def from_tags(cls, tags: dict[str, str]) -> "Standing | None":
        """Return that of a registered version, if its tags say it."""
        try:
            value, low, high = (float(tags[name]) for name in ("value", "low", "high"))
            return cls(tags["metric"], value, low, high, tags["dataset_digest"], tags["protocol"])
        except (KeyError, ValueError):
            return None

    def tags(self) -> dict[str, str]:
        """Return the fields as texts."""
        return {name: value if isinstance(value, str) else repr(value) for name, value in vars(self).items()}

    def obstacle(self, champion: "Standing") -> str | None:
        """Return why this one does not take the champion's place; nothing, if it does."""
        for name, by in (("metric", "by another metric"), ("dataset_digest", "on another dataset")):
            if getattr(self, name) != getattr(champion, name):
                return f"the champion was measured {by}"
        if self.protocol != champion.protocol:
            return "the champion was measured by another protocol"
        better_by = champion.value - self.value
        uncertainty = math.hypot(self.high - self.value, champion.high - champion.value)
        if not better_by > uncertainty:
            return (
                f"{self.metric} {self.value:.1f} is not below the champion's {champion.value:.1f} by more than "
                f"the uncertainty of the difference, {uncertainty:.1f}"
            )
        return None
