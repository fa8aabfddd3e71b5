"""The run at the server: found by the id that it gave, or by our key, or made."""

import mlflow
from mlflow.exceptions import MlflowException

from kedro_dcgan.errors import TrackingError
from kedro_dcgan.tracking.journal import RunIdentity, Sent
from kedro_dcgan.tracking.settings import TrackingSettings

# Tells runs of ours from each other, before MLflow has given them an id that we know.
KEY_TAG = "kedro_dcgan.run"


def find_or_make_run(
    client: mlflow.MlflowClient, sent: Sent, identity: RunIdentity, settings: TrackingSettings
) -> Sent:
    """Return what is known to be sent to a run that is there now: nothing yet, if it is another than the one before.

    Raises:
        TrackingError: if there is none, and it must not be made.
        Exception: of many kinds, if the server does not answer.
    """
    if sent.run_id and is_active(client, sent.run_id):
        return sent
    # Another database may have taken the place of the one that had the run, or somebody has deleted it, and yet it
    # goes on: then there is a new one, with everything.
    found = _find_by_key(client, sent.server, identity)
    if found:
        return found
    if identity.must_exist:
        raise TrackingError(f"the run {identity.key[:8]} that trained this generator must be there (it is not)")
    return Sent(sent.server, _make(client, identity, settings))


def is_active(client: mlflow.MlflowClient, run_id: str) -> bool:
    """Tell whether a run is there and not deleted."""
    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


def _find_by_key(client: mlflow.MlflowClient, server: str, identity: RunIdentity) -> Sent | None:
    experiment = client.get_experiment_by_name(identity.experiment)
    if experiment is None:
        return None
    if experiment.lifecycle_stage == "deleted":
        if identity.must_exist:
            return None
        # Its runs come back with it.
        client.restore_experiment(experiment.experiment_id)
    runs = client.search_runs([experiment.experiment_id], f"tags.`{KEY_TAG}` = '{identity.key}'", max_results=1)
    if not runs:
        return None
    run_id = str(runs[0].info.run_id)
    history = client.get_metric_history(run_id, "discriminator_loss")
    # As `records` names pictures.
    pictures = [file.path.split("+step+") for file in client.list_artifacts(run_id, "images")]
    return Sent(
        server,
        run_id,
        history_until=max((metric.step for metric in history), default=-1),
        pictures_until=max((int(parts[1].split("+")[0]) for parts in pictures if len(parts) > 1), default=-1),
    )


def _make(client: mlflow.MlflowClient, identity: RunIdentity, settings: TrackingSettings) -> str:
    tags = {KEY_TAG: identity.key, "mlflow.source.name": "kedro-dcgan", "mlflow.source.type": "PROJECT"}
    experiment = _experiment_id(client, identity.experiment, settings)
    return str(client.create_run(experiment, identity.created, tags, identity.name).info.run_id)


def _experiment_id(client: mlflow.MlflowClient, name: str, settings: TrackingSettings) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    # The UI shows model training first, not language models.
    kind = {"mlflow.experimentKind": "custom_model_development"}
    try:
        return str(client.create_experiment(name, settings.artifact_location, kind))
    except MlflowException:
        # Another run was faster.
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return str(experiment.experiment_id)
