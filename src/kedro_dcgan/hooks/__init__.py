"""What happens around a run: it is checked and locked, MLflow is told, and the user hears where the results are."""

from kedro_dcgan.hooks.checks import CheckHooks, LockHooks
from kedro_dcgan.hooks.runs import TrackingHooks
from kedro_dcgan.hooks.summary import SummaryHooks

__all__ = ["CheckHooks", "LockHooks", "SummaryHooks", "TrackingHooks"]
