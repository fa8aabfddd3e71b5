"""The model registry: versions of the generator, their primary metric, and the aliases `champion` and `candidate`."""

import contextlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from kedro_dcgan.errors import ModelError
from kedro_dcgan.evaluation.verdict import UNUSABLE
from kedro_dcgan.model.saved import TrainedGenerator, read_generator
from kedro_dcgan.reports.model_card import describe_generator
from kedro_dcgan.tracking.model import ORIGIN_TAG, log_model
from kedro_dcgan.tracking.versions import (
    CANDIDATE,
    CHAMPION,
    DATASET_TAG,
    WEIGHTS_TAG,
    find_by_alias,
    find_version,
    locate_files,
    model_name,
)

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

    def is_comparable(self, other: "PrimaryMetric | None") -> bool:
        """Return whether two evaluations have the same metric, dataset and protocol."""
        return other is not None and replace(other, value=self.value, low=self.low, high=self.high) == self

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


def register_generator(client: mlflow.MlflowClient, run_id: str, folder: Path, template: str) -> str:
    """Register the exported generator in `folder`; return a line with its name, version and aliases.

    `versions.model_name` derives the name from the template and the dataset. A second call for the same folder
    completes an interrupted one. If a version of that name has the same weights and the same kind of evaluation, it
    gets the new description, and no other version is created.
    """
    trained = read_generator(folder / "generator")
    name, metric = model_name(template, trained), PrimaryMetric.of(trained)
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    version, note = next((one for one in versions if one.tags.get(ORIGIN_TAG) == folder.name), None), ""
    if version is None:
        # Equal weights may be registered under other names, with other evaluations, or without files.
        twins = client.search_model_versions(f"tags.`{WEIGHTS_TAG}` = '{trained.fingerprint()}'")
        of_name = [twin for twin in twins if twin.name == name]
        same = [twin for twin in of_name if metric.is_comparable(PrimaryMetric.from_tags(twin.tags))]
        version = next((twin for twin in same if locate_files(twin)[1]), None)
        if version:
            note = ": it has the same weights, so there is no new version"
            # Facts that change no weights may have changed, such as the licence of the images.
            client.update_model_version(name, str(version.version), describe_generator(trained))
        elif twins:
            twin = (of_name or twins)[0]
            note = f", with the same weights as {twin.name} v{twin.version}"
    if version is None:
        version = _create_version(client, run_id, folder, trained, name)
    # MLflow returns an integer from a database, a string from a server.
    number = str(version.version)
    if _JUDGED_TAG not in version.tags and (reason := _set_aliases(client, name, number, trained)):
        note += f"; not champion: {reason}"
    aliases = client.get_model_version(name, number).aliases
    return f"{name} v{number} ({', '.join(aliases) or 'no alias'}){note}"


def _set_aliases(client: mlflow.MlflowClient, name: str, number: str, trained: TrainedGenerator) -> str | None:
    # `candidate` always moves to the new version, unless another run has registered a later one in between. `champion`
    # moves if there is no champion, or if the new version is significantly better, but never to a failed training, nor
    # to a generator that copies training images.
    # Return the reason if it does not.
    candidate = find_by_alias(client, name, CANDIDATE)
    if candidate is None or int(candidate.version) < int(number):
        client.set_registered_model_alias(name, CANDIDATE, number)
    champion, reason = find_by_alias(client, name, CHAMPION), None
    if (fault := trained.facts.get("fault")) in UNUSABLE:
        reason = f"its training failed: {fault}"
    elif trained.facts.get("copies"):
        reason = "it copies training images"
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
    return reason


def promote(name: str, version_or_alias: str) -> tuple[str, str | None]:
    """Make a version the champion, or raise ModelError if it is already; return its number and the previous one's."""
    client = mlflow.MlflowClient()
    champion, chosen = find_by_alias(client, name, CHAMPION), str(find_version(name, version_or_alias).version)
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
    champion = find_by_alias(client, name, CHAMPION)
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


def _create_version(
    client: mlflow.MlflowClient, run_id: str, folder: Path, trained: TrainedGenerator, name: str
) -> ModelVersion:
    model_id = log_model(client, run_id, folder, trained.images_seen)
    with contextlib.suppress(MlflowException):
        # It exists already, except for the first version.
        client.create_registered_model(name, description="Generates images from latents, or from a seed and a count.")
    tags = {ORIGIN_TAG: folder.name, **PrimaryMetric.of(trained).tags(), "quality": trained.facts["quality"]}
    tags |= {WEIGHTS_TAG: trained.fingerprint(), DATASET_TAG: str(trained.facts.get("dataset", "unknown"))}
    if fault := trained.facts.get("fault"):
        tags["fault"] = fault
    if trained.facts.get("copies"):
        tags["copies"] = "true"
    # The description is Markdown, shown in the UI.
    source, description = f"models:/{model_id}", describe_generator(trained)
    return client.create_model_version(name, source, run_id, tags, description=description, model_id=model_id)


def _set_champion(client: mlflow.MlflowClient, name: str, number: str, champion: ModelVersion | None) -> None:
    if champion and str(champion.version) != number:
        # Set the tag first: without it, the new champion could not be rolled back.
        former = client.get_registered_model(name).tags.get(_FORMER_TAG, "")
        client.set_registered_model_tag(name, _FORMER_TAG, f"{former} {champion.version}".strip())
    client.set_registered_model_alias(name, CHAMPION, number)
