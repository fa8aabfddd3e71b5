"""Training in several processes, started by PyTorch's launcher or by the user's own torchrun."""

import signal
import subprocess
import sys
from itertools import chain

import numpy as np
import psutil
import pytest
from recipes import tiny_training

from kedro_dcgan.data.shard_files import ShardsIndex
from kedro_dcgan.data.shards import PreparedImages, ShardEntry, StoredShard
from kedro_dcgan.data.transforms import Crop, Preparation
from kedro_dcgan.datasets import PreparedImagesDataset
from kedro_dcgan.errors import TrainingError
from kedro_dcgan.pipelines.training.nodes import start_training
from kedro_dcgan.storage import sha256_of
from kedro_dcgan.stored_files import write_json
from kedro_dcgan.training.checkpoints import Checkpoint, CheckpointFolder, CheckpointHeader
from kedro_dcgan.training.distributed.launcher import LOG
from kedro_dcgan.training.distributed.multi_process import train_in_processes
from kedro_dcgan.training.in_process import train_in_process

pytestmark = pytest.mark.slow

STEPS = 12
LONG = {"kimg": 800, "images_per_tick": 80, "images_per_checkpoint": 80}


def recipe(**changes):
    changes = {"kimg": 8 * STEPS / 1000, "ema__half_life": 100, "discriminator__dropout": 0.3, **changes}
    return tiny_training(**{"images_per_validation": 32, "validation_samples": 8, **changes})


@pytest.fixture
def images(tmp_path):
    """Prepared images on disk, in the format of preprocessing."""
    shards = tmp_path / "shards"
    shards.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (80, 1, 16, 16), dtype=np.uint8)
    np.save(shards / "00000.npy", pixels)
    entry = {"file": "00000.npy", "sha256": sha256_of(shards / "00000.npy")}
    records = {"records": "00000.parquet", "records_sha256": "0" * 64}
    preparation = Preparation(16, 1, "bicubic", Crop(), (0, 0, 0), 1, 10**6, 10**6)
    index = ShardsIndex(
        source="here",
        preparation=preparation,
        inputs_per_shard=80,
        shards=(ShardEntry(**entry, **records, count=80),),
    )
    write_json(shards / "index.json", index.model_dump())
    rows = {"train": np.arange(64), "validation": np.arange(64, 80)}
    dataset = PreparedImagesDataset(tmp_path / "images", "shards")
    dataset.save(PreparedImages(16, 1, "digest", [StoredShard(**entry, images=pixels)], rows))
    return dataset.load()


@pytest.fixture
def stored(tmp_path):
    return CheckpointFolder(tmp_path / "checkpoints")


def train_in_one_process(images, stored, training):
    start = start_training(images, stored, training)
    with train_in_process(images, stored, start, lambda: False, lambda batches, done: batches) as run:
        return run.begin, list(run.ticks)


def train_in_several_processes(
    images, stored, training, is_asked_to_stop=lambda: False, show_progress=lambda seen: None
):
    """Train and save checkpoints like the node does."""
    start, ticks = start_training(images, stored, training), []
    plan = start.plan
    with train_in_processes(images, stored, start, is_asked_to_stop, show_progress) as run:
        for tick in run.ticks:
            ticks.append(tick)
            if tick.checkpoint:
                header = CheckpointHeader(
                    plan.training_id, tick.images_seen, plan.total_images, False, plan.fingerprint
                )
                stored.save(Checkpoint(header, tick.checkpoint, keep=2))
    return run.begin, ticks


def assert_ticks_close(ones, others):
    """Check that ticks are equal, up to the order of summation."""
    assert [tick.images_seen for tick in ones] == [tick.images_seen for tick in others]
    assert [tick.checkpoint is not None for tick in ones] == [tick.checkpoint is not None for tick in others]
    for one, other in zip(ones, others, strict=True):
        assert np.abs(one.samples.numpy().astype(int) - other.samples.numpy()).max() <= 2
        for name in ("discriminator_loss", "generator_loss", "real_accuracy", "validation"):
            values = [getattr(tick.record, name) for tick in (one, other) if tick.record]
            assert len(set(values)) < 2 or values[0] == pytest.approx(values[1], rel=2e-2), name
        assert list(one.kept.weights) == list(other.kept.weights)


def ranks():
    """Return the running ranks among the children of this process."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "kedro_dcgan.training.distributed.worker" in value_or_empty(child.cmdline)]


def addresses():
    """Return the IP addresses on which this process and its children listen."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    connections = chain.from_iterable(value_or_empty(process.net_connections, "inet") for process in processes)
    return {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}


def value_or_empty(read, *arguments):
    """Return a property of a process, or an empty list if the process has just ended."""
    try:
        return read(*arguments)
    except psutil.Error:
        return []


def test_two_processes_train_the_same_as_one_and_listen_only_on_localhost(images, stored, tmp_path):
    listening, progress = set(), []

    def record(seen):
        progress.append(seen)
        listening.update(addresses())

    begin, ticks = train_in_several_processes(images, stored, recipe(devices=2), show_progress=record)
    assert begin == 0
    assert_ticks_close(ticks, train_in_one_process(images, CheckpointFolder(tmp_path / "other"), recipe())[1])
    assert listening == {"127.0.0.1"}
    assert 0 < max(progress) <= 8 * STEPS
    assert not (tmp_path / "ranks").exists()


def test_all_ranks_stop_when_the_patience_is_exhausted(images, stored):
    training = recipe(devices=2, kimg=80, images_per_tick=8, images_per_validation=8, patience=1)
    _, ticks = train_in_several_processes(images, stored, training)
    assert [tick.ends_early for tick in ticks[-2:]] == [False, True]
    assert train_in_several_processes(images, stored, training)[0] == ticks[-1].images_seen


def test_all_ranks_stop_when_their_time_is_over(images, stored):
    training = recipe(devices=2, kimg=8000, images_per_tick=80_000, minutes=0.1)
    _, ticks = train_in_several_processes(images, stored, training)
    assert [tick.ends_early for tick in ticks[-2:]] == [False, True]
    assert ticks[-1].seconds >= 6
    assert train_in_several_processes(images, stored, training)[0] == ticks[-1].images_seen


def test_dead_rank_ends_training_in_one_line_and_training_resumes(images, stored, tmp_path):
    killed = []

    def kill_second(seen):
        if seen > 160 and not killed:
            killed.append(ranks()[-1])
            killed[0].kill()

    training = recipe(devices=2, **LONG)
    with pytest.raises(TrainingError, match=r"`training.devices` 2 .*rank .*SIGKILL"):
        train_in_several_processes(images, stored, training, show_progress=kill_second)
    assert "exitcode: -9" in (tmp_path / "ranks" / LOG).read_text()
    assert not ranks()

    # An error of the first rank reads like that of a single process.
    with pytest.raises(TrainingError, match=r"training.seed was 0, is 1"):
        train_in_several_processes(images, stored, recipe(devices=2, seed=1, **LONG))

    # It resumes under torchrun, and a stop request ends it with a checkpoint.
    asked = []
    begin, ticks = train_in_several_processes(
        images, stored, recipe(**LONG, devices="external"), lambda: bool(asked), in_torchrun(tmp_path, asked)
    )
    assert begin >= 80
    assert begin % 80 == 0
    assert ticks[-1].images_seen < 800_000
    assert ticks[-1].checkpoint["images_seen"] == ticks[-1].images_seen


def in_torchrun(tmp_path, asked):
    """Return a callback that starts torchrun, and requests a stop at the first progress."""
    started = []

    def follow(seen):
        if not started:
            file = tmp_path / "ranks/training.json"
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
            started.append(subprocess.Popen([*command, "-m", "kedro_dcgan.training.distributed.worker", str(file)]))
        if seen:
            asked.append(seen)

    return follow


def test_ranks_end_if_their_parent_is_killed(images, tmp_path):
    program = f"""
from pathlib import Path
from kedro_dcgan.training.checkpoints import CheckpointFolder
from kedro_dcgan.training.distributed.multi_process import train_in_processes
from kedro_dcgan.pipelines.training.nodes import start_training
from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shard_files import read_prepared_images
training = TrainingParameters.model_validate({recipe(devices=2, **LONG).model_dump(mode="json")!r})
images = read_prepared_images(Path({images.place[0]!r}), Path({images.place[1]!r}))
stored = CheckpointFolder(Path({str(tmp_path / "checkpoints")!r}))
start = start_training(images, stored, training)
with train_in_processes(images, stored, start, lambda: False, lambda seen: None) as run:
    print(next(run.ticks).images_seen, flush=True)
    list(run.ticks)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout.readline() == b"0\n"
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) == 3
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    parent.stdout.close()
