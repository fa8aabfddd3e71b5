"""Checkpoints on disk: atomic saves, checksums, retention, and which checkpoint a training resumes from."""

import json
import logging
import os
import resource
import signal

import pytest
import torch
from dataset_errors import raises_dataset_error

from kedro_dcgan.datasets import CheckpointsDataset
from kedro_dcgan.errors import DiskFullError, TrainingError
from kedro_dcgan.storage import sha256_of
from kedro_dcgan.stored_files import write_json
from kedro_dcgan.training.checkpoints import Checkpoint, CheckpointFolder, CheckpointHeader, choose_checkpoint

FINGERPRINT = {"training.batch_size": 8, "images": "abc"}


class Plan:
    """The requested training."""

    def __init__(self, training_id="aaa", total_images=100, **changes):
        self.training_id, self.total_images = training_id, total_images
        self.fingerprint = {**FINGERPRINT, **changes}


def checkpoint(
    images_seen, training_id="aaa", total_images=100, is_best=False, keep=2, must_be_saved=False, ended_early=False
):
    header = CheckpointHeader(training_id, images_seen, total_images, is_best, FINGERPRINT, "a" * 32, ended_early)
    state = {"weights": torch.full((1000,), float(images_seen)), "images_seen": images_seen}
    return Checkpoint(header, state, keep, must_be_saved)


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "checkpoints")


def stored_header(place):
    header = json.loads((place / "checkpoint.json").read_text())
    del header["checksum"]
    return header


def images_seen_in(folder, training_id="aaa"):
    return [header.images_seen for header in folder.headers(training_id)]


def test_saved_checkpoint_is_read_back(folder):
    folder.save(checkpoint(10))
    header = folder.newest("aaa", 100)
    assert header == checkpoint(10).header
    state = folder.read_state(header)
    assert torch.equal(state["weights"], torch.full((1000,), 10.0))
    assert state["images_seen"] == 10


def test_newest_checkpoints_and_the_best_are_kept(folder):
    for images_seen in (10, 20, 30, 40, 50):
        folder.save(checkpoint(images_seen, is_best=images_seen in (10, 20)))
    assert images_seen_in(folder) == [20, 40, 50]


def test_later_checkpoints_of_a_longer_run_are_kept(folder):
    for images_seen in (80, 90, 10, 20, 30):
        folder.save(checkpoint(images_seen))
    assert images_seen_in(folder) == [20, 30, 80, 90]


def test_leftovers_of_a_killed_process_are_removed(folder):
    folder.save(checkpoint(10))
    for name in (".000000000020.7.incomplete", ".000000000005.removed"):
        (folder.root / "aaa" / name).mkdir()
    folder.save(checkpoint(20))
    assert sorted(path.name for path in (folder.root / "aaa").iterdir()) == ["000000000010", "000000000020"]


def test_checkpoints_of_other_trainings_are_kept(folder):
    folder.save(checkpoint(90, "bbb"))
    for images_seen in (10, 20, 30):
        folder.save(checkpoint(images_seen, keep=1))
    assert (images_seen_in(folder), images_seen_in(folder, "bbb")) == ([30], [90])
    assert folder.last_saved().images_seen == 30


DAMAGES = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "last byte missing": lambda data: data[:-1],
    "one bit flipped": lambda data: data[:2000] + bytes([data[2000] ^ 1]) + data[2001:],
    "zeros": lambda data: bytes(len(data)),
    "a web page": lambda data: b"<html>not found</html>",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint_is_set_aside_and_the_previous_one_is_used(folder, damage, caplog):
    folder.save(checkpoint(10))
    folder.save(checkpoint(20))
    file = folder.root / "aaa/000000000020/state.pt"
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert folder.read_state(folder.newest("aaa", 100)) is None
    assert "000000000020 is damaged" in caplog.text
    assert (folder.root / "aaa/damaged-000000000020").is_dir()
    assert folder.read_state(folder.newest("aaa", 100))["images_seen"] == 10


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}'])
def test_checkpoint_with_a_damaged_header_is_set_aside(folder, content):
    folder.save(checkpoint(10))
    folder.save(checkpoint(20))
    (folder.root / "aaa/000000000020/checkpoint.json").write_text(content)
    assert folder.newest("aaa", 100).images_seen == 10


def test_checkpoint_in_the_wrong_folder_is_set_aside(folder):
    folder.save(checkpoint(10))
    (folder.root / "aaa/000000000010").rename(folder.root / "aaa/000000000099")
    assert folder.newest("aaa", 100) is None
    assert (folder.root / "aaa/damaged-000000000099").is_dir()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory"), OSError(24, "too many files")])
def test_other_read_errors_do_not_count_as_damage(folder, monkeypatch, error):
    folder.save(checkpoint(10))

    def fail(*arguments, **named):
        raise error

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(type(error)):
        folder.read_state(folder.newest("aaa", 100))
    assert images_seen_in(folder) == [10]


def test_pickled_objects_are_not_loaded(folder, tmp_path):
    folder.save(checkpoint(10))

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    place = folder.root / "aaa/000000000010"
    torch.save(Payload(), place / "state.pt")
    write_json(place / "checkpoint.json", {**stored_header(place), "sha256": sha256_of(place / "state.pt")})
    assert folder.read_state(folder.newest("aaa", 100)) is None
    assert not (tmp_path / "harm").exists()


def test_full_disk_is_a_warning_during_training_and_an_error_at_the_end(tmp_path, caplog):
    dataset = CheckpointsDataset(tmp_path / "checkpoints")
    dataset.save([checkpoint(10)])
    # A process can limit its own file size, which gives the same error as a full disk.
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with caplog.at_level(logging.WARNING):
            dataset.save([checkpoint(20)])
        with raises_dataset_error(DiskFullError, "must have room for it"):
            dataset.save([checkpoint(30, must_be_saved=True)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caplog.text.count("NOT SAVED: the disk of") == 1
    assert images_seen_in(dataset.load()) == [10]
    assert [path.name for path in (tmp_path / "checkpoints/aaa").iterdir()] == ["000000000010"]


def test_same_training_resumes_from_its_newest_checkpoint(folder):
    assert choose_checkpoint(folder, Plan(), "auto") is None
    for images_seen in (10, 20):
        folder.save(checkpoint(images_seen))
    assert choose_checkpoint(folder, Plan(), "auto").images_seen == 20
    assert choose_checkpoint(folder, Plan(), "never") is None


def test_longer_training_resumes_and_shorter_one_uses_an_earlier_checkpoint(folder):
    for images_seen in (10, 20, 100):
        folder.save(checkpoint(images_seen, keep=3))
    assert choose_checkpoint(folder, Plan(total_images=200), "auto").images_seen == 100
    assert choose_checkpoint(folder, Plan(total_images=50), "auto").images_seen == 20
    # No checkpoint is early enough: the training starts from scratch and keeps the later ones.
    assert choose_checkpoint(folder, Plan(total_images=5), "auto") is None
    assert choose_checkpoint(folder, Plan(total_images=5), "force") is None


def test_changed_training_is_rejected_while_another_is_unfinished(folder):
    folder.save(checkpoint(20))
    changed = Plan("bbb", **{"training.batch_size": 16})
    with pytest.raises(
        TrainingError, match=r"20 images of 100 images.*training.batch_size was 8, is 16.*training.resume=never"
    ):
        choose_checkpoint(folder, changed, "auto")
    assert choose_checkpoint(folder, changed, "never") is None
    assert choose_checkpoint(folder, changed, "auto", may_differ=True) is None
    assert choose_checkpoint(folder, changed, "force").images_seen == 20


@pytest.mark.parametrize("last", [checkpoint(100), checkpoint(20, ended_early=True)])
def test_changed_training_starts_from_scratch_if_the_other_is_finished(folder, last):
    folder.save(last)
    assert choose_checkpoint(folder, Plan("bbb"), "auto") is None
