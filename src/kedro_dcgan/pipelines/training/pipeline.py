"""Shards -> a generator, its history and its samples over time, saved at each tick."""

from kedro.pipeline import Node, Pipeline

from kedro_dcgan.pipelines.training.nodes import train_generator


def create_pipeline(**_: object) -> Pipeline:
    """Return the training pipeline."""
    return Pipeline(
        [
            Node(
                train_generator,
                inputs=["images", "resume_checkpoint", "params:training"],
                # The checkpoint comes last: what it says was done has been saved.
                outputs=["generator", "training_history", "sample_frames", "checkpoint"],
                name="train_generator",
            ),
        ]
    )
