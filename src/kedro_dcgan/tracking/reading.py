"""Read evaluated runs back from MLflow to compare them."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from kedro_dcgan.errors import ComparisonError
from kedro_dcgan.reports.runs import ComparedRun
from kedro_dcgan.tracking.settings import in_one_line

# The number of runs that are compared by default.
MAX_RUNS = 10

_EVALUATION = "reports/evaluation.json"
# Prefixes of metrics without a curve: system metrics, and metrics that only the final evaluation has.
_NOT_CURVES = ("system/", "fd_", "kd_", "fid", "kid")


def read_runs(experiment: str, names: Sequence[str]) -> list[ComparedRun]:
    """Return runs by their names or the first characters of their ids.

    Without names: the newest run and earlier ones with the same metrics and dataset, the oldest first.

    Raises:
        ComparisonError: if a name matches no run or several, or a run has no evaluation.
    """
    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(experiment)
    runs = list(client.search_runs([found.experiment_id], order_by=["start_time DESC"])) if found else []
    evaluated = [run for run in runs if "quality" in run.data.tags]
    chosen = [_find(name, runs) for name in names] if names else _comparable(evaluated)[:MAX_RUNS][::-1]
    ids = [run.info.run_id for run in chosen]
    repeated = next((run for run in chosen if ids.count(run.info.run_id) > 1), None)
    if repeated:
        raise ComparisonError(f"each run must be named once (got {repeated.info.run_name} twice). Name another.")
    for run in chosen:
        if run not in evaluated:
            raise ComparisonError(
                f"{run.info.run_name} must have an evaluation to be compared (it has none). "
                "Evaluate it: kedro run --pipelines=evaluate."
            )
    if len(chosen) < 2:
        raise ComparisonError(
            f"a comparison must have at least two runs with the same metrics and dataset (got {len(chosen)}). "
            "Train another with kedro run, or name two."
        )
    return [_read(client, run, name) for run, name in zip(chosen, _distinct_names(chosen), strict=True)]


def _comparable(runs: Sequence[Run]) -> list[Run]:
    # The runs that share a distance and the dataset with the first one. The name of a metric contains its protocol.
    distances = [
        {
            (name, run.data.tags.get("dataset_digest"))
            for name in run.data.metrics
            if name.startswith(("fd_", "fid")) and not name.endswith("_validation")
        }
        for run in runs
    ]
    return [run for run, own in zip(runs, distances, strict=True) if own & distances[0]]


def _distinct_names(runs: Sequence[Run]) -> list[str]:
    names = [str(run.info.run_name) for run in runs]
    return [
        name if names.count(name) == 1 else f"{name} ({run.info.run_id[:8]})"
        for name, run in zip(names, runs, strict=True)
    ]


def _find(name: str, runs: Sequence[Run]) -> Run:
    matches = [run for run in runs if run.info.run_name == name or run.info.run_id.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        known = ", ".join(str(run.info.run_name) for run in runs[:MAX_RUNS]) or "none"
        raise ComparisonError(
            f"`{name}` must be the name of a run, the start of its id, or a file (it is not). The newest are: {known}."
        )
    ids = ", ".join(run.info.run_id[:8] for run in matches)
    raise ComparisonError(f"`{name}` must match one run (it matches {len(matches)}). Use an id: {ids}.")


def _read(client: mlflow.MlflowClient, run: Run, name: str) -> ComparedRun:
    run_id = run.info.run_id
    metrics = [one for one in run.data.metrics if not one.startswith(_NOT_CURVES) or one.endswith("_validation")]
    curves = {}
    for metric in metrics:
        curves[metric] = sorted((one.step, one.value) for one in client.get_metric_history(run_id, metric))
    with tempfile.TemporaryDirectory() as folder:
        evaluation: dict[str, Any] = json.loads(_download(client, run_id, _EVALUATION, folder))
        grids = {
            int(file.path.split("+step+")[1].split("+")[0]): _download(client, run_id, file.path, folder)
            for file in client.list_artifacts(run_id, "images")
            if file.path.startswith("images/samples+step+") and file.path.endswith(".png")
        }
    return ComparedRun(name, run.data.params, run.data.tags, curves, evaluation, grids)


def _download(client: mlflow.MlflowClient, run_id: str, path: str, folder: str) -> bytes:
    try:
        return Path(client.download_artifacts(run_id, path, folder)).read_bytes()
    except (MlflowException, OSError) as error:
        raise ComparisonError(
            f"{path} of run {run_id[:8]} must be on the server (cannot download it: {in_one_line(error)})."
        ) from None
