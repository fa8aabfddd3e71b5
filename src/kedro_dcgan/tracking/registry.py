"""The model registry: versions of the generator, and the aliases `champion` and `candidate`."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from kedro_dcgan.errors import ModelError
from kedro_dcgan.model.saved import read_generator
from kedro_dcgan.tracking.model import ORIGIN_TAG, PrimaryMetric, create_version

CHAMPION, CANDIDATE = "champion", "candidate"

# Tag of a model: the numbers of its former champions, the latest last.
_FORMER_TAG = "former_champions"
# Tag of a version: its aliases are set. A second upload must not undo later changes.
_JUDGED_TAG = "judged"


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model and its aliases."""

    name: str
    version: str
    aliases: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} v{self.version} ({', '.join(self.aliases) or 'no alias'})"


def register_generator(client: mlflow.MlflowClient, run_id: str, folder: Path, name: str) -> RegisteredVersion:
    """Register the exported generator in `folder` as a new version of the model `name`.

    `candidate` always moves to the new version. `champion` moves if there is no champion, or if the primary metric of
    the new version is significantly better (`PrimaryMetric.reason_not_champion`). A second call for the same folder
    completes an interrupted one.
    """
    trained = read_generator(folder / "generator")
    found = _find_by_origin(client, name, run_id, folder.name)
    number = _number(found) if found else create_version(client, run_id, folder, trained, name, folder.name)
    if found is None or _JUDGED_TAG not in found.tags:
        candidate = _find_by_alias(client, name, CANDIDATE)
        # Another run may have registered a later version in between.
        if candidate is None or int(_number(candidate)) < int(number):
            client.set_registered_model_alias(name, CANDIDATE, number)
        reason = _reason_not_champion(client, name, number, PrimaryMetric.of(trained))
        if reason is None:
            _set_champion(client, name, number)
        else:
            client.set_model_version_tag(name, number, "not_champion", reason)
        client.set_model_version_tag(name, number, _JUDGED_TAG, "true")
    return _registered(client, name, number)


def promote(name: str, version_or_alias: str) -> tuple[RegisteredVersion, str | None]:
    """Make a version the champion; return it, and the number of the previous champion.

    Raises:
        ModelError: if the version does not exist or is the champion already.
    """
    client = mlflow.MlflowClient()
    champion = _find_by_alias(client, name, CHAMPION)
    chosen, previous = _number(find_version(name, version_or_alias)), _number(champion) if champion else None
    if chosen == previous:
        raise ModelError(f"`{name}` v{chosen} is the champion already. Name another version.")
    _set_champion(client, name, chosen)
    return _registered(client, name, chosen), previous


def roll_back(name: str) -> tuple[RegisteredVersion, str]:
    """Make the previous champion the champion again; return it, and the number of the version that it replaces.

    A second rollback goes back one step further. Deleted versions are skipped.

    Raises:
        ModelError: if there is no previous champion.
    """
    client = mlflow.MlflowClient()
    champion = _find_by_alias(client, name, CHAMPION)
    current = _number(champion) if champion else None
    existing = {_number(version) for version in client.search_model_versions(f"name = '{name}'")}
    former = _former_champions(client, name) if current else []
    while former and (former[-1] not in existing or former[-1] == current):
        former.pop()
    if current is None or not former:
        raise ModelError(
            f"`{name}` must have a previous champion (it has none). Choose a version: kedro dcgan promote --version N."
        )
    # The alias first: if the tag is not updated any more, the next rollback skips the version that is champion then.
    client.set_registered_model_alias(name, CHAMPION, former[-1])
    _save_former_champions(client, name, former[:-1])
    return _registered(client, name, former[-1]), current


def find_version(name: str, version_or_alias: str) -> ModelVersion:
    """Return a version by its number or an alias.

    Raises:
        ModelError: if it does not exist.
    """
    client = mlflow.MlflowClient()
    with _missing_as_model_error(f"`{name}` must have a version or an alias {version_or_alias} (it has not)."):
        if version_or_alias.isdecimal():
            return client.get_model_version(name, version_or_alias)
        return client.get_model_version_by_alias(name, version_or_alias)


def fetch_generator(model: str) -> Path:
    """Download the generator of `NAME@ALIAS` and return its local folder.

    Raises:
        ModelError: if the model or the alias does not exist.
    """
    with _missing_as_model_error(f"`--model` must be a registered NAME@ALIAS (got {model}, which does not exist)."):
        return Path(mlflow.artifacts.download_artifacts(f"models:/{model}")) / "artifacts" / "generator"


def _reason_not_champion(client: mlflow.MlflowClient, name: str, number: str, metric: PrimaryMetric) -> str | None:
    champion = _find_by_alias(client, name, CHAMPION)
    if champion is None or _number(champion) == number:
        return None
    to_beat = PrimaryMetric.from_tags(champion.tags)
    return metric.reason_not_champion(to_beat) if to_beat else f"the champion, v{champion.version}, has no metric"


def _set_champion(client: mlflow.MlflowClient, name: str, number: str) -> None:
    champion = _find_by_alias(client, name, CHAMPION)
    if champion and _number(champion) != number:
        # The tag first: without it, the new champion could not be rolled back.
        _save_former_champions(client, name, [*_former_champions(client, name), _number(champion)])
    client.set_registered_model_alias(name, CHAMPION, number)


def _former_champions(client: mlflow.MlflowClient, name: str) -> list[str]:
    return client.get_registered_model(name).tags.get(_FORMER_TAG, "").split()


def _save_former_champions(client: mlflow.MlflowClient, name: str, numbers: Sequence[str]) -> None:
    client.set_registered_model_tag(name, _FORMER_TAG, " ".join(numbers))


def _registered(client: mlflow.MlflowClient, name: str, number: str) -> RegisteredVersion:
    return RegisteredVersion(name, number, tuple(client.get_model_version(name, number).aliases))


def _find_by_origin(client: mlflow.MlflowClient, name: str, run_id: str, origin: str) -> ModelVersion | None:
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    return next((version for version in versions if version.tags.get(ORIGIN_TAG) == origin), None)


def _find_by_alias(client: mlflow.MlflowClient, name: str, alias: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if not _is_missing(error):
            raise
        return None


@contextlib.contextmanager
def _missing_as_model_error(message: str) -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        if not _is_missing(error):
            raise
        raise ModelError(f"{message} Run kedro dcgan ui and open Models.") from None


def _is_missing(error: MlflowException) -> bool:
    # MLflow has two codes for it. Other codes mean that the server failed.
    return error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def _number(version: ModelVersion) -> str:
    # A database returns an integer, a server a string.
    return str(version.version)
