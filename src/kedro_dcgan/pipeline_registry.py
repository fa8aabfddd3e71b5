"""The pipelines by the names that `kedro run --pipelines=` takes."""

from collections.abc import Iterator, Mapping
from importlib import import_module

from kedro.pipeline import Pipeline

_STAGES = ("ingestion", "preprocessing", "training", "evaluation", "export")
# `train` is everything that a trained generator needs, `__default__` the whole road.
_STAGES_OF = {
    **{stage: (stage,) for stage in _STAGES},
    "train": ("ingestion", "preprocessing", "training"),
    "evaluate": ("evaluation",),
    "__default__": _STAGES,
}


class _Pipelines(Mapping[str, Pipeline]):
    """Builds a pipeline when it is asked for: ingestion does without torch, which takes seconds to import."""

    def __getitem__(self, name: str) -> Pipeline:
        return sum((_create(stage) for stage in _STAGES_OF[name]), Pipeline([]))

    def __iter__(self) -> Iterator[str]:
        return iter(_STAGES_OF)

    def __len__(self) -> int:
        return len(_STAGES_OF)


def register_pipelines() -> Mapping[str, Pipeline]:
    """Return the five stages, and the names that stand for several."""
    return _Pipelines()


def _create(stage: str) -> Pipeline:
    return import_module(f"kedro_dcgan.pipelines.{stage}").create_pipeline()
