"""Every mistake that a user can make ends with one line, before any work starts, and a code that is not 0."""

import hostile
import pytest
from conftest import copy_project

CASES = {
    "missing folder": (
        "run --params ingestion.source=nowhere",
        "`ingestion.source` must be a folder, an archive or an IDX file (got {project}/nowhere, nothing there). Pass",
    ),
    "a file of no known kind": (
        "run --params ingestion.source=LICENSE",
        "/LICENSE, another kind of file). Pass",
    ),
    "boxes that are not there": (
        "run --params preprocessing.crop.boxes=nowhere.csv",
        "`preprocessing.crop.boxes` must be a CSV file with the columns path, left, top, width, height (got",
    ),
    "Ray without a cluster": (
        "run --pipelines=ingestion --params ingestion.engine=ray",
        "`ingestion.engine` must be processes where no Ray cluster is running (got ray). Start one",
    ),
    "fewer images than a batch": (
        "run --params ingestion.source=few",
        "must hold at least one batch of `training.batch_size` 16 images (got 3 files in few). Add images",
    ),
    "unknown parameter": ("run --params training.batchsize=8", "Did you mean `training.batch_size`?"),
    "misspelt top-level key": ("run --params trainng.epochs=3", "Did you mean `training`?"),
    "out of range": ("run --params training.epochs=-1", "`training.epochs` must be greater than 0 (got -1). Change it"),
    "wrong preset": (
        "run --env=faces46",
        "There are: base, digits28, experiment64, faces64, images64, notebook28, paper, simpsons200, smoke.",
    ),
    "wrong preset of describe": (
        "dcgan describe --env=faces46",
        "There are: base, digits28, experiment64, faces64, images64, notebook28, paper, simpsons200, smoke.",
    ),
    "misspelt pipeline": ("run --pipelines=evalute", "Did you mean one of these instead? evaluate"),
    "no generator yet": ("run --pipelines=evaluate", "must hold a trained generator (it does not). Train one"),
    "no shards yet": (
        "run --pipelines=preprocessing",
        "data/03_primary/shards` must hold prepared images (it does not)",
    ),
    "an image size that the networks do not take": (
        "run --params training.architecture=notebook28",
        "`preprocessing.image_size` must be 28 for `training.architecture` notebook28 (got 32). Pass",
    ),
    "a penalty with batch norm": (
        "run --params training.discriminator.batch_norm=true",
        "`training.discriminator.batch_norm` must be false where the gradients are penalised (got true, with "
        "`training.penalties.r1` 4). Pass --params training.discriminator.batch_norm=false, or "
        "training.penalties.r1=0.",
    ),
    "two penalties": (
        "run --params training.loss=wgan_gp",
        "must have a `penalties.r1` of 0 with the loss wgan_gp, which has a penalty of its own (got 4)",
    ),
    "labels for a loss that has none": (
        "run --params training.loss=hinge,training.real_label=0.9",
        "must have a `real_label` of 1 with the loss hinge, which has no labels",
    ),
    "a batch that cannot be divided": (
        "run --params training.gradient_accumulation=5",
        "must have a `batch_size` that `gradient_accumulation` divides into parts of at least 2",
    ),
    "networks that do not fit into memory": (
        "run --env=simpsons200 --params training.batch_size=100000",
        "`training.architecture` must fit into the memory of cpu: training needs at least",
    ),
    "more devices than there are": (
        "run --params training.devices=800,training.batch_size=1600",
        "`training.devices` must be at most",
    ),
    "a batch that the devices cannot share": (
        "run --params training.devices=2,training.batch_size=17",
        "`training.batch_size` must be a multiple, twofold at least, of the 2 parts that 2 devices and "
        "`training.gradient_accumulation` 1 make of it (got 17). Pass --params training.batch_size=16.",
    ),
    "a device that is not there": (
        "run --params training.device=mps",
        "`training.device` must be a device of this machine (got 'mps')",
    ),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("errors") / "kedro-dcgan")
    (project.path / "empty").mkdir()
    (project.path / "few").mkdir()
    for name in "abc":
        (project.path / "few" / f"{name}.jpg").write_text(f"no image {name}")
    return project, {name: project.kedro(*command.split(), check=False) for name, (command, _) in CASES.items()}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_answered_in_one_line(answers, case):
    project, results = answers
    result, expected = results[case], CASES[case][1].format(project=project.path)
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    assert len(errors) == 1, result.stderr
    assert expected in errors[0]


def test_no_mistake_left_data_a_model_or_a_run(answers):
    project, _ = answers
    assert not list((project.path).glob("data/0[2-9]*/[!.]*"))
    assert not (project.path / "mlflow.db").exists()


def test_too_many_skipped_files_stop_a_run_after_the_report(tmp_path):
    project = copy_project(tmp_path / "kedro-dcgan")
    half = project.path / "half"
    half.mkdir()
    for number in range(3):
        (half / f"{number}.png").write_bytes(hostile.png(number))
        (half / f"{number}.txt").write_text(f"no image {number}")
    limit = "ingestion.source=half,ingestion.max_skipped_fraction=0.4"
    result = project.kedro("run", "--pipelines=ingestion", "--params", limit, check=False)
    assert result.returncode == 1
    assert "must be at most `ingestion.max_skipped_fraction` 0.4 (got 0.50: 6 images scanned" in result.stderr
    assert "3 of 6 files are usable" in (project.path / "data/08_reporting/dataset.html").read_text()

    # What is there was made with other parameters than are asked for now.
    size = "preprocessing.image_size=16"
    other = project.kedro("run", "--pipelines=preprocessing", "--params", size, check=False)
    assert other.returncode == 1
    assert (
        "`preprocessing.image_size` must be the one that the image shards were made with (32; got 16)" in other.stderr
    )


def test_a_source_without_a_usable_image_stops_a_run_after_the_report(tmp_path):
    project = copy_project(tmp_path / "kedro-dcgan")
    (project.path / "texts").mkdir()
    (project.path / "texts/a.jpg").write_text("no image")
    everything = "ingestion.source=texts,ingestion.max_skipped_fraction=1"
    result = project.kedro("run", "--pipelines=ingestion", "--params", everything, check=False)
    assert result.returncode == 1
    assert (
        "Error: the source must hold at least one usable image (got none of 1; most are not_an_image:" in result.stderr
    )
    assert "0 of 1 files are usable" in (project.path / "data/08_reporting/dataset.html").read_text()


def test_a_place_that_cannot_be_written_to_is_told_before_anything_is_done(tmp_path):
    project = copy_project(tmp_path / "kedro-dcgan")
    # To root no folder is read-only; a file in the place of a folder stops everybody.
    (project.path / "data").mkdir()
    (project.path / "data/06_models").touch()
    result = project.kedro("run", "--env=smoke", check=False)
    assert result.returncode == 1
    assert "data/06_models/checkpoints` must be where files can be written (" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(project.path.glob("data/0[2-5]*/[!.]*"))


def test_one_image_is_refused(tmp_path):
    project = copy_project(tmp_path / "kedro-dcgan")
    (project.path / "one").mkdir()
    (project.path / "one/1.png").write_bytes(hostile.png(1))
    result = project.kedro("run", "--env=smoke", "--params", "ingestion.source=one", check=False)
    assert result.returncode == 1
    assert "must hold at least one batch of `training.batch_size` 16 images (got 1 files in one)" in result.stderr
