"""Shards and manifest -> the dataset for training, and its card."""

from kedro.pipeline import Node, Pipeline

from kedro_dcgan.pipelines.preprocessing.nodes import prepare_images


def create_pipeline(**_: object) -> Pipeline:
    """Return the preprocessing pipeline."""
    sources = ["image_shards", "manifest", "params:ingestion", "params:preprocessing"]
    return Pipeline([Node(prepare_images, sources, ["images", "dataset_card"], name="prepare_images")])
