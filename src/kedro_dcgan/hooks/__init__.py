"""Kedro hooks: check and lock a run, track it in MLflow, and summarise it."""

from kedro_dcgan.hooks.checks import CheckHooks, LockHooks
from kedro_dcgan.hooks.experiments import ExperimentHooks
from kedro_dcgan.hooks.runs import TrackingHooks
from kedro_dcgan.hooks.summary import SummaryHooks
from kedro_dcgan.hooks.sweeps import SweepHooks

__all__ = ["CheckHooks", "ExperimentHooks", "LockHooks", "SummaryHooks", "SweepHooks", "TrackingHooks"]
