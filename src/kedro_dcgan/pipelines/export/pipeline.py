"""Generator, training history and metrics -> samples, pictures and exported models."""

from kedro.pipeline import Node, Pipeline

from kedro_dcgan.pipelines.export import nodes


def create_pipeline(**_: object) -> Pipeline:
    """Return the export pipeline."""
    samples, progress = ["samples", "sample_grid"], ["progress", "progress_video"]
    curves = ["training_curves", "curve_values", "validation_distances"]
    return Pipeline(
        [
            Node(nodes.export_samples, ["generator", "params:export"], samples, name="export_samples"),
            Node(nodes.export_progress, ["sample_frames", "params:export"], progress, name="export_progress"),
            Node(nodes.draw_training_curves, "training_history", curves, name="draw_training_curves"),
            Node(nodes.export_generator, ["generator", "evaluation"], "exported_generator", name="export_generator"),
            Node(nodes.export_runtimes, "generator", ["onnx_generator", "exported_program"], name="export_runtimes"),
        ]
    )
