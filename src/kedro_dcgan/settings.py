"""Kedro's settings for this project."""

import os
from pathlib import Path

# Nothing is sent anywhere unless the user asks for it; mlflow reads this when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("KEDRO_DISABLE_TELEMETRY", "true")

from kedro.utils import find_kedro_project

from kedro_dcgan.hooks import CheckHooks, SummaryHooks, TrackingHooks

_PROJECT = find_kedro_project(Path(__file__).resolve().parent) or find_kedro_project(Path.cwd()) or Path.cwd()


def _tracking_uri() -> str:
    # An address relative to the working directory would make a second database for each folder one works in.
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_PROJECT.as_posix()}/mlflow.db"


def _artifact_location() -> str | None:
    # A server decides for itself where artifacts lie.
    return f"{_PROJECT.as_posix()}/mlartifacts" if _tracking_uri().startswith("sqlite:") else None


HOOKS = (CheckHooks(), TrackingHooks(), SummaryHooks())
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "custom_resolvers": {"tracking_uri": _tracking_uri, "artifact_location": _artifact_location},
}
