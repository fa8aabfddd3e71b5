"""What happens around a run: parameters are checked, MLflow is told, and the user hears where the results are."""

from kedro_dcgan.hooks.checks import CheckHooks
from kedro_dcgan.hooks.runs import TrackingHooks
from kedro_dcgan.hooks.summary import SummaryHooks

__all__ = ["CheckHooks", "SummaryHooks", "TrackingHooks"]
