"""Shards -> a generator, its history and its samples over time, saved at each tick."""

from kedro.pipeline import Node, Pipeline

from kedro_dcgan.pipelines.training.nodes import start_training, train_generator


def create_pipeline(**_: object) -> Pipeline:
    """Return the training pipeline."""
    sources = ["images", "resume_checkpoint", "params:training"]
    start = ["images", "resume_checkpoint", "training_start"]
    # The checkpoint is saved last, after the results that belong to it.
    results = ["generator", "training_run", "training_history", "sample_frames", "checkpoint"]
    return Pipeline(
        [
            Node(start_training, sources, "training_start", name="start_training"),
            Node(train_generator, start, results, name="train_generator"),
        ]
    )
