"""A training that is killed at any time and resumed ends with the same bits as an uninterrupted one."""

import multiprocessing
import os
import random
import shutil
import signal
import time
from dataclasses import asdict, replace
from functools import partial
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

# The trainings are forked from a process that nothing else has used, because other tests leave threads behind. It has
# imported what takes seconds; an optimiser imports the last module at its first step.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["pytest", "kedro_dcgan.training.loop", "kedro_dcgan.training.checkpoints", "torch._dynamo"]
)


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
    run = new_run(state, training, compute, validate=size_of_weights)
    for tick in run.ticks(batches(steps - done, done), 8 * steps):
        if tick.checkpoint:
            is_best = state.best is not None and state.best.images_seen == tick.images_seen
            header = CheckpointHeader(plan.training_id, tick.images_seen, 8 * steps, is_best, plan.fingerprint)
            stored.save(Checkpoint(header, tick.checkpoint, training.checkpoints_kept))
    return state


def size_of_weights(generator):
    return float(generator.layers[1].weight.detach().abs().sum())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The final states of uninterrupted trainings."""
    return {steps: train(tmp_path_factory.mktemp(str(steps)), steps) for steps in (LONG, SHORT)}


def start_training(folder, steps, prepare=None, training=TRAINING):
    """Return a process that has just begun to train."""
    begins = SERVER.Event()
    process = SERVER.Process(target=prepare_and_train, args=(begins, prepare, folder, steps, training))
    process.start()
    assert begins.wait(120)
    return process


def prepare_and_train(begins, prepare, folder, steps, training):
    if prepare:
        prepare()
    begins.set()
    train(folder, steps, training)


def seconds_of_process(folder, training=TRAINING):
    """Return how long a process trains that is not killed."""
    process, started = start_training(folder, LONG, training=training), time.perf_counter()
    assert exit_code(process) == 0
    return time.perf_counter() - started


def exit_code(process):
    process.join()
    return process.exitcode


def without_times(record):
    return {**asdict(record), "images_per_second": 0, "gigaflops_per_second": 0}


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
    moments, seconds = random.Random(0), seconds_of_process(tmp_path / "timed")
    kills = trainings = 0
    while kills < KILLS:
        process = start_training(tmp_path / str(trainings), LONG)
        time.sleep(moments.uniform(0, seconds / 3))
        process.kill()
        code = exit_code(process)
        assert code in (0, -signal.SIGKILL)
        if code == 0:
            # The training finished before it was killed.
            assert_same_result(tmp_path / str(trainings), LONG, uninterrupted)
            trainings += 1
        else:
            kills += 1
    assert_same_result(tmp_path / str(trainings), LONG, uninterrupted)


def calibrate(folder, plan, training):
    # Timing is noisy: once there is a checkpoint, it would give another result.
    return OTHER if list(folder.glob("*/[0-9]*")) else FOUND


def calibrate_by(folder):
    calibration.calibrate = partial(calibrate, folder)


@pytest.mark.slow
def test_calibrated_training_killed_10_times_ends_with_the_same_bits(monkeypatch, tmp_path):
    auto = tiny_training(precision="auto", threads="auto", images_per_validation=48)
    folder, uninterrupted = tmp_path / "killed", tmp_path / "uninterrupted"
    monkeypatch.setattr(calibration, "calibrate", partial(calibrate, uninterrupted))
    expected = train(uninterrupted, LONG, auto)
    moments, seconds = random.Random(1), seconds_of_process(tmp_path / "timed", auto)
    for _ in range(10):
        process = start_training(folder, LONG, partial(calibrate_by, folder), auto)
        time.sleep(moments.uniform(0, seconds / 3))
        process.kill()
        assert exit_code(process) in (0, -signal.SIGKILL)
    assert list(folder.glob("*/[0-9]*"))
    monkeypatch.setattr(calibration, "calibrate", partial(calibrate, folder))
    found = train(folder, LONG, auto)
    assert found.calibration["precision"] == "bfloat16"
    assert found.calibration["algorithms"] == FOUND.algorithms
    pairs = zip(tensors_in(expected.state_dict()), tensors_in(found.state_dict()), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    # The other calibration gives other bits.
    monkeypatch.setattr(calibration, "calibrate", lambda plan, training: OTHER)
    other = train(tmp_path / "other", LONG, auto)
    assert not torch.equal(other.generator.layers[1].weight, expected.generator.layers[1].weight)


def die_at_call(call):
    """Kill this process at a call of the functions that a save uses."""
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


# Each of the two saves writes tensors, syncs files and folders, renames, and removes old folders.
@pytest.mark.parametrize("call", range(1, 19))
def test_training_killed_during_a_save_ends_with_the_same_bits(uninterrupted, tmp_path, call):
    process = start_training(tmp_path, SHORT, partial(die_at_call, call))
    assert exit_code(process) == -signal.SIGKILL
    assert_same_result(tmp_path, SHORT, uninterrupted)
