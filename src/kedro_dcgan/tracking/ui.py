"""The view of an experiment in the MLflow UI: its columns and charts, and their order.

MLflow stores a shared view as JSON in a tag of the experiment and opens it by a URL that contains its key. Its default
view has no metrics in the table and sorts the charts by name. A UI that cannot read this view shows the default.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import mlflow
from mlflow.entities import Run

KEY = "kedro-dcgan"

_TAG = f"mlflow.sharedViewState.{KEY}"
# Columns, from left to right: tags, parameters, metrics, tags.
_TAGS_BEFORE, _TAGS_AFTER = ("preset",), ("quality", "verdict", "dataset_digest", "hardware", "git_commit", "git_dirty")
_PARAMETERS = (
    "preprocessing.image_size",
    "training.epochs",
    "training.kimg",
    "training.generator.learning_rate",
    "training.discriminator.learning_rate",
)
_CURVES = ("discriminator_loss", "generator_loss", "diversity", "images_per_second")
_NUMBERS = ("fid", "fd_", "precision_", "recall_", "coverage_")
# The number of runs that the charts show at first, and a metric that every training logs.
_SHOWN_RUNS, _LENGTH = 10, "generator_loss"
_SECTIONS = ("Samples", "Training", "Evaluation", "System metrics")


def write_view(experiment: str) -> str:
    """Store the view of an experiment; return its URL relative to the server."""
    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return "/#/experiments"
    runs: Sequence[Run] = client.search_runs([found.experiment_id], max_results=100)
    metrics = {name for run in runs for name in run.data.metrics}
    client.set_experiment_tag(found.experiment_id, _TAG, json.dumps(view_of(metrics, _shared_step(client, runs))))
    return f"/#/experiments/{found.experiment_id}/runs?viewStateShareKey={KEY}"


def view_of(metrics: set[str], step: int = 0) -> dict[str, Any]:
    """Return the view for runs with these metrics. The sample grids are those of `step` (images seen)."""
    against_test = [name for name in sorted(metrics) if name.startswith(_NUMBERS) and name.endswith("_test")]
    against_test.sort(key=lambda name: next(place for place, start in enumerate(_NUMBERS) if name.startswith(start)))
    distances = [name for name in sorted(metrics) if name.endswith("_validation")]
    columns = [
        *(f"tags.`{name}`" for name in _TAGS_BEFORE),
        *(f"params.`{name}`" for name in _PARAMETERS),
        *(f"metrics.`{name}`" for name in (*against_test, "images_per_second")),
        *(f"tags.`{name}`" for name in _TAGS_AFTER),
    ]
    charts = [
        _chart(0, "IMAGE", {"imageKeys": ["samples"], "step": step, "showRunParams": False}),
        *(_line(1, name) for name in (*_CURVES[:3], *distances, _CURVES[3]) if name in metrics),
        *(_chart(2, "BAR", {"metricKey": name, "displayName": name}) for name in against_test),
        *(_line(3, name) for name in sorted(metrics) if name.startswith("system/")),
    ]
    return {
        "searchFilter": "",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "runsHiddenMode": "FIRST_10_RUNS",
        "compareRunSections": [_section(name) for name in _SECTIONS],
        "compareRunCharts": charts,
        "isAccordionReordered": True,
    }


def _shared_step(client: mlflow.MlflowClient, runs: Sequence[Run]) -> int:
    # The last step of the shortest training among the first runs: all of them have a sample grid of it.
    trained = [run for run in runs if _LENGTH in run.data.metrics][:_SHOWN_RUNS]
    histories = (client.get_metric_history(run.info.run_id, _LENGTH) for run in trained)
    return min((max(one.step for one in history) for history in histories), default=0)


def _section(name: str) -> dict[str, Any]:
    # One column: the grids of all runs are then side by side.
    layout = {"columns": 1, "cardHeight": 420} if name == "Samples" else {}
    state = {"display": True, "isReordered": True, "deleted": False, "isGenerated": True}
    return {"uuid": name, "name": name, **state, **layout}


def _line(section: int, metric: str) -> dict[str, Any]:
    values = {
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "displayName": metric,
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
    return _chart(section, "LINE", values)


def _chart(section: int, kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    name = values.get("metricKey", kind)
    return {
        "uuid": f"{kind}-{name}",
        "type": kind,
        "runsCountToCompare": _SHOWN_RUNS,
        "metricSectionId": _SECTIONS[section],
        "deleted": False,
        "isGenerated": True,
        **values,
    }
