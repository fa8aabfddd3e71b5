"""The typed parameters: one frozen model for each top-level key of `conf/*/parameters_*.yml`.

Nodes are hinted with these models, so Kedro hands them over checked. `read_parameters` checks all
of them at once and reports a fault in the user's own keys.
"""

from kedro_dcgan.config.data import CropParameters, IngestionParameters, PreprocessingParameters
from kedro_dcgan.config.loading import Parameters, flatten, read_parameters
from kedro_dcgan.config.results import EvaluationParameters, ExportParameters
from kedro_dcgan.config.training import (
    ArchitectureName,
    AugmentationName,
    DiscriminatorParameters,
    EmaParameters,
    LossName,
    NetworkParameters,
    TrainingParameters,
)

__all__ = [
    "ArchitectureName",
    "AugmentationName",
    "CropParameters",
    "DiscriminatorParameters",
    "EmaParameters",
    "EvaluationParameters",
    "ExportParameters",
    "IngestionParameters",
    "LossName",
    "NetworkParameters",
    "Parameters",
    "PreprocessingParameters",
    "TrainingParameters",
    "flatten",
    "read_parameters",
]
