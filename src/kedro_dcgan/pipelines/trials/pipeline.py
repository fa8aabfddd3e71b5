"""Images -> the trials of a sweep, in the study and the files of the sweep."""

from kedro.pipeline import Node, Pipeline

from kedro_dcgan.pipelines.trials.nodes import run_trials


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline of the trials."""
    inputs = ["images", "sweep_files", "params:sweep", "params:training"]
    return Pipeline([Node(run_trials, inputs, "sweep_trials", name="run_trials")])
