"""The typed parameters: one frozen pydantic model for each top-level key of `conf/*/parameters_*.yml`.

`read_parameters` validates all of them at the start of a run. Nodes annotate their parameters with these models, so
Kedro passes them typed. `python -m kedro_dcgan.config` writes their documentation.
"""

from kedro_dcgan.config.group import ParameterGroup, flatten
from kedro_dcgan.config.loading import Parameters, read_parameters
from kedro_dcgan.config.stages import (
    EvaluationParameters,
    ExportParameters,
    IngestionParameters,
    PreprocessingParameters,
)
from kedro_dcgan.config.training import (
    ArchitectureName,
    AugmentationName,
    LossName,
    NetworkParameters,
    TrainingParameters,
)

__all__ = [
    "ArchitectureName",
    "AugmentationName",
    "EvaluationParameters",
    "ExportParameters",
    "IngestionParameters",
    "LossName",
    "NetworkParameters",
    "ParameterGroup",
    "Parameters",
    "PreprocessingParameters",
    "TrainingParameters",
    "flatten",
    "read_parameters",
]
