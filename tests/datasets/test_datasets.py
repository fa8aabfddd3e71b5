import json
import os
import shutil
import subprocess
import sys

import av
import numpy as np
import pandas as pd
import pytest
import torch
from dataset_errors import raises_dataset_error
from networks import generator_config
from PIL import Image

from kedro_dcgan.data.sources.tables import read_labels
from kedro_dcgan.datasets import (
    AnimationDataset,
    BytesDataset,
    HistoryDataset,
    ImageFolderDataset,
    SampleFramesDataset,
    TrainedGeneratorDataset,
    VideoDataset,
)
from kedro_dcgan.errors import DataError, ModelError
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights
from kedro_dcgan.model.synthetic_marks import SyntheticMark
from kedro_dcgan.reports.pictures import Animation, SampleFrames, SampleGrid


@pytest.fixture
def trained():
    generator = build_generator(generator_config("dcgan", 16, 1, 6, 4))
    return TrainedGenerator(generator.config, snapshot_weights(generator), "digest", 640, {"seed": 0})


def test_a_loaded_generator_generates_the_same_images(tmp_path, trained):
    dataset = TrainedGeneratorDataset(tmp_path / "generator")
    dataset.save(trained)
    loaded = dataset.load()
    latents = torch.randn(3, 6)
    assert torch.equal(loaded.build()(latents), trained.build()(latents))
    assert (loaded.config, loaded.facts, loaded.images_seen) == (trained.config, trained.facts, 640)


@pytest.mark.parametrize("damage", ["missing", "weights", "config", "format", "network"])
def test_a_damaged_generator_is_rejected_in_one_line(tmp_path, trained, damage):
    dataset = TrainedGeneratorDataset(tmp_path / "generator")
    dataset.save(trained)
    weights, config = tmp_path / "generator/generator.safetensors", tmp_path / "generator/generator.json"
    if damage == "missing":
        weights.unlink()
    elif damage == "weights":
        weights.write_bytes(weights.read_bytes()[:100])
    elif damage == "config":
        config.write_text(config.read_text()[:50])
    else:
        content = json.loads(config.read_text())
        content["format" if damage == "format" else "network"] = 99 if damage == "format" else {"image_size": 16}
        config.write_text(json.dumps(content))
    with raises_dataset_error(ModelError, "") as caught:
        dataset.load()
    assert "\n" not in str(caught.value.__cause__)


def test_weights_of_another_network_are_rejected(trained):
    other = TrainedGenerator(generator_config("dcgan", 16, 1, 6, 8), trained.weights, "digest", 0)
    with pytest.raises(ModelError, match="must fit its network"):
        other.build()


@pytest.mark.parametrize("channels", [1, 3])
def test_image_folder_keeps_colour_and_order(tmp_path, channels):
    images = np.random.default_rng(0).integers(0, 256, (12, channels, 8, 8), dtype=np.uint8)
    dataset = ImageFolderDataset(tmp_path / "samples")
    dataset.save((image, SyntheticMark()) for image in images)
    assert (dataset.load() == images).all()
    assert not (tmp_path / "samples/labels.csv").exists()


def test_image_folder_names_the_class_of_each_image_as_ingestion_reads_it(tmp_path):
    names = ["cat", 'a "b", c', "Übung"]
    ImageFolderDataset(tmp_path).save(
        (np.zeros((1, 8, 8), dtype=np.uint8), SyntheticMark(label=name)) for name in names
    )
    labels = read_labels(tmp_path / "labels.csv")
    assert labels.of([f"samples/{number:05d}.png" for number in range(3)]) == names


def test_other_users_may_read_the_weights(tmp_path, trained):
    dataset = TrainedGeneratorDataset(tmp_path / "generator")
    dataset.save(trained)
    weights, config = (tmp_path / "generator" / name for name in ("generator.safetensors", "generator.json"))
    assert weights.stat().st_mode == config.stat().st_mode


def test_a_stream_of_images_is_stored_in_its_order(tmp_path, monkeypatch):
    monkeypatch.setattr("kedro_dcgan.datasets.pictures.ImageFolderDataset.DIGITS", 1)
    images = np.arange(12, dtype=np.uint8)[:, None, None, None]
    dataset = ImageFolderDataset(tmp_path / "samples")
    dataset.save((image, SyntheticMark()) for image in images)
    assert (dataset.load() == images).all()


def test_bytes_are_stored_as_they_are(tmp_path):
    dataset = BytesDataset(tmp_path / "model.onnx")
    dataset.save(b"some")
    assert dataset.load() == (tmp_path / "model.onnx").read_bytes() == b"some"


@pytest.fixture
def frames(tmp_path):
    return SampleFramesDataset(tmp_path / "frames")


def save_frames(dataset, training_id, *seen, **options):
    grids = [SampleGrid(images_seen, np.full((4, 4), images_seen % 255, dtype=np.uint8)) for images_seen in seen]
    dataset.save(SampleFrames(training_id, seen[-1], grids, **options))


def stored(dataset):
    return {str(file.relative_to(dataset.path)) for file in dataset.path.glob("*/*")}


def test_frames_are_those_of_the_current_training_up_to_its_images_seen(frames):
    assert not frames.exists()
    for training_id, images_seen in (("a", 0), ("a", 640), ("a", 1280), ("b", 0), ("a", 640)):
        save_frames(frames, training_id, images_seen)
    assert [frame.images_seen for frame in frames.load()] == [0, 640]
    assert frames.exists()
    # Other trainings and later frames leave nothing behind.
    assert stored(frames) == {"a/000000000000.png", "a/000000000640.png"}


def test_a_resumed_training_has_its_earlier_frames_although_dvc_removed_them(frames):
    for images_seen in (0, 640, 1280):
        save_frames(frames, "a", images_seen)
    whole = frames.load()
    shutil.rmtree(frames.path)
    assert [file.stem for file in frames.earlier_files("a", 640)] == ["000000000000", "000000000640"]
    save_frames(frames, "a", 1280)
    assert all((one.picture == other.picture).all() for one, other in zip(whole, frames.load(), strict=True))


def test_a_training_that_starts_again_has_no_frames_of_the_first_start(frames):
    save_frames(frames, "a", 0, 640, 700)
    save_frames(frames, "b", 0)
    for images_seen in (0, 640, 1280):
        save_frames(frames, "a", images_seen)
    assert [frame.images_seen for frame in frames.load()] == [0, 640, 1280]


def test_frames_of_earlier_versions_are_kept_for_trainings_with_checkpoints(frames):
    save_frames(frames, "a", 0, 640)
    save_frames(frames, "c", 0, 640)
    for training_id in "ac":
        # Earlier versions stored them in one place.
        shutil.rmtree(frames.path.with_name("checkpoints") / training_id)
        save = frames.path / training_id
        save.mkdir(exist_ok=True)
        (save / "000000000000.png").write_bytes(b"")
        (save / "000000000640.png").write_bytes(b"")
    (frames.path.with_name("checkpoints") / "a/000000000640").mkdir(parents=True)
    save_frames(frames, "b", 0)
    assert len(frames.earlier_files("a", 640)) == 2
    assert frames.earlier_files("c", 640) == []


def test_a_training_without_frames_is_refused(frames):
    frames.save(SampleFrames("a", 640, []))
    with raises_dataset_error(DataError, "must hold frames"):
        frames.load()


def test_only_frames_are_removed(frames):
    save_frames(frames, "a", 0)
    for name in ("lost+found", ".snapshot", "notes"):
        (frames.path / name).mkdir()
        (frames.path / name / "some.txt").touch()
    (frames.path / "link").symlink_to(frames.path / "notes")
    save_frames(frames, "b", 0)
    assert {path.name for path in frames.path.iterdir()} >= {"lost+found", ".snapshot", "notes", "link"}
    assert not (frames.path / "a").exists()


def test_frames_of_a_training_that_cannot_resume_are_stored_once(frames):
    save_frames(frames, "a", 0, 640, may_resume=False)
    assert len(frames.load()) == 2
    assert not frames.path.with_name("checkpoints").exists()


def test_a_history_has_no_times(tmp_path):
    dataset = HistoryDataset(tmp_path / "history.csv", {"type": "pandas.CSVDataset", "save_args": {"index": False}})
    times = {"images_per_second": [2.0], "gigaflops_per_second": [3.0]}
    dataset.save(pd.DataFrame({"images_seen": [640], **times}))
    assert list(dataset.load()) == ["images_seen"]


def pictures(*shape):
    return [np.full(shape, level, dtype=np.uint8) for level in (0, 99, 200)]


def test_animation_has_all_pictures_and_is_not_loaded(tmp_path):
    dataset = AnimationDataset(tmp_path / "progress.gif")
    dataset.save(Animation(pictures(4, 4), frames_per_second=10))
    assert Image.open(dataset.path).n_frames == 3
    with pytest.raises(Exception, match="must not be loaded"):
        dataset.load()


def test_equal_pictures_give_equal_videos_on_all_machines(tmp_path):
    code = """if True:
        import os, sys
        import numpy as np
        from kedro_dcgan.datasets import VideoDataset
        from kedro_dcgan.reports.pictures import Animation, make_grid
        os.sched_setaffinity(0, set(map(int, sys.argv[2].split(","))))
        noise = np.random.default_rng(0).integers(0, 256, (4, 16, 1, 8, 8), dtype=np.uint8)
        VideoDataset(sys.argv[1]).save(Animation([make_grid(images, scale=4) for images in noise], 4.0))
    """
    cores = ",".join(map(str, os.sched_getaffinity(0)))
    # glibc fills new memory with this byte.
    for byte, used in (("0", cores), ("85", cores), ("170", cores.split(",")[0])):
        environment = {**os.environ, "MALLOC_PERTURB_": byte}
        subprocess.run([sys.executable, "-c", code, tmp_path / f"{byte}.mp4", used], env=environment, check=True)
    assert len({file.read_bytes() for file in tmp_path.glob("*.mp4")}) == 1


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (6, 8)])
def test_video_shows_the_last_picture_for_longer_and_has_even_sides(tmp_path, shape):
    dataset = VideoDataset(tmp_path / "progress.mp4")
    dataset.save(Animation(pictures(*shape), frames_per_second=2))
    with av.open(str(dataset.path)) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    # 1.5 seconds are 3 pictures more.
    assert len(frames) == 3 + 3
    assert {frame.shape for frame in frames} == {(6, 8, 3)}
    for frame, level in zip(frames, (0, 99, 200, 200, 200, 200), strict=True):
        assert np.abs(frame[1:4, 1:6].mean() - level) < 20
