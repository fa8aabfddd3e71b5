"""The experiment of the project: its view in the MLflow UI, and evaluated runs read back for a comparison.

The view has the columns of the run table, in an order that starts with the verdict, and the charts, in an order that
starts with the samples. MLflow stores a shared view as JSON in a tag of the experiment and opens it by a URL that
contains its key. Its default view has no metrics in the table and sorts the charts by name. A UI that cannot read this
view shows the default.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from kedro_dcgan.errors import ComparisonError
from kedro_dcgan.reports.comparison import ComparedRun
from kedro_dcgan.tracking.connection import TrackingSettings, create_experiment, in_one_line

# The number of runs that are compared by default, and that the charts of the UI show at first.
MAX_RUNS = 10

_VIEW_KEY = "kedro-dcgan"
# The columns after the verdict and the distance. A window of 1,900 pixels shows them whole.
_SETTINGS = ("tags.`preset`", "params.`training.epochs`", "params.`preprocessing.image_size`")
# The last columns.
_DETAILS = (
    "params.`training.kimg`",
    "params.`training.generator.learning_rate`",
    "params.`training.discriminator.learning_rate`",
    "metrics.`images_per_second`",
    "tags.`dataset_digest`",
    "tags.`hardware`",
    "tags.`git_commit`",
    "tags.`git_dirty`",
)
# Widths in pixels: MLflow's default, 100, cuts most names. Others are as wide as their names.
_WIDTHS = {
    "attributes.`Run Name`": 210,
    "tags.`verdict`": 270,
    "tags.`preset`": 115,
    "tags.`quality`": 420,
    "tags.`hardware`": 260,
}
# Prefixes of the metrics of the final evaluation, in the order of their columns and charts.
_EVALUATION_METRICS = ("fid", "fd_", "precision_", "recall_", "coverage_")
# A window shows little more than one row of samples: a second one would hide the curves.
_SECTIONS = ("Samples", "Training", "Samples at the same step", "Evaluation", "System metrics")
_LINE = {
    "lineSmoothness": 0,
    "scaleType": "linear",
    "xAxisScaleType": "linear",
    "xAxisKey": "step",
    "yAxisKey": "metric",
    "yAxisExpressions": [],
    "selectedXAxisMetricKey": "",
    "range": {},
    "ignoreOutliers": False,
    "useGlobalXaxisKey": True,
    "useGlobalLineSmoothing": True,
}
# Prefixes of metrics without a curve: system metrics, and metrics that only the final evaluation has.
_NOT_CURVES = ("system/", "fd_", "kd_", "fid", "kid")


def write_view(settings: TrackingSettings) -> str:
    """Store the view of the project's experiment, which may be empty; return its URL relative to the server."""
    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(settings.experiment)
    if found is None:
        # The URL must be right for the first training, too.
        create_experiment(client, settings.experiment, settings.artifact_location)
        found = client.get_experiment_by_name(settings.experiment)
    if found is None or found.lifecycle_stage == "deleted":
        return "/#/experiments"
    runs = client.search_runs([found.experiment_id], max_results=100)
    # The last step of the shortest training among the newest runs, at which all of them have a sample grid.
    trained = [run.info.run_id for run in runs if "generator_loss" in run.data.metrics][:MAX_RUNS]
    histories = (client.get_metric_history(run_id, "generator_loss") for run_id in trained)
    step = min((max(one.step for one in history) for history in histories), default=0)
    view = _view({name for run in runs for name in run.data.metrics}, step)
    client.set_experiment_tag(found.experiment_id, f"mlflow.sharedViewState.{_VIEW_KEY}", json.dumps(view))
    return f"/#/experiments/{found.experiment_id}/runs?viewStateShareKey={_VIEW_KEY}"


def _view(metrics: set[str], step: int) -> dict[str, Any]:
    # The view for runs with these metrics. The sample grids are those of `step` (images seen).
    names = sorted(metrics)
    evaluated = [name for prefix in _EVALUATION_METRICS for name in names if name.startswith(prefix)]
    against_test = [name for name in evaluated if name.endswith("_test")]
    distances = [name for name in names if name.endswith("_validation")]
    curves = ("discriminator_loss", "generator_loss", "diversity", *distances, "images_per_second")
    charts = [
        # A training that starts later, or has other steps, has no samples at `step`, but it has latest ones.
        _chart(0, "IMAGE", "latest_samples", imageKeys=["latest_samples"], step=0, showRunParams=False),
        # The UI hides charts without data.
        *(_chart(1, "LINE", name, selectedMetricKeys=[name], **_LINE) for name in curves),
        _chart(2, "IMAGE", "samples", imageKeys=["samples"], step=step, showRunParams=False),
        *(_chart(3, "BAR", name) for name in against_test),
        *(_chart(4, "LINE", name, selectedMetricKeys=[name], **_LINE) for name in names if name.startswith("system/")),
    ]
    state = {"display": True, "isReordered": True, "deleted": False, "isGenerated": True}
    sections: list[dict[str, Any]] = [{"uuid": name, "name": name, **state} for name in _SECTIONS]
    for section in (sections[0], sections[2]):
        # One column: the grids of all runs are then side by side.
        section |= {"columns": 1, "cardHeight": 420}
    return {
        "searchFilter": "",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        **_columns(against_test),
        "runsHiddenMode": "FIRST_10_RUNS",
        "compareRunSections": sections,
        "compareRunCharts": charts,
        "isAccordionReordered": True,
    }


def _columns(metrics: Sequence[str]) -> dict[str, Any]:
    # The columns of the table with these metrics.
    columns = [
        "tags.`verdict`",
        *(f"metrics.`{name}`" for name in metrics[:1]),
        *_SETTINGS,
        "tags.`quality`",
        *(f"metrics.`{name}`" for name in metrics[1:]),
        *_DETAILS,
    ]
    return {
        "selectedColumns": columns,
        # Without an order, MLflow puts tags last, outside the window.
        "columnOrder": ["attributes.`Run Name`", *columns],
        "columnWidths": {name: 7 * len(name.split("`")[1]) + 36 for name in columns} | _WIDTHS,
    }


def _chart(section: int, kind: str, metric: str | None = None, **values: Any) -> dict[str, Any]:
    named = {"metricKey": metric, "displayName": metric} if metric else {}
    return {
        "uuid": f"{kind}-{metric or kind}",
        "type": kind,
        "runsCountToCompare": MAX_RUNS,
        "metricSectionId": _SECTIONS[section],
        "deleted": False,
        "isGenerated": True,
        **named,
        **values,
    }


def read_runs(experiment: str, names: Sequence[str] = (), least: int = 2) -> list[ComparedRun]:
    """Return runs by their names, the names of their experiments in DVC, or the first characters of their ids.

    Without names: the newest run and earlier ones with the same metrics and dataset, the oldest first.

    Raises:
        ComparisonError: if a name matches no run or several, a run has no evaluation, or there are fewer than `least`.
    """
    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(experiment)
    runs = list(client.search_runs([found.experiment_id], order_by=["start_time DESC"])) if found else []
    chosen = [_find(name, runs) for name in names] if names else _newest_comparable(runs)
    ids, run_names = [run.info.run_id for run in chosen], [str(run.info.run_name) for run in chosen]
    for run in chosen:
        if ids.count(run.info.run_id) > 1:
            raise ComparisonError(f"each run must be named once (got {run.info.run_name} twice). Name another.")
        if "quality" not in run.data.tags:
            raise ComparisonError(
                f"{run.info.run_name} must have an evaluation to be compared (it has none). "
                "Evaluate it: kedro run --pipelines=evaluate."
            )
    if len(chosen) < least:
        raise ComparisonError(
            f"the number of evaluated runs with the same metrics and dataset must be at least {least} "
            f"(got {len(chosen)}). Train another with kedro run, or name other runs."
        )
    # Runs with equal names are shown with their ids.
    return [
        _read(client, run, name if run_names.count(name) == 1 else f"{name} ({run.info.run_id[:8]})")
        for run, name in zip(chosen, run_names, strict=True)
    ]


def _find(name: str, runs: Sequence[Run]) -> Run:
    matches = [
        run
        for run in runs
        if name in (run.info.run_name, run.data.tags.get("dvc.experiment")) or run.info.run_id.startswith(name)
    ]
    if not matches:
        known = ", ".join(str(run.info.run_name) for run in runs[:MAX_RUNS]) or "none"
        raise ComparisonError(
            f"`{name}` must be the name of a run or an experiment of DVC, the start of an id, or a file (it is not). "
            f"The newest are: {known}."
        )
    if len(matches) > 1:
        ids = ", ".join(run.info.run_id[:8] for run in matches)
        raise ComparisonError(f"`{name}` must match one run (it matches {len(matches)}). Use an id: {ids}.")
    return matches[0]


def _newest_comparable(runs: Sequence[Run]) -> list[Run]:
    # The evaluated runs that share a distance and the dataset with the newest one, which comes last. The name of a
    # metric contains its protocol.
    evaluated = [run for run in runs if "quality" in run.data.tags]
    distances = []
    for run in evaluated:
        names = [one for one in run.data.metrics if one.startswith(("fd_", "fid")) and not one.endswith("_validation")]
        distances.append({(name, run.data.tags.get("dataset_digest")) for name in names})
    comparable = [run for run, of_run in zip(evaluated, distances, strict=True) if of_run & distances[0]]
    return comparable[:MAX_RUNS][::-1]


def _read(client: mlflow.MlflowClient, run: Run, name: str) -> ComparedRun:
    run_id = run.info.run_id
    curves = {
        metric: sorted((one.step, one.value) for one in client.get_metric_history(run_id, metric))
        for metric in run.data.metrics
        if not metric.startswith(_NOT_CURVES) or metric.endswith("_validation")
    }
    with tempfile.TemporaryDirectory() as folder:
        try:
            evaluation: dict[str, Any] = json.loads(_download(client, run_id, "reports/evaluation.json", folder))
        except (ValueError, RecursionError):
            raise ComparisonError(
                f"reports/evaluation.json of run {run_id[:8]} must be valid JSON (it is not). Evaluate it again."
            ) from None
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
