"""Generator and held-out images -> metrics with their protocol."""

from kedro.pipeline import Node, Pipeline

from kedro_dcgan.pipelines.evaluation.nodes import evaluate_generator


def create_pipeline(**_: object) -> Pipeline:
    """Return the evaluation pipeline."""
    return Pipeline(
        [
            Node(
                evaluate_generator,
                inputs=["generator", "images", "params:evaluation"],
                outputs="evaluation",
                name="evaluate_generator",
            ),
        ]
    )
