"""Reading runs for a comparison: which runs, and under which names."""

import itertools
import json

import mlflow
import pytest

from kedro_dcgan.errors import ComparisonError
from kedro_dcgan.tracking.connection import connect
from kedro_dcgan.tracking.experiment import MAX_RUNS, read_runs, write_view

DISTANCE = "fd_efflite0_64_100_test"


@pytest.fixture
def client(settings):
    connect(settings)
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


@pytest.fixture
def evaluated(client, settings, tmp_path):
    """A function that creates an evaluated run and returns its id."""
    page = tmp_path / "evaluation.json"
    page.write_text(json.dumps({"verdict": "sharp"}))
    experiment, times = client.create_experiment("tests", settings.artifact_location), itertools.count(1)

    def create(name, distance=DISTANCE, digest="01"):
        # Each run starts after the previous one.
        run_id = client.create_run(experiment, start_time=next(times), run_name=name).info.run_id
        for step in (1, 2):
            client.log_metric(run_id, "discriminator_loss", step / 3, step=step)
        client.log_metric(run_id, distance, 50.0)
        client.set_tag(run_id, "dataset_digest", digest)
        client.set_tag(run_id, "quality", "sharp")
        client.log_artifact(run_id, str(page), "reports")
        return run_id

    return create


def test_the_default_is_the_newest_run_and_earlier_comparable_ones(evaluated):
    for number in range(MAX_RUNS + 1):
        evaluated(f"run {number}")
    evaluated("another protocol", distance="fd_efflite0_128_1k_test")
    evaluated("another dataset", digest="02")
    evaluated("the newest")
    found = read_runs("tests", ())
    assert [run.name for run in found] == [*(f"run {number}" for number in range(2, MAX_RUNS + 1)), "the newest"]
    assert found[0].curves == {"discriminator_loss": [(1, 1 / 3), (2, 2 / 3)]}
    assert found[0].evaluation == {"verdict": "sharp"}


def test_runs_with_equal_names_are_shown_with_ids_and_no_run_is_used_twice(evaluated):
    first, second = evaluated("base"), evaluated("base")
    other = evaluated("other")
    names = [run.name for run in read_runs("tests", (first[:10], second, other))]
    assert names == [f"base ({first[:8]})", f"base ({second[:8]})", "other"]
    with pytest.raises(ComparisonError, match=rf"`base` must match one run .*{first[:8]}"):
        read_runs("tests", ("base", "other"))
    with pytest.raises(ComparisonError, match=r"each run must be named once .got other twice"):
        read_runs("tests", ("other", other[:12]))


def test_errors_name_what_cannot_be_compared(evaluated, client):
    with pytest.raises(ComparisonError, match=r"at least 2 .got 0."):
        read_runs("tests", ())
    with pytest.raises(ComparisonError, match=r"at least 1 .got 0."):
        read_runs("tests", least=1)
    evaluated("alone")
    with pytest.raises(ComparisonError, match=r"at least 2 .got 1."):
        read_runs("tests", ())
    assert [run.name for run in read_runs("tests", least=1)] == ["alone"]
    client.create_run(client.get_experiment_by_name("tests").experiment_id, run_name="trained only")
    with pytest.raises(ComparisonError, match="trained only must have an evaluation"):
        read_runs("tests", ("alone", "trained only"))


def view_of(client, settings):
    """Write the view; return it as the UI reads it from the URL."""
    page = write_view(settings)
    experiment, _, key = page.removeprefix("/#/experiments/").partition("/runs?viewStateShareKey=")
    return json.loads(client.get_experiment(experiment).tags[f"mlflow.sharedViewState.{key}"])


def test_first_columns_are_the_verdict_and_the_distance_and_names_fit(evaluated, client, settings):
    run = evaluated("a")
    client.log_metric(run, "coverage_efflite0_64_100_test", 0.5)
    view = view_of(client, settings)
    settings_shown = ["tags.`preset`", "params.`training.epochs`", "params.`preprocessing.image_size`"]
    others = ["tags.`quality`", "metrics.`coverage_efflite0_64_100_test`"]
    assert view["selectedColumns"][:7] == ["tags.`verdict`", f"metrics.`{DISTANCE}`", *settings_shown, *others]
    # MLflow moves tags to the end, unless the order says otherwise, and the order must include the pinned column.
    assert view["columnOrder"] == ["attributes.`Run Name`", *view["selectedColumns"]]
    assert set(view["columnWidths"]) == set(view["columnOrder"])
    for column, width in view["columnWidths"].items():
        assert width >= 7 * len(column.split("`")[1])
    # In windows of 1,300 and 1,900 pixels, beside the menu and boxes (295), the date (150) and the margin (32).
    for last, window in ((f"metrics.`{DISTANCE}`", 1300), (settings_shown[-1], 1900)):
        shown = view["columnOrder"][: view["columnOrder"].index(last) + 1]
        assert sum(view["columnWidths"][name] for name in shown) + 295 + 150 + 32 < window


def test_view_before_the_first_training_shows_its_samples_and_curves(client, settings):
    assert client.get_experiment_by_name("tests") is None
    view = view_of(client, settings)
    charts = {chart["uuid"]: chart for chart in view["compareRunCharts"]}
    latest = charts["IMAGE-latest_samples"]
    assert (latest["imageKeys"], latest["step"]) == (["latest_samples"], 0)
    # The curves come next, so that the first window has some, and the samples at a step after them.
    sections = [section["name"] for section in view["compareRunSections"]]
    shown = ("IMAGE-latest_samples", "LINE-generator_loss", "IMAGE-samples")
    assert [charts[name]["metricSectionId"] for name in shown] == sections[:3]
    assert {"LINE-generator_loss", "LINE-discriminator_loss", "LINE-diversity"} <= set(charts)
    assert client.get_experiment_by_name("tests").artifact_location == settings.artifact_location


def test_view_of_a_deleted_experiment_is_the_list_of_experiments(client, settings):
    client.delete_experiment(client.create_experiment("tests"))
    assert write_view(settings) == "/#/experiments"
