"""The trials of a sweep -> the best parameters, trained with more seeds, as a generator, a preset and a page."""

from kedro.pipeline import Node, Pipeline

from kedro_dcgan.pipelines.selection.nodes import confirm_best, select_best


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline that selects the best parameters."""
    study = ["sweep_files", "params:sweep", "params:training"]
    groups = [f"params:{name}" for name in ("ingestion", "preprocessing", "evaluation", "export")]
    # The run comes first: the other results belong to it. The preset comes last, because conf/ may be read-only.
    results = ["training_run", "generator", "training_history", "sample_frames", "sweep_page", "sweep_preset"]
    return Pipeline(
        [
            Node(confirm_best, ["images", "sweep_trials", *study], "sweep_confirmations", name="confirm_best"),
            Node(select_best, ["images", "sweep_confirmations", *study, *groups], results, name="select_best"),
        ]
    )
