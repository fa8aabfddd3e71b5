"""A training on a user's own folder of photos, end to end."""

import json

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_sample_images


def test_photo_folder_trains_end_to_end(empty_project, tmp_path):
    photos = tmp_path / "my photos"
    (photos / "trip").mkdir(parents=True)
    china, flower = load_sample_images().images
    positions = np.random.default_rng(0).integers(0, 200, (60, 2))
    for number, (top, left) in enumerate(positions):
        crop = Image.fromarray((china, flower)[number % 2][top : top + 200, left : left + 150 + number])
        crop.save(photos / "trip" / f"{number}.{'jpg' if number % 3 else 'png'}")
    (photos / "broken.jpg").write_bytes((photos / "trip" / "1.jpg").read_bytes()[:2000])

    parameters = f"ingestion.source={photos},preprocessing.channels=3,training.batch_size=16,evaluation.samples=20"
    # `--pipeline` is Kedro's older spelling; `train` contains all stages up to a trained generator.
    result = empty_project.kedro("run", "--pipeline=train", "--env=smoke", "--params", parameters)

    assert "61 images scanned · 60 accepted · 1 skipped (1 truncated)" in result.stdout
    manifest = pd.read_parquet(empty_project.path / "data/02_intermediate/manifest.parquet").set_index("path")
    assert manifest.loc["broken.jpg", "verdict"] == "skipped"
    assert manifest.loc["broken.jpg", "detail"]
    assert manifest.loc["trip/3.png", ["format", "label"]].tolist() == ["PNG", "trip"]
    config = json.loads((empty_project.path / "data/06_models/generator/generator.json").read_text())
    assert config["network"]["channels"] == 3
    assert not (empty_project.path / "data/01_raw/digits").exists()
