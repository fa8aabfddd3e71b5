"""The licence and the web page of the images travel into the facts of a generator, and may change in a training."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from recipes import tiny_training

from kedro_dcgan.data.origin import Origin
from kedro_dcgan.data.shards import PreparedImages, StoredShard
from kedro_dcgan.datasets import TrainedGeneratorDataset
from kedro_dcgan.pipelines.export.nodes import export_generator
from kedro_dcgan.pipelines.training.nodes import start_training, train_generator
from kedro_dcgan.training.checkpoints import CheckpointFolder

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 1, 16, 16), dtype=np.uint8)
IMAGES = PreparedImages(16, 1, "digest", [StoredShard("0", "", PIXELS)], {"train": np.arange(64)}, "photos/cats")
PARAMETERS = tiny_training(epochs=1, threads=1, compile=False)
ORIGIN = {"data_licence": "CC0-1.0", "data_url": "https://photos.org/"}


def train(folder, origin, ticks=None):
    """Train for some ticks, or to the end; return the start and the last generator."""
    images, generators = replace(IMAGES, origin=origin), []
    start = start_training(images, folder, PARAMETERS)
    for generator, *_, checkpoints in islice(train_generator(images, folder, start), ticks):
        generators.append(generator)
        for checkpoint in checkpoints:
            folder.save(checkpoint)
    return start, generators[-1]


@pytest.mark.parametrize("ticks", [3, None], ids=["stopped", "finished"])
def test_training_resumes_with_another_licence(tmp_path, ticks):
    folder = CheckpointFolder(tmp_path)
    first, unknown = train(folder, Origin(), ticks)
    assert not ORIGIN.keys() & unknown.facts.keys()
    second, known = train(folder, Origin(*ORIGIN.values()))
    assert second.resume_from.images_seen == (32 if ticks else 64)
    assert second.plan.fingerprint == first.plan.fingerprint
    assert ORIGIN.items() <= known.facts.items()
    assert known.facts["dataset"] == "cats"


def test_exported_generator_has_the_known_facts(tmp_path, caplog):
    caplog.set_level("INFO", "kedro_dcgan")
    _, trained = train(CheckpointFolder(tmp_path / "checkpoints"), Origin(url=ORIGIN["data_url"]))
    evaluation = {"generator": trained.fingerprint(), "primary_metric": "fd", "metrics": {}, "numbers": []}
    evaluation |= {"protocols": [{}], "verdict": "good", "training": "healthy", "advice": "", "fault": None}
    dataset = TrainedGeneratorDataset(tmp_path / "exported")
    dataset.save(export_generator(trained, evaluation))
    stored = dataset.load().facts
    assert stored["data_url"] == ORIGIN["data_url"]
    assert "data_licence" not in stored
    # The user can set it, unlike a reader of the card.
    assert caplog.text.count("ingestion.licence") == 1
    caplog.clear()
    export_generator(replace(trained, facts={**trained.facts, **ORIGIN}), evaluation)
    assert "ingestion.licence" not in caplog.text
