"""Files of any kind -> shards of prepared images, and a manifest with a verdict for each file."""

from kedro.pipeline import Node, Pipeline

from kedro_dcgan.pipelines.ingestion.nodes import build_manifest, report_dataset, scan_images


def create_pipeline(**_: object) -> Pipeline:
    """Return the ingestion pipeline."""
    return Pipeline(
        [
            Node(
                scan_images,
                inputs=["raw_images", "params:ingestion", "params:preprocessing"],
                outputs="image_shards",
                name="scan_images",
            ),
            Node(
                build_manifest,
                inputs=["image_shards", "params:ingestion"],
                outputs="manifest",
                name="build_manifest",
            ),
            Node(
                report_dataset,
                inputs=["image_shards", "manifest", "params:ingestion"],
                # The page is saved last: the hook that may stop the run refers to it.
                outputs=["accepted_images", "skipped_images", "image_sizes", "dataset_report"],
                name="report_dataset",
            ),
        ]
    )
