"""The pipelines by the names that `kedro run --pipelines=` accepts."""

from collections.abc import Iterator, Mapping
from importlib import import_module

from kedro.pipeline import Pipeline

_STAGES = ("ingestion", "preprocessing", "training", "evaluation", "export")
# `train` runs everything up to a trained generator, `__default__` the project end to end. `sweep` searches for better
# training parameters; `trials` alone helps a sweep from another process. `explore` shows what the networks learned.
_STAGES_OF = {
    **{stage: (stage,) for stage in (*_STAGES, "trials", "selection", "explore")},
    "sweep": ("ingestion", "preprocessing", "trials", "selection", "evaluation", "export"),
    "train": ("ingestion", "preprocessing", "training"),
    "evaluate": ("evaluation",),
    "__default__": _STAGES,
}


class _LazyPipelines(Mapping[str, Pipeline]):
    """Imports and builds a pipeline on access, so that ingestion runs without torch, which takes seconds to import."""

    def __getitem__(self, name: str) -> Pipeline:
        # The stage is the namespace of its nodes: Kedro-Viz then shows one box per stage, which opens with a click.
        stages = [
            Pipeline(
                import_module(f"kedro_dcgan.pipelines.{stage}").create_pipeline(),
                namespace=stage,
                prefix_datasets_with_namespace=False,
            )
            for stage in _STAGES_OF[name]
        ]
        return sum(stages, Pipeline([]))

    def __iter__(self) -> Iterator[str]:
        return iter(_STAGES_OF)

    def __len__(self) -> int:
        return len(_STAGES_OF)


def register_pipelines() -> Mapping[str, Pipeline]:
    """Return the stages and the pipelines that combine them."""
    return _LazyPipelines()
