"""The model registry: versions of the generator, their primary metric, and the aliases `champion` and `candidate`."""

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from kedro_dcgan.errors import ModelError
from kedro_dcgan.evaluation.verdict import UNUSABLE
from kedro_dcgan.model.saved import TrainedGenerator, read_generator
from kedro_dcgan.tracking.model import ORIGIN_TAG, log_model

CHAMPION, CANDIDATE = "champion", "candidate"

# Tag of a model: the numbers of its former champions, the latest last.
_FORMER_TAG = "former_champions"
# Tag of a version: its aliases are set. A second upload must not undo later changes.
_JUDGED_TAG = "judged"


@dataclass(frozen=True)
class PrimaryMetric:
    """The metric that decides whether a version becomes champion: value, 95 % interval, dataset and protocol."""

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
        """Return the primary metric of a registered version, or None if its tags contain none."""
        try:
            value, low, high = (float(tags[name]) for name in ("value", "low", "high"))
            return cls(tags["metric"], value, low, high, tags["dataset_digest"], tags["protocol"])
        except (KeyError, ValueError):
            return None

    def tags(self) -> dict[str, str]:
        """Return the fields as tags of a version."""
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


def register_generator(client: mlflow.MlflowClient, run_id: str, folder: Path, name: str) -> str:
    """Register the exported generator in `folder` as a new version of the model `name`; return it with its aliases.

    `candidate` always moves to the new version. `champion` moves if there is no champion, or if the primary metric of
    the new version is significantly better (`PrimaryMetric.reason_not_champion`), but never to a failed training. A
    second call for the same folder completes an interrupted one.
    """
    trained = read_generator(folder / "generator")
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    version = next((one for one in versions if one.tags.get(ORIGIN_TAG) == folder.name), None)
    if version is None:
        version = _create_version(client, run_id, folder, trained, name)
    # MLflow returns an integer from a database, a string from a server.
    number = str(version.version)
    if _JUDGED_TAG not in version.tags:
        candidate = _find_by_alias(client, name, CANDIDATE)
        # Another run may have registered a later version in between.
        if candidate is None or int(candidate.version) < int(number):
            client.set_registered_model_alias(name, CANDIDATE, number)

        # Without a reason against it, the version becomes champion, even the first one.
        champion, reason = _find_by_alias(client, name, CHAMPION), None
        if (fault := trained.facts.get("fault")) in UNUSABLE:
            reason = f"its training failed: {fault}"
        elif champion and str(champion.version) != number:
            to_beat = PrimaryMetric.from_tags(champion.tags)
            reason = f"the champion, v{champion.version}, has no metric"
            if to_beat:
                reason = PrimaryMetric.of(trained).reason_not_champion(to_beat)
        if reason:
            client.set_model_version_tag(name, number, "not_champion", reason)
        else:
            _set_champion(client, name, number, champion)
        client.set_model_version_tag(name, number, _JUDGED_TAG, "true")
    aliases = client.get_model_version(name, number).aliases
    return f"{name} v{number} ({', '.join(aliases) or 'no alias'})"


def promote(name: str, version_or_alias: str) -> tuple[str, str | None]:
    """Make a version the champion, or raise ModelError if it is already; return its number and the previous one's."""
    client = mlflow.MlflowClient()
    champion, chosen = _find_by_alias(client, name, CHAMPION), find_version(name, version_or_alias)
    previous = str(champion.version) if champion else None
    if chosen == previous:
        raise ModelError(f"`{name}` v{chosen} is the champion already. Name another version.")
    _set_champion(client, name, chosen, champion)
    return chosen, previous


def roll_back(name: str) -> tuple[str, str]:
    """Make the previous champion the champion again; return its number and that of the version that it replaces.

    A second rollback goes back one step further and skips deleted versions. Without a former champion: ModelError.
    """
    client = mlflow.MlflowClient()
    champion = _find_by_alias(client, name, CHAMPION)
    existing = {str(version.version) for version in client.search_model_versions(f"name = '{name}'")}
    former = client.get_registered_model(name).tags.get(_FORMER_TAG, "").split() if champion else []
    while champion and former and (former[-1] not in existing or former[-1] == str(champion.version)):
        former.pop()
    if champion is None or not former:
        raise ModelError(f"`{name}` must have a previous champion (it has none). Run kedro dcgan promote --version N.")
    # Set the alias first: if updating the tag then fails, the next rollback skips the current champion.
    client.set_registered_model_alias(name, CHAMPION, former[-1])
    client.set_registered_model_tag(name, _FORMER_TAG, " ".join(former[:-1]))
    return former[-1], str(champion.version)


def find_version(name: str, version_or_alias: str) -> str:
    """Return the number of a version, given the number or an alias; raise ModelError if it does not exist."""
    client = mlflow.MlflowClient()
    with _missing_as_model_error(f"`{name}` must have a version or an alias {version_or_alias} (it has not)."):
        find = client.get_model_version if version_or_alias.isdecimal() else client.get_model_version_by_alias
        return str(find(name, version_or_alias).version)


def fetch_generator(model: str) -> Path:
    """Download the generator of `NAME@ALIAS`, return its local folder; raise ModelError if it does not exist."""
    with _missing_as_model_error(f"`--model` must be a registered NAME@ALIAS (got {model}, which does not exist)."):
        return Path(mlflow.artifacts.download_artifacts(f"models:/{model}")) / "artifacts" / "generator"


def _create_version(
    client: mlflow.MlflowClient, run_id: str, folder: Path, trained: TrainedGenerator, name: str
) -> ModelVersion:
    model_id = log_model(client, run_id, folder, trained.images_seen)
    with contextlib.suppress(MlflowException):
        # It exists already, except for the first version.
        client.create_registered_model(name, description="Generates images from latents, or from a seed and a count.")
    # The description is Markdown, shown in the UI.
    summary = f"{trained.facts['quality']}. {trained.images_seen:,} images seen, dataset {trained.dataset_digest}."
    lines = [summary, "", "| | | 95 % interval |", "|---|---:|---|"]
    for number in trained.facts["numbers"]:
        interval = "" if number["low"] is None else f"{number['low']:.4g} to {number['high']:.4g}"
        lines.append(f"| `{number['name']}` | {number['value']:.4g} | {interval} |")
    tags = {ORIGIN_TAG: folder.name, **PrimaryMetric.of(trained).tags(), "quality": trained.facts["quality"]}
    if fault := trained.facts.get("fault"):
        tags["fault"] = fault
    source, description = f"models:/{model_id}", "\n".join(lines)
    return client.create_model_version(name, source, run_id, tags, description=description, model_id=model_id)


def _set_champion(client: mlflow.MlflowClient, name: str, number: str, champion: ModelVersion | None) -> None:
    if champion and str(champion.version) != number:
        # Set the tag first: without it, the new champion could not be rolled back.
        former = client.get_registered_model(name).tags.get(_FORMER_TAG, "")
        client.set_registered_model_tag(name, _FORMER_TAG, f"{former} {champion.version}".strip())
    client.set_registered_model_alias(name, CHAMPION, number)


def _find_by_alias(client: mlflow.MlflowClient, name: str, alias: str) -> ModelVersion | None:
    with contextlib.suppress(ModelError), _missing_as_model_error(""):
        return client.get_model_version_by_alias(name, alias)
    return None


@contextlib.contextmanager
def _missing_as_model_error(message: str) -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        # MLflow has two codes for it. Other codes mean that the server failed.
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise ModelError(f"{message} Run kedro dcgan ui and open Models.") from None
