"""Files of any kind -> a manifest."""

from kedro.pipeline import Node, Pipeline

from kedro_dcgan.pipelines.ingestion.nodes import scan_images


def create_pipeline(**_: object) -> Pipeline:
    """Return the ingestion pipeline."""
    return Pipeline(
        [
            Node(
                scan_images,
                inputs=["raw_images", "params:ingestion"],
                outputs="manifest",
                name="scan_images",
            ),
        ]
    )
