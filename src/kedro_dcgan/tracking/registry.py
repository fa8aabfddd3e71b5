"""The registered generator: its versions, and which of them is the champion."""

from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from kedro_dcgan.errors import ModelError
from kedro_dcgan.generator_files import read_generator
from kedro_dcgan.tracking.model import ORIGIN_TAG, create_version
from kedro_dcgan.tracking.standing import Standing

CHAMPION, CANDIDATE = "champion", "candidate"

# What was champion before, so that a rollback knows.
_FORMER_TAG = "former_champion"


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model, and the aliases that point to it."""

    name: str
    version: str
    aliases: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} v{self.version} ({', '.join(self.aliases) or 'no alias'})"


def register_generator(client: mlflow.MlflowClient, run_id: str, folder: Path, name: str) -> RegisteredVersion:
    """Register what export made in `folder` as a new version of a model that turns latents or seeds into images.

    `candidate` always moves to the new version. `champion` moves if there is none yet, or if the new version is better
    by the same metric by more than its uncertainty, measured in the same way on the same images. Called again with the
    same folder it finishes what was begun.
    """
    trained = read_generator(folder / "generator")
    origin = folder.name
    found = _version_of(client, name, run_id, origin)
    number = _number(found) if found else create_version(client, run_id, folder, trained, name, origin)
    client.set_registered_model_alias(name, CANDIDATE, number)
    standing, champion = Standing.of(trained), _version_at(client, name, CHAMPION)
    aliases = [CANDIDATE]
    if champion is None or _number(champion) == number:
        _crown(client, name, number, None)
        aliases.append(CHAMPION)
    else:
        its = Standing.from_tags(champion.tags)
        obstacle = standing.obstacle(its) if its else f"v{champion.version}, the champion, does not say its metric"
        if obstacle is None:
            _crown(client, name, number, _number(champion))
            aliases.append(CHAMPION)
        else:
            client.set_model_version_tag(name, number, "not_champion", obstacle)
    return RegisteredVersion(name, number, tuple(aliases))


def promote(name: str, version_or_alias: str) -> tuple[RegisteredVersion, str | None]:
    """Let `champion` point to a version; return that version, and the number of the former champion.

    Raises:
        ModelError: if there is no such version, or it is champion already.
    """
    client = mlflow.MlflowClient()
    champion = _version_at(client, name, CHAMPION)
    chosen, former = _number(find_version(name, version_or_alias)), _number(champion) if champion else None
    if chosen == former:
        raise ModelError(f"`{name}` v{chosen} is the champion already. Name another version.")
    _crown(client, name, chosen, former)
    return _registered(client, name, chosen), former


def roll_back(name: str) -> tuple[RegisteredVersion, str]:
    """Let `champion` point to the version that it pointed to before; return that version, and the number of the other.

    Raises:
        ModelError: if nothing is known of one before.
    """
    client = mlflow.MlflowClient()
    champion = _version_at(client, name, CHAMPION)
    former = champion.tags.get(_FORMER_TAG) if champion else None
    if champion is None or not former:
        raise ModelError(
            f"`{name}` must have had a champion before the present one (it has not). "
            "Choose a version: kedro dcgan promote --version N."
        )
    find_version(name, former)
    client.set_registered_model_alias(name, CHAMPION, former)
    return _registered(client, name, former), _number(champion)


def find_version(name: str, version_or_alias: str) -> ModelVersion:
    """Return a version by its number or by an alias.

    Raises:
        ModelError: if there is none.
    """
    client = mlflow.MlflowClient()
    try:
        if version_or_alias.isdecimal():
            return client.get_model_version(name, version_or_alias)
        return client.get_model_version_by_alias(name, version_or_alias)
    except MlflowException as error:
        raise ModelError(
            f"`{name}` must have a version or an alias {version_or_alias} ({error.message}). "
            "Look at kedro dcgan ui, Models."
        ) from None


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
            "Train one with kedro run, or look at kedro dcgan ui."
        ) from None


def _crown(client: mlflow.MlflowClient, name: str, number: str, former: str | None) -> None:
    # The tag first: a champion whose predecessor is unknown could not be rolled back.
    if former:
        client.set_model_version_tag(name, number, _FORMER_TAG, former)
    client.set_registered_model_alias(name, CHAMPION, number)


def _registered(client: mlflow.MlflowClient, name: str, number: str) -> RegisteredVersion:
    return RegisteredVersion(name, number, tuple(client.get_model_version(name, number).aliases))


def _version_at(client: mlflow.MlflowClient, name: str, alias: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        # There is none; MLflow has two codes for that. A server that cannot be asked is another matter.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _version_of(client: mlflow.MlflowClient, name: str, run_id: str, origin: str) -> ModelVersion | None:
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    return next((one for one in versions if one.tags.get(ORIGIN_TAG) == origin), None)


def _number(version: ModelVersion) -> str:
    # A database gives it as a number, a server as a text.
    return str(version.version)
