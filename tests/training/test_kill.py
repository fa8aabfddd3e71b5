"""A training that is killed at any time and resumed ends with the same bits as an uninterrupted one."""

import os
import random
import shutil
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from engine import CPU, REAL, batches, new_run, new_state, tensors_in
from recipes import tiny_training

from kedro_dcgan import storage as atomic
from kedro_dcgan.data.shards import PreparedImages, StoredShard
from kedro_dcgan.training.checkpoints import (
    Checkpoint,
    CheckpointFolder,
    CheckpointHeader,
    TrainingStart,
    choose_checkpoint,
    restore,
)
from kedro_dcgan.training.fast import calibration
from kedro_dcgan.training.fast.calibration import calibration_of
from kedro_dcgan.training.fast.execution import Calibration, set_up
from kedro_dcgan.training.plan import plan_training

KILLS = 20
# Steps of a training that is killed at random times, and of one that is killed during one of its two saves.
LONG, SHORT = 60, 10
TRAINING = tiny_training(
    discriminator__dropout=0.3,
    ema__half_life=100,
    images_per_validation=48,
    checkpoints_kept=1,
    deterministic=True,
)
IMAGES = PreparedImages(16, 1, "digest", [StoredShard("0", "", REAL.numpy())], {"train": torch.arange(64).numpy()})
PLAN = plan_training(IMAGES, TRAINING)


# The result of the first calibration, and that of any later one. Their trainings have different bits.
FOUND = Calibration(
    "cpu",
    "this machine",
    "bfloat16",
    1,
    1,
    "eager",
    {"discriminator": {"layers.0": {"large bfloat16": "subpixel"}}},
    9.0,
)
OTHER = replace(FOUND, precision="float32", algorithms={})


def train(folder, steps, training=TRAINING):
    """Train like the node, without Kedro: resume, save checkpoints and return the final state."""
    stored, plan = CheckpointFolder(folder), plan_training(IMAGES, training)
    start = TrainingStart(plan, training, choose_checkpoint(stored, plan, training.resume))
    before = restore(stored, start)
    calibrated, kept = calibration_of(before, plan, training)
    compute = replace(CPU, precision=calibrated.precision)
    state = new_state(training, compute)
    if before:
        state.load_state_dict(before)
    set_up(state, calibrated, kept)
    done = state.images_seen // 8
    run = new_run(state, training, compute, validate=lambda generator: float(generator.layers[1].weight.abs().sum()))
    for tick in run.ticks(batches(steps - done, done), 8 * steps):
        if tick.checkpoint:
            is_best = state.best is not None and state.best.images_seen == tick.images_seen
            header = CheckpointHeader(plan.training_id, tick.images_seen, 8 * steps, is_best, plan.fingerprint)
            stored.save(Checkpoint(header, tick.checkpoint, training.checkpoints_kept))
    return state


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The final states of uninterrupted trainings, and how long these took in seconds."""
    started = time.perf_counter()
    long = train(tmp_path_factory.mktemp("long"), LONG)
    return {LONG: long, SHORT: train(tmp_path_factory.mktemp("short"), SHORT), "time": time.perf_counter() - started}


def train_in_fork(folder, steps, prepare=lambda: None, training=TRAINING):
    """Train in a forked process; return its id."""
    if pid := os.fork():
        return pid
    try:
        prepare()
        train(folder, steps, training)
        os._exit(0)
    finally:
        os._exit(1)


def without_times(record):
    return {**asdict(record), "images_per_second": 0, "gigaflops_per_second": 0}


def exit_code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def assert_same_result(folder, steps, uninterrupted):
    state, expected = train(folder, steps), uninterrupted[steps]
    assert state.images_seen == 8 * steps
    # Only complete checkpoints are left.
    left = [path.name for path in (folder / PLAN.training_id).iterdir()]
    assert all(name.isdigit() for name in left), left
    pairs = zip(tensors_in(expected.state_dict()), tensors_in(state.state_dict()), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    for one, other in zip(expected.records, state.records, strict=True):
        assert without_times(one) == without_times(other)


def test_training_killed_20_times_ends_with_the_same_bits(uninterrupted, tmp_path):
    moments, kills, trainings = random.Random(0), 0, 0
    while kills < KILLS:
        pid = train_in_fork(tmp_path / str(trainings), LONG)
        time.sleep(moments.uniform(0, uninterrupted["time"] / 6))
        os.kill(pid, signal.SIGKILL)
        code = exit_code(pid)
        assert code in (0, -signal.SIGKILL)
        if code == 0:
            # The training finished before it was killed.
            assert_same_result(tmp_path / str(trainings), LONG, uninterrupted)
            trainings += 1
        else:
            kills += 1
    assert_same_result(tmp_path / str(trainings), LONG, uninterrupted)


def test_calibrated_training_killed_10_times_ends_with_the_same_bits(monkeypatch, tmp_path):
    auto = tiny_training(precision="auto", threads="auto", images_per_validation=48)
    folder = tmp_path / "killed"

    def calibrate(plan, training):
        # Timing is noisy: once there is a checkpoint, it would give another result.
        return OTHER if list(folder.glob("*/[0-9]*")) else FOUND

    monkeypatch.setattr(calibration, "calibrate", calibrate)
    started = time.perf_counter()
    expected = train(tmp_path / "uninterrupted", LONG, auto)
    seconds, moments = time.perf_counter() - started, random.Random(1)
    for _ in range(10):
        pid = train_in_fork(folder, LONG, training=auto)
        time.sleep(moments.uniform(0, seconds / 3))
        os.kill(pid, signal.SIGKILL)
        assert exit_code(pid) in (0, -signal.SIGKILL)
    assert list(folder.glob("*/[0-9]*"))
    found = train(folder, LONG, auto)
    assert found.calibration["precision"] == "bfloat16"
    assert found.calibration["algorithms"] == FOUND.algorithms
    pairs = zip(tensors_in(expected.state_dict()), tensors_in(found.state_dict()), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    # The other calibration gives other bits.
    monkeypatch.setattr(calibration, "calibrate", lambda plan, training: OTHER)
    other = train(tmp_path / "other", LONG, auto)
    assert not torch.equal(other.generator.layers[1].weight, expected.generator.layers[1].weight)


# Each of the two saves writes tensors, syncs files and folders, renames, and removes old folders.
@pytest.mark.parametrize("call", range(1, 19))
def test_training_killed_during_a_save_ends_with_the_same_bits(uninterrupted, tmp_path, call):
    def die_at_call():
        calls = iter(range(1, 1000))

        def dying(original):
            def called(*arguments, **named):
                if next(calls) == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*arguments, **named)

            return called

        atomic._sync = dying(atomic._sync)
        Path.rename = dying(Path.rename)
        torch.save = dying(torch.save)
        shutil.rmtree = dying(shutil.rmtree)

    assert exit_code(train_in_fork(tmp_path, SHORT, die_at_call)) == -signal.SIGKILL
    assert_same_result(tmp_path, SHORT, uninterrupted)
