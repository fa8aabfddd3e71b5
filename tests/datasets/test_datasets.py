import json

import av
import numpy as np
import pytest
import torch
from dataset_errors import raises_dataset_error
from networks import generator_config
from PIL import Image

from kedro_dcgan.data.sources.tables import read_labels
from kedro_dcgan.datasets import (
    AnimationDataset,
    BytesDataset,
    ImageFolderDataset,
    SampleFramesDataset,
    TrainedGeneratorDataset,
    VideoDataset,
)
from kedro_dcgan.errors import ModelError
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights
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
    dataset.save((image, "") for image in images)
    assert (dataset.load() == images).all()
    assert not (tmp_path / "samples/labels.csv").exists()


def test_image_folder_names_the_class_of_each_image_as_ingestion_reads_it(tmp_path):
    names = ["cat", 'a "b", c', "Übung"]
    ImageFolderDataset(tmp_path).save((np.zeros((1, 8, 8), dtype=np.uint8), name) for name in names)
    labels = read_labels(tmp_path / "labels.csv")
    assert labels.of([f"samples/{number:05d}.png" for number in range(3)]) == names


def test_other_users_may_read_the_weights(tmp_path, trained):
    dataset = TrainedGeneratorDataset(tmp_path / "generator")
    dataset.save(trained)
    weights, config = (tmp_path / "generator" / name for name in ("generator.safetensors", "generator.json"))
    assert weights.stat().st_mode == config.stat().st_mode


def test_a_stream_of_images_is_stored_in_its_order(tmp_path, monkeypatch):
    monkeypatch.setattr("kedro_dcgan.datasets.results.ImageFolderDataset.DIGITS", 1)
    images = np.arange(12, dtype=np.uint8)[:, None, None, None]
    dataset = ImageFolderDataset(tmp_path / "samples")
    dataset.save((image, "") for image in images)
    assert (dataset.load() == images).all()


def test_bytes_are_stored_as_they_are(tmp_path):
    dataset = BytesDataset(tmp_path / "model.onnx")
    dataset.save(b"some")
    assert dataset.load() == (tmp_path / "model.onnx").read_bytes() == b"some"


def test_frames_are_those_of_the_current_training_up_to_its_images_seen(tmp_path):
    dataset = SampleFramesDataset(tmp_path)
    assert not dataset.exists()
    for training_id, images_seen in (("a", 0), ("a", 640), ("a", 1280), ("b", 0), ("a", 640)):
        grid = SampleGrid(images_seen, np.zeros((4, 4), dtype=np.uint8))
        dataset.save(SampleFrames(training_id, images_seen, [grid]))
    assert [frame.images_seen for frame in dataset.load()] == [0, 640]
    assert dataset.exists()


def pictures(*shape):
    return [np.full(shape, level, dtype=np.uint8) for level in (0, 99, 200)]


def test_animation_has_all_pictures_and_is_not_loaded(tmp_path):
    dataset = AnimationDataset(tmp_path / "progress.gif")
    dataset.save(Animation(pictures(4, 4), frames_per_second=10))
    assert Image.open(dataset.path).n_frames == 3
    with pytest.raises(Exception, match="must not be loaded"):
        dataset.load()


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
