"""Files of any kind -> shards of prepared images, and a manifest with a verdict for each file."""

from kedro.pipeline import Node, Pipeline

from kedro_dcgan.pipelines.ingestion.nodes import build_manifest, report_dataset, scan_images


def create_pipeline(**_: object) -> Pipeline:
    """Return the ingestion pipeline."""
    sources = ["raw_images", "params:ingestion", "params:preprocessing"]
    labelled = ["raw_images", "image_shards", "params:ingestion"]
    # The page is saved last: the hook that may stop the run refers to it.
    reports = ["accepted_images", "skipped_images", "image_sizes", "dataset_report"]
    return Pipeline(
        [
            Node(scan_images, sources, "image_shards", name="scan_images"),
            Node(build_manifest, labelled, "manifest", name="build_manifest"),
            Node(report_dataset, ["image_shards", "manifest", "params:ingestion"], reports, name="report_dataset"),
        ]
    )
