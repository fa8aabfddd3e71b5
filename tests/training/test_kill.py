"""Killed at any moment and started again, a training ends in the same bits as one that was left alone."""

import os
import random
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from engine import CPU, REAL, a_run, batches, new_state, tensors_in
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
# Long enough to be killed in; for what is killed while it saves, as long as it takes to save twice.
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


# What the first calibration finds, and what others would: bits differ.
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
    """What the node does, without Kedro: resume from what is there, save what is due, return the final state."""
    stored, plan = CheckpointFolder(folder), plan_training(IMAGES, training)
    start = TrainingStart(plan, choose_checkpoint(stored, plan, training.resume))
    before = restore(stored, start, training.resume)
    calibrated, kept = calibration_of(before, plan, training)
    compute = replace(CPU, precision=calibrated.precision)
    state = new_state(training, compute)
    if before:
        state.load_state_dict(before)
    set_up(state, calibrated, kept)
    done = state.images_seen // 8
    run = a_run(state, training, compute, validate=lambda generator: float(generator.layers[1].weight.abs().sum()))
    for tick in run.ticks(batches(steps - done, done), 8 * steps):
        if tick.checkpoint:
            is_best = state.best is not None and state.best.images_seen == tick.images_seen
            header = CheckpointHeader(plan.training_id, tick.images_seen, 8 * steps, is_best, plan.fingerprint)
            stored.save(Checkpoint(header, tick.checkpoint, training.checkpoints_kept))
    return state


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The final states of trainings that were left alone, and how long the long one takes."""
    started = time.perf_counter()
    long = train(tmp_path_factory.mktemp("long"), LONG)
    return {LONG: long, SHORT: train(tmp_path_factory.mktemp("short"), SHORT), "time": time.perf_counter() - started}


def forked(folder, steps, prepare=lambda: None, training=TRAINING):
    """Train in a process of its own, which has this one's imports."""
    if pid := os.fork():
        return pid
    try:
        prepare()
        train(folder, steps, training)
        os._exit(0)
    finally:
        os._exit(1)


def without_times(record):
    return {**record.as_dict(), "images_per_second": 0, "gigaflops_per_second": 0}


def code_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def require_equal(folder, steps, undisturbed):
    state, expected = train(folder, steps), undisturbed[steps]
    assert state.images_seen == 8 * steps
    # Whole checkpoints, and nothing else.
    left = [path.name for path in (folder / PLAN.training_id).iterdir()]
    assert all(name.isdigit() for name in left), left
    pairs = zip(tensors_in(expected.state_dict()), tensors_in(state.state_dict()), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    for one, other in zip(expected.records, state.records, strict=True):
        assert without_times(one) == without_times(other)


def test_trainings_killed_at_20_random_moments_end_in_the_same_bits(undisturbed, tmp_path):
    moments, kills, trainings = random.Random(0), 0, 0
    while kills < KILLS:
        pid = forked(tmp_path / str(trainings), LONG)
        time.sleep(moments.uniform(0, undisturbed["time"] / 6))
        os.kill(pid, signal.SIGKILL)
        code = code_of(pid)
        assert code in (0, -signal.SIGKILL)
        if code == 0:
            # It was done before its time.
            require_equal(tmp_path / str(trainings), LONG, undisturbed)
            trainings += 1
        else:
            kills += 1
    require_equal(tmp_path / str(trainings), LONG, undisturbed)


def test_a_training_with_everything_on_auto_killed_at_10_random_moments_ends_in_the_same_bits(monkeypatch, tmp_path):
    auto = tiny_training(precision="auto", threads="auto", images_per_validation=48)
    folder = tmp_path / "killed"

    def calibrate(plan, training):
        # A noisy day: once there is a checkpoint, timing would find something else.
        return OTHER if list(folder.glob("*/[0-9]*")) else FOUND

    monkeypatch.setattr(calibration, "calibrate", calibrate)
    started = time.perf_counter()
    expected = train(tmp_path / "undisturbed", LONG, auto)
    seconds, moments = time.perf_counter() - started, random.Random(1)
    for _ in range(10):
        pid = forked(folder, LONG, training=auto)
        time.sleep(moments.uniform(0, seconds / 3))
        os.kill(pid, signal.SIGKILL)
        assert code_of(pid) in (0, -signal.SIGKILL)
    assert list(folder.glob("*/[0-9]*"))
    found = train(folder, LONG, auto)
    assert found.calibration["precision"] == "bfloat16"
    assert found.calibration["algorithms"] == FOUND.algorithms
    pairs = zip(tensors_in(expected.state_dict()), tensors_in(found.state_dict()), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    # The bits of the other calibration are others.
    monkeypatch.setattr(calibration, "calibrate", lambda plan, training: OTHER)
    other = train(tmp_path / "other", LONG, auto)
    assert not torch.equal(other.generator.layers[1].weight, expected.generator.layers[1].weight)


# Leftovers, the tensors, fsync of each file and folder, the renames, old ones; twice.
@pytest.mark.parametrize("call", range(1, 19))
def test_a_training_killed_while_it_saves_ends_in_the_same_bits(undisturbed, tmp_path, call):
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

    assert code_of(forked(tmp_path, SHORT, die_at_call)) == -signal.SIGKILL
    require_equal(tmp_path, SHORT, undisturbed)
