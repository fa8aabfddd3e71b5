"""The registered generator: its versions, and which of them is the champion."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from kedro_dcgan.errors import ModelError
from kedro_dcgan.model.saved import read_generator
from kedro_dcgan.tracking.model import ORIGIN_TAG, Standing, create_version

CHAMPION, CANDIDATE = "champion", "candidate"

# Of a model: the numbers of the versions that were champion before, the last one last.
_FORMER_TAG = "former_champions"
# Of a version: its aliases have been moved. Whoever moves them later is not overruled when it is registered once more.
_JUDGED_TAG = "judged"


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
    found = _version_of(client, name, run_id, folder.name)
    number = _number(found) if found else create_version(client, run_id, folder, trained, name, folder.name)
    if found is None or _JUDGED_TAG not in found.tags:
        candidate = _version_at(client, name, CANDIDATE)
        # (Another run may have been registered since this was begun.)
        if candidate is None or int(_number(candidate)) < int(number):
            client.set_registered_model_alias(name, CANDIDATE, number)
        obstacle = _obstacle(client, name, number, Standing.of(trained))
        if obstacle is None:
            _crown(client, name, number)
        else:
            client.set_model_version_tag(name, number, "not_champion", obstacle)
        client.set_model_version_tag(name, number, _JUDGED_TAG, "true")
    return _registered(client, name, number)


def _obstacle(client: mlflow.MlflowClient, name: str, number: str, standing: Standing) -> str | None:
    champion = _version_at(client, name, CHAMPION)
    if champion is None or _number(champion) == number:
        return None
    its = Standing.from_tags(champion.tags)
    return standing.obstacle(its) if its else f"v{champion.version}, the champion, does not say its metric"


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
    _crown(client, name, chosen)
    return _registered(client, name, chosen), former


def roll_back(name: str) -> tuple[RegisteredVersion, str]:
    """Let `champion` point to the version that it pointed to before; return that version, and the number of the other.

    Again, it goes back further. Versions that were deleted meanwhile are passed over.

    Raises:
        ModelError: if nothing is known of one before.
    """
    client = mlflow.MlflowClient()
    champion = _version_at(client, name, CHAMPION)
    left = _number(champion) if champion else None
    there = {_number(version) for version in client.search_model_versions(f"name = '{name}'")}
    former = _former_champions(client, name) if left else []
    while former and (former[-1] not in there or former[-1] == left):
        former.pop()
    if left is None or not former:
        raise ModelError(
            f"`{name}` must have had a champion before the present one (it has not). "
            "Choose a version: kedro dcgan promote --version N."
        )
    # The alias first: if nothing more is done, the next rollback passes over what is champion now.
    client.set_registered_model_alias(name, CHAMPION, former[-1])
    _note_former_champions(client, name, former[:-1])
    return _registered(client, name, former[-1]), left


def find_version(name: str, version_or_alias: str) -> ModelVersion:
    """Return a version by its number or by an alias.

    Raises:
        ModelError: if there is none.
    """
    client = mlflow.MlflowClient()
    with _named(f"`{name}` must have a version or an alias {version_or_alias} (it has not)."):
        if version_or_alias.isdecimal():
            return client.get_model_version(name, version_or_alias)
        return client.get_model_version_by_alias(name, version_or_alias)


def fetch_generator(model: str) -> Path:
    """Return a local folder with the generator's files of `NAME@ALIAS`.

    Raises:
        ModelError: if the registry has no such model or alias.
    """
    with _named(f"`--model` must be a registered NAME@ALIAS (got {model}, which is not)."):
        return Path(mlflow.artifacts.download_artifacts(f"models:/{model}")) / "artifacts" / "generator"


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    # What else goes wrong is the server's affair.
    try:
        yield
    except MlflowException as error:
        if not _is_absent(error):
            raise
        raise ModelError(f"{what} Look at kedro dcgan ui, Models.") from None


def _is_absent(error: MlflowException) -> bool:
    # MLflow has two codes for that.
    return error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def _crown(client: mlflow.MlflowClient, name: str, number: str) -> None:
    champion = _version_at(client, name, CHAMPION)
    if champion and _number(champion) != number:
        # The tag first: a champion whose predecessor is unknown could not be rolled back.
        _note_former_champions(client, name, [*_former_champions(client, name), _number(champion)])
    client.set_registered_model_alias(name, CHAMPION, number)


def _former_champions(client: mlflow.MlflowClient, name: str) -> list[str]:
    return client.get_registered_model(name).tags.get(_FORMER_TAG, "").split()


def _note_former_champions(client: mlflow.MlflowClient, name: str, numbers: Sequence[str]) -> None:
    client.set_registered_model_tag(name, _FORMER_TAG, " ".join(numbers))


def _registered(client: mlflow.MlflowClient, name: str, number: str) -> RegisteredVersion:
    return RegisteredVersion(name, number, tuple(client.get_model_version(name, number).aliases))


def _version_at(client: mlflow.MlflowClient, name: str, alias: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        # There is none. A server that cannot be asked is another matter.
        if not _is_absent(error):
            raise
        return None


def _version_of(client: mlflow.MlflowClient, name: str, run_id: str, origin: str) -> ModelVersion | None:
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    return next((one for one in versions if one.tags.get(ORIGIN_TAG) == origin), None)


def _number(version: ModelVersion) -> str:
    # A database gives it as a number, a server as a text.
    return str(version.version)
