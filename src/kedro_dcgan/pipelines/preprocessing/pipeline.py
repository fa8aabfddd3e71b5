"""Manifest and files -> shards of the model's image size."""

from kedro.pipeline import Node, Pipeline

from kedro_dcgan.pipelines.preprocessing.nodes import prepare_images


def create_pipeline(**_: object) -> Pipeline:
    """Return the preprocessing pipeline."""
    return Pipeline(
        [
            Node(
                prepare_images,
                inputs=["raw_images", "manifest", "params:ingestion", "params:preprocessing"],
                outputs="images",
                name="prepare_images",
            ),
        ]
    )
