"""User errors: one line with the facts, exit code 1, and no work done.

Each case is a command and the facts in its error line: the parameter, the value, the remedy.
"""

import shutil
import sys

import hostile
import pytest
from projects import copy_project

PRESETS = ("base", "digits28", "experiment64", "faces64", "images64", "notebook28", "paper", "simpsons200", "smoke")
CASES = {
    "missing folder": ("run --params ingestion.source=nowhere", "`ingestion.source`", "{project}/nowhere"),
    "file of an unknown kind": ("run --params ingestion.source=LICENSE", "`ingestion.source`", "/LICENSE"),
    "missing boxes": (
        "run --params preprocessing.crop.boxes=nowhere.csv",
        "`preprocessing.crop.boxes`",
        "path, left, top, width, height",
    ),
    "Ray without a cluster": (
        "run --pipelines=ingestion --params ingestion.engine=ray",
        "`ingestion.engine`",
        "processes",
        "(got ray)",
    ),
    "fewer images than a batch": (
        "run --params ingestion.source=few",
        "`training.batch_size` 16",
        "(got 3 files in few)",
    ),
    "unknown parameter": ("run --params training.batchsize=8", "Did you mean `training.batch_size`?"),
    "misspelt top-level key": ("run --params trainng.epochs=3", "Did you mean `training`?"),
    "out of range": ("run --params training.epochs=-1", "`training.epochs` must be greater than 0 (got -1)"),
    "wrong preset": ("run --env=faces46", "`--env`", "(got faces46)", ", ".join(PRESETS)),
    "wrong preset of describe": ("dcgan describe --env=faces46", "`--env`", "(got faces46)", ", ".join(PRESETS)),
    "misspelt pipeline": ("run --pipelines=evalute", "Did you mean one of these instead? evaluate"),
    "no generator yet": ("run --pipelines=evaluate", "data/06_models/generator`"),
    "no shards yet": ("run --pipelines=preprocessing", "data/03_primary/shards/index.json`"),
    "image size that the networks do not support": (
        "run --params training.architecture=notebook28",
        "`preprocessing.image_size`",
        "28",
        "`training.architecture` notebook28",
        "(got 32)",
    ),
    "gradient penalty with batch norm": (
        "run --params training.discriminator.batch_norm=true",
        "`training.discriminator.batch_norm`",
        "`training.penalties.r1` 0.2",
        "--params training.discriminator.batch_norm=false",
        "training.penalties.r1=0.",
    ),
    "two penalties": ("run --params training.loss=wgan_gp", "`penalties.r1` of 0", "wgan_gp", "(got 0.2)"),
    "negative R1": (
        "run --params training.penalties.r1=-1",
        "`training.penalties.r1`",
        "a number from 0 to 1e+38 or auto",
        "(got -1)",
    ),
    "adaptive R1 for a loss without probabilities": (
        "run --params training.loss=hinge,training.penalties.r1=auto",
        "number as `penalties.r1`",
        "hinge",
        "(got auto",
    ),
    "label smoothing for a loss without labels": (
        "run --params training.loss=hinge,training.real_label=0.9",
        "`real_label` of 1",
        "hinge",
        "(got 0.9)",
    ),
    "batch that cannot be divided": (
        "run --params training.gradient_accumulation=5",
        "`batch_size`",
        "`gradient_accumulation`",
        "(got 16 and 5)",
    ),
    "networks that do not fit into memory": (
        "run --env=simpsons200 --params training.batch_size=100000",
        "`training.architecture`",
        "memory of cpu",
    ),
    "more devices than available": (
        "run --params training.devices=800,training.batch_size=1600",
        "`training.devices` must be at most",
    ),
    "batch that the devices cannot share": (
        "run --params training.devices=2,training.batch_size=17",
        "`training.batch_size`",
        "(got 17)",
        "--params training.batch_size=16.",
    ),
    "runner that the project cannot use": (
        "run --env=smoke --runner=ParallelRunner",
        "`--runner`",
        "SequentialRunner",
        "(got ParallelRunner)",
    ),
    "parameter file with a tab": ("run --env=with-tab", "conf/with-tab/parameters.yml`, line 2", "tabs"),
    "preset of another source": (
        "run --env=mine --conf-source=elsewhere",
        "`training.epochs`",
        "(got -1)",
    ),
    "folder that cannot be written": ("dcgan sample --output /proc/x", "`--output`", "(got /proc/x: "),
    "unavailable device": ("run --params training.device=mps", "`training.device`", "(got 'mps')"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("errors") / "kedro-dcgan")
    (project.path / "empty").mkdir()
    (project.path / "few").mkdir()
    (project.path / "conf/with-tab").mkdir()
    (project.path / "conf/with-tab/parameters.yml").write_text("training:\n\tepochs: 3\n")
    shutil.copytree(project.path / "conf/base", project.path / "elsewhere/base")
    (project.path / "elsewhere/mine").mkdir()
    (project.path / "elsewhere/mine/parameters.yml").write_text("training:\n  epochs: -1\n")
    for name in "abc":
        (project.path / "few" / f"{name}.jpg").write_text(f"no image {name}")
    return project, {name: project.kedro(*command.split(), check=False) for name, (command, *_) in CASES.items()}


@pytest.mark.parametrize("case", CASES)
def test_mistake_is_reported_in_one_line(results, case):
    project, result = results[0], results[1][case]
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    assert len(errors) == 1, result.stderr
    for fact in CASES[case][1:]:
        assert fact.format(project=project.path) in errors[0]


def test_mistakes_leave_no_data_model_or_run(results):
    project, _ = results
    assert not list((project.path).glob("data/0[2-9]*/[!.]*"))
    assert not (project.path / "mlflow.db").exists()


def test_command_of_kedro_reports_a_fault_in_one_line(empty_project):
    (empty_project.path / "conf/base/parameters_own.yml").write_text("a:\n\t- 1\n")
    # A new process: the fork server of the tests handles errors itself.
    result = empty_project.run(sys.executable, "-m", "kedro", "catalog", "describe-datasets", check=False)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "parameters_own.yml`, line 2" in result.stderr


def test_too_many_skipped_files_stop_a_run_after_the_report(tmp_path):
    project = copy_project(tmp_path / "kedro-dcgan")
    half = project.path / "half"
    half.mkdir()
    for number in range(3):
        (half / f"{number}.png").write_bytes(hostile.png(number))
        (half / f"{number}.jpg").write_text(f"no image {number}")
    limit = "ingestion.source=half,ingestion.max_skipped_fraction=0.4"
    result = project.kedro("run", "--pipelines=ingestion", "--params", limit, check=False)
    assert result.returncode == 1
    assert "`ingestion.max_skipped_fraction` 0.4 (got 0.50: 6 " in result.stderr
    assert "3 of 6 files are usable" in (project.path / "data/08_reporting/dataset.html").read_text()
    assert result.stderr.count("\n") == 1
    assert "--from-nodes" not in result.stdout

    # All files are there, so that Kedro would run nothing.
    missing = project.kedro("run", "--pipelines=ingestion", "--only-missing-outputs", "--params", limit).stdout
    assert "nothing to do" in missing
    assert "dataset.html" not in missing

    # The shards were made with another image size.
    size = "preprocessing.image_size=16"
    other = project.kedro("run", "--pipelines=preprocessing", "--params", size, check=False)
    assert other.returncode == 1
    assert "`preprocessing.image_size`" in other.stderr
    assert "(32; got 16)" in other.stderr


def test_source_without_a_usable_image_stops_a_run_after_the_report(tmp_path):
    project = copy_project(tmp_path / "kedro-dcgan")
    (project.path / "texts").mkdir()
    (project.path / "texts/a.jpg").write_text("no image")
    everything = "ingestion.source=texts,ingestion.max_skipped_fraction=1"
    result = project.kedro("run", "--pipelines=ingestion", "--params", everything, check=False)
    assert result.returncode == 1
    assert "(got none of 1" in result.stderr
    assert "not_an_image" in result.stderr
    assert "0 of 1 files are usable" in (project.path / "data/08_reporting/dataset.html").read_text()


def test_unwritable_folder_is_reported_before_any_work(tmp_path):
    project = copy_project(tmp_path / "kedro-dcgan")
    # Root can write to every folder, but nobody can write below a file.
    (project.path / "data").mkdir()
    (project.path / "data/06_models").touch()
    result = project.kedro("run", "--env=smoke", check=False)
    assert result.returncode == 1
    assert "data/06_models/checkpoints`" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(project.path.glob("data/0[2-5]*/[!.]*"))


def test_single_image_is_rejected(tmp_path):
    project = copy_project(tmp_path / "kedro-dcgan")
    (project.path / "one").mkdir()
    (project.path / "one/1.png").write_bytes(hostile.png(1))
    result = project.kedro("run", "--env=smoke", "--params", "ingestion.source=one", check=False)
    assert result.returncode == 1
    assert "`training.batch_size` 16" in result.stderr
    assert "(got 1 files in one)" in result.stderr
