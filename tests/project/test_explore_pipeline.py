"""`kedro run --pipelines=explore` after a training, and without one."""

import json
import shutil


def test_pages_and_pictures_are_written_after_a_training(trained_project):
    project, reports = trained_project, trained_project.path / "data/08_reporting"
    others = {file: file.stat().st_mtime_ns for file in reports.iterdir() if file.is_file()}
    output = project.kedro("run", "--env=smoke", "--pipelines=explore").stdout
    assert "D's features" in output
    assert "done in" in output
    for name in ("explorer.html", "directions.png", "discriminator.html"):
        assert str(reports / name) in output
    record = json.loads((reports / "discriminator.json").read_text())
    assert record["linear_svm"]["test_images"] == 373
    assert record["linear_svm"]["results"]["pixels"]["accuracy"]["value"] > 0.9
    # The pages of the evaluation stay, and the registry gets no new version.
    assert {file: file.stat().st_mtime_ns for file in others} == others
    assert "registered" not in output


def test_without_checkpoints_one_line_says_to_train(trained_project, empty_project):
    shutil.copytree(trained_project.path / "data", empty_project.path / "data")
    shutil.rmtree(empty_project.path / "data/06_models/checkpoints")
    result = empty_project.kedro(
        "run", "--env=smoke", "--pipelines=explore", "--nodes=inspect_discriminator", check=False
    )
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert "data/06_models/checkpoints" in line
    assert line.endswith("Train here first: kedro run.")
