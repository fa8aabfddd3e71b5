"""Stopping a training by signals: what is kept, in words and on disk."""

import os
import signal
from contextlib import ExitStack

import numpy as np
import pytest
from recipes import tiny_training

from kedro_dcgan.data.shards import PreparedImages, StoredShard
from kedro_dcgan.errors import Interrupted, TrainingError
from kedro_dcgan.pipelines.training.console import stop_message
from kedro_dcgan.pipelines.training.nodes import start_training, train_generator
from kedro_dcgan.training.checkpoints import Checkpoint, CheckpointFolder, CheckpointHeader


def header(images_seen):
    return CheckpointHeader("aaa", images_seen, 100_000, False, {})


@pytest.mark.parametrize(
    ("is_second", "images_seen", "resume", "words"),
    [
        (False, 44, "auto", ["saved at 44 images", "Resume with the same command."]),
        (False, 62_400, "auto", ["saved at 62.4 kimg"]),
        (True, 25_000, "auto", ["at once", "kept, at 25.0 kimg", "Resume with the same command."]),
        (True, 25_000, "never", ["at once", "without training.resume=never"]),
        (True, None, "auto", ["at once", "nothing of this training is kept"]),
    ],
)
def test_message_says_what_is_kept_and_how_to_resume(is_second, images_seen, resume, words):
    newest = None if images_seen is None else header(images_seen)
    message = stop_message(is_second, newest, tiny_training(resume=resume))
    assert [word for word in words if word not in message] == []
    assert "\n" not in message


@pytest.fixture
def training(tmp_path):
    """A function that starts a tiny training with a checkpoint every 32 images: yields the images seen when saved."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 1, 16, 16), dtype=np.uint8)
    images = PreparedImages(16, 1, "digest", [StoredShard("0", "", pixels)], {"train": np.arange(64)})
    folder, parameters = CheckpointFolder(tmp_path), tiny_training(epochs=1, threads=1, compile=False)
    start = start_training(images, folder, parameters)

    def run():
        for generator, *_, checkpoints in train_generator(images, folder, start):
            for checkpoint in checkpoints:
                folder.save(checkpoint)
            yield generator.facts["trained_images"]

    return run


@pytest.mark.parametrize(
    ("ticks", "words"), [(1, "nothing of this training is kept"), (3, "kept, at 32 images"), (4, "kept, at 32 images")]
)
def test_second_signal_names_the_checkpoint_that_is_on_disk(training, ticks, words):
    # A tick is saved when the next one begins.
    with ExitStack() as stack:
        run = training()
        stack.callback(run.close)
        assert [next(run) for _ in range(ticks)][-1] == 16 * ticks
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted, match=words):
            os.kill(os.getpid(), signal.SIGINT)


def test_an_experiment_trains_beside_an_unfinished_training_with_other_parameters(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 1, 16, 16), dtype=np.uint8)
    images = PreparedImages(16, 1, "digest", [StoredShard("0", "", pixels)], {"train": np.arange(64)})
    folder, parameters = CheckpointFolder(tmp_path), tiny_training(epochs=1, threads=1, compile=False)
    plan = start_training(images, folder, parameters).plan
    folder.save(Checkpoint(CheckpointHeader(plan.training_id, 32, 64, False, plan.fingerprint, "a"), {}, 2))
    other = tiny_training(epochs=1, threads=1, compile=False, seed=1)
    with pytest.raises(TrainingError, match="seed"):
        start_training(images, folder, other)
    monkeypatch.setenv("DVC_EXP_NAME", "seed1")
    assert start_training(images, folder, other).resume_from is None


def test_first_signal_saves_and_names_a_new_checkpoint(training):
    run = training()
    assert next(run) == 16
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Interrupted, match="stopped and saved at 24 images"):
        list(run)
