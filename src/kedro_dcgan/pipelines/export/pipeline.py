"""Generator, training history and metrics -> samples, pictures and exported models."""

from kedro.pipeline import Node, Pipeline

from kedro_dcgan.pipelines.export.nodes import (
    draw_training_curves,
    export_generator,
    export_progress,
    export_runtimes,
    export_samples,
)


def create_pipeline(**_: object) -> Pipeline:
    """Return the export pipeline."""
    return Pipeline(
        [
            Node(
                export_samples,
                inputs=["generator", "params:export"],
                outputs=["samples", "sample_grid"],
                name="export_samples",
            ),
            Node(
                export_progress,
                inputs=["sample_frames", "params:export"],
                outputs=["progress", "progress_video"],
                name="export_progress",
            ),
            Node(
                draw_training_curves,
                inputs="training_history",
                outputs="training_curves",
                name="draw_training_curves",
            ),
            Node(
                export_generator,
                inputs=["generator", "evaluation"],
                outputs="exported_generator",
                name="export_generator",
            ),
            Node(
                export_runtimes,
                inputs="generator",
                outputs=["onnx_generator", "exported_program"],
                name="export_runtimes",
            ),
        ]
    )
