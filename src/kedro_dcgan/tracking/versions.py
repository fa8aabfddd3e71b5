"""Versions in the model registry: found by alias, by number or by weights, described in a line, and downloaded."""

import contextlib
import re
import unicodedata
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from kedro_dcgan.errors import ModelError
from kedro_dcgan.model.saved import TrainedGenerator

CHAMPION, CANDIDATE = "champion", "candidate"

# Tags of a version: the hash of its weights, and the name of the images that it was trained on.
WEIGHTS_TAG, DATASET_TAG = "weights", "dataset"

# Characters of the part of a model's name that comes from the dataset. MLflow allows 256 in all.
_LONGEST_NAME = 60


def model_name(template: str, trained: TrainedGenerator) -> str:
    """Return `export.registered_model` with `{source}` replaced by the name of the generator's dataset.

    Other characters than letters, digits, `_`, `.` and `-` become `-`. A generator of an earlier version of this
    project, which does not know its dataset, gives `generator`.
    """
    dataset = unicodedata.normalize("NFC", str(trained.facts.get("dataset", "generator")))
    safe = re.sub(r"[^\w.-]+", "-", dataset)[:_LONGEST_NAME].strip("-.")
    return template.replace("{source}", safe or "images")


def find_version(name: str, version_or_alias: str) -> ModelVersion:
    """Return a version, given its number or an alias; raise ModelError if it does not exist."""
    client = mlflow.MlflowClient()
    with _missing_as_model_error(f"`{name}` must have a version or an alias {version_or_alias} (it has not)."):
        number = version_or_alias
        if not number.isdecimal():
            # MLflow returns no aliases with a version that it finds by an alias.
            number = str(client.get_model_version_by_alias(name, number).version)
        return client.get_model_version(name, number)


def find_named(model: str) -> ModelVersion:
    """Return the version that `--model` names: `NAME@ALIAS`, `NAME@NUMBER` or, for the champion, `NAME`."""
    name, _, version_or_alias = model.partition("@")
    try:
        return find_version(name, version_or_alias or CHAMPION)
    except ModelError:
        raise ModelError(
            f"`--model` must be a registered NAME@ALIAS (got {model}, which does not exist; registered: "
            f"{_registered_names()}). Run kedro dcgan ui and open Models."
        ) from None


def find_by_alias(client: mlflow.MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """Return the version with an alias, or None; other errors of the server are raised."""
    with contextlib.suppress(ModelError), _missing_as_model_error(""):
        return client.get_model_version_by_alias(name, alias)
    return None


def find_exported(trained: TrainedGenerator) -> ModelVersion:
    """Return the newest version with the weights of the exported generator; raise ModelError without one."""
    client = mlflow.MlflowClient()
    found = client.search_model_versions(f"tags.`{WEIGHTS_TAG}` = '{trained.fingerprint()}'")
    if not found:
        raise ModelError(
            "the last exported generator must be registered (it is not). Upload pending records with kedro dcgan sync, "
            f"register it with kedro run --pipelines=export, or pass --model (registered: {_registered_names()})."
        )
    newest = max(found, key=lambda version: version.creation_timestamp)
    return find_version(newest.name, str(newest.version))


def find_served(trained: TrainedGenerator) -> tuple[ModelVersion, str]:
    """Return the version to serve by default, and why: the champion for the images of the exported generator.

    Without a champion, or if the champion was trained on other images, serve the exported generator itself.
    """
    exported = find_exported(trained)
    champion = find_by_alias(mlflow.MlflowClient(), exported.name, CHAMPION)
    if champion is None:
        return exported, "the last exported generator, because no version is champion"
    if champion.tags.get("dataset_digest") != exported.tags.get("dataset_digest"):
        return exported, f"the last exported generator, because the champion, v{champion.version}, is of other images"
    return find_version(exported.name, str(champion.version)), "the champion for the images of the last export"


def name_of(version: ModelVersion) -> str:
    """Return the name and number of a version."""
    return f"{version.name} v{version.version}"


def describe_version(version: ModelVersion) -> str:
    """Return the name, number, aliases, images and time of registration of a version in one line."""
    aliases = ", ".join(version.aliases) or "no alias"
    images = " ".join(version.tags[tag] for tag in (DATASET_TAG, "dataset_digest") if tag in version.tags) or "unknown"
    registered = f"{datetime.fromtimestamp(version.creation_timestamp / 1000).astimezone():%Y-%m-%d %H:%M}"
    return f"{name_of(version)} ({aliases}) · images {images} · registered {registered}"


def locate_files(version: ModelVersion) -> tuple[str, bool]:
    """Return the URI of the generator of a version, and whether it has files."""
    client, number = mlflow.MlflowClient(), str(version.version)
    place = f"{client.get_model_version_download_uri(version.name, number)}/artifacts/generator"
    return place, bool(mlflow.artifacts.list_artifacts(place))


def fetch_generator(version: ModelVersion) -> Path:
    """Download the generator of a version, return its local folder; raise ModelError if its files are missing."""
    place, exists = locate_files(version)
    if not exists:
        raise ModelError(
            f"the files of {name_of(version)} must be at {place} (they are missing). "
            "Copy them there, or register the generator again: kedro run --pipelines=export."
        )
    return Path(mlflow.artifacts.download_artifacts(place))


def _registered_names() -> str:
    names = sorted(model.name for model in mlflow.MlflowClient().search_registered_models())
    return ", ".join(names) or "none"


@contextlib.contextmanager
def _missing_as_model_error(message: str) -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        # MLflow has two codes for it. Other codes mean that the server failed.
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise ModelError(f"{message} Run kedro dcgan ui and open Models.") from None
