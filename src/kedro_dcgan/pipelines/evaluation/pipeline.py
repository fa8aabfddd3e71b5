"""Generator, test and training images -> metrics, pictures and a report."""

from kedro.pipeline import Node, Pipeline

from kedro_dcgan.pipelines.evaluation.nodes import evaluate_generator, report_evaluation, select_metrics


def create_pipeline(**_: object) -> Pipeline:
    """Return the evaluation pipeline."""
    sources = ["generator", "images", "manifest", "reference_features", "params:evaluation"]
    results = ["evaluation", "compared_samples", "nearest_images", "extreme_samples"]
    return Pipeline(
        [
            Node(evaluate_generator, sources, results, name="evaluate_generator"),
            Node(select_metrics, "evaluation", ["metrics", "class_shares"], name="select_metrics"),
            Node(report_evaluation, results, ["evaluation_page", "evaluation_table"], name="report_evaluation"),
        ]
    )
