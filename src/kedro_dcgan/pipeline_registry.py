"""The pipelines by the names that `kedro run --pipelines=` takes."""

from kedro.pipeline import Pipeline

from kedro_dcgan.pipelines import evaluation, export, ingestion, preprocessing, training


def register_pipelines() -> dict[str, Pipeline]:
    """Return the five stages, and the names that stand for several.

    `train` is everything that a trained generator needs, `__default__` the whole road.
    """
    stages = {
        "ingestion": ingestion.create_pipeline(),
        "preprocessing": preprocessing.create_pipeline(),
        "training": training.create_pipeline(),
        "evaluation": evaluation.create_pipeline(),
        "export": export.create_pipeline(),
    }
    return {
        **stages,
        "train": stages["ingestion"] + stages["preprocessing"] + stages["training"],
        "evaluate": stages["evaluation"],
        "__default__": sum(stages.values(), Pipeline([])),
    }
