"""ExperimentHooks: the locks and the removal of checkpoints that experiments share; the wait of stages for locks."""

import threading
from types import SimpleNamespace

import pytest

from kedro_dcgan.datasets import CheckpointsDataset, SampleFramesDataset
from kedro_dcgan.errors import DataError
from kedro_dcgan.hooks import ExperimentHooks, LockHooks, checks
from kedro_dcgan.locks import lock_output
from kedro_dcgan.reports.pictures import SampleFrames

NODE = SimpleNamespace(inputs=["images", "training_start"])


def pipeline(*outputs):
    return SimpleNamespace(all_outputs=lambda: set(outputs))


def catalog_in(models):
    """Return the datasets of checkpoints and frames; the current training is `aaa`."""
    frames = SampleFramesDataset(models / "sample_frames")
    frames.save(SampleFrames("aaa", 640, []))
    return {"checkpoint": CheckpointsDataset(models / "checkpoints"), "sample_frames": frames}


@pytest.fixture
def copy(tmp_path):
    return tmp_path / ".dvc/tmp/exps/tmpx1/data/06_models"


@pytest.fixture
def experiments(tmp_path):
    """The folder with the checkpoints of two experiments."""
    folder = tmp_path / "data/06_models/experiments"
    for training_id in ("aaa", "bbb"):
        (folder / training_id / "000000000640").mkdir(parents=True)
    return folder


def names(folder):
    return {path.name for path in folder.glob("[!.]*")}


def export(catalog):
    hooks = ExperimentHooks()
    hooks.before_pipeline_run(pipeline("exported_generator"), catalog)
    hooks.after_pipeline_run()


def test_an_export_in_a_copy_removes_only_its_own_checkpoints(copy, experiments):
    export(catalog_in(copy))
    assert names(experiments) == {"bbb"}


def test_an_export_in_the_project_removes_nothing(tmp_path, experiments):
    models = tmp_path / "data/06_models"
    (models / "checkpoints/aaa").mkdir(parents=True)
    export(catalog_in(models))
    assert names(models / "checkpoints") == {"aaa"}
    assert names(experiments) == {"aaa", "bbb"}


def test_checkpoints_in_a_folder_of_the_users_own_are_not_removed(tmp_path, copy):
    own = tmp_path / "own"
    (own / "aaa").mkdir(parents=True)
    export({**catalog_in(copy), "checkpoint": CheckpointsDataset(own)})
    assert names(own) == {"aaa"}


def test_checkpoints_of_a_running_training_are_not_removed(copy, experiments):
    with lock_output(experiments / "aaa"):
        export(catalog_in(copy))
    assert names(experiments) == {"aaa", "bbb"}


def test_experiments_lock_their_own_training(copy, experiments, monkeypatch):
    monkeypatch.setattr("kedro_dcgan.hooks.experiments.LOCK_TIMEOUT", 0)
    catalog, hooks = catalog_in(copy), ExperimentHooks()
    locks = LockHooks()
    locks.before_pipeline_run(pipeline("checkpoint"), catalog)
    hooks.before_pipeline_run(pipeline("checkpoint"), catalog)
    start = SimpleNamespace(plan=SimpleNamespace(training_id="aaa"))
    hooks.before_node_run(NODE, {"training_start": start})
    with lock_output(experiments / "bbb"):
        pass
    with lock_output(experiments):
        pass
    with pytest.raises(DataError, match="two runs at once"), lock_output(experiments / "aaa"):
        pass
    hooks.on_pipeline_error()
    with lock_output(experiments / "aaa"):
        pass
    locks.after_pipeline_run()


def test_a_stage_waits_for_one_that_is_stopping(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "LOCK_TIMEOUT", 20.0)
    held, release = threading.Event(), threading.Event()

    def hold():
        with lock_output(tmp_path / "checkpoints"):
            held.set()
            release.wait(20)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(20)
    hooks, catalog = LockHooks(), {"checkpoint": CheckpointsDataset(tmp_path / "checkpoints")}
    with pytest.raises(DataError, match="two runs at once"):
        hooks.before_pipeline_run(pipeline("checkpoint"), catalog)
    monkeypatch.setenv("DVC_STAGE", "training")
    threading.Timer(0.3, release.set).start()
    hooks.before_pipeline_run(pipeline("checkpoint"), catalog)
    hooks.after_pipeline_run()
    other.join()
