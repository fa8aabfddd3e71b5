"""Kedro's settings for this project."""

import os
import sys
from pathlib import Path

# mlflow reads these when it is imported, so they come first. Nothing is sent anywhere unless the
# user asks for it, and the console belongs to our own lines.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("KEDRO_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
# With the password, if there is one in it.
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
# Whoever sends records tries again by itself (tracking/uploader.py), and looks first whether it arrived: MLflow would
# make a second run where the first one's answer was lost.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
# `kedro dcgan ui` would start seven workers for evaluating language models.
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")

# So does Arrow. Its usual allocator keeps memory that tables need no more: with many files, more than they need.
if sys.platform == "linux":
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
    import pyarrow

    pyarrow.jemalloc_set_decay_ms(0)

from kedro.utils import find_kedro_project

from kedro_dcgan.hooks import CheckHooks, LockHooks, SummaryHooks, TrackingHooks

_PROJECT = find_kedro_project(Path(__file__).resolve().parent) or find_kedro_project(Path.cwd()) or Path.cwd()


def _tracking_uri() -> str:
    # An address relative to the working directory would make a second database for each folder one works in.
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_home().as_posix()}/mlflow.db"


def _home() -> Path:
    # DVC runs queued experiments in a copy of the project that it throws away: what they track is to stay.
    parts = _PROJECT.parts
    inside = next((i for i in range(len(parts) - 2) if parts[i : i + 3] == (".dvc", "tmp", "exps")), None)
    return _PROJECT if inside is None else Path(*parts[:inside])


def _artifact_location() -> str | None:
    # A server decides for itself where artifacts lie.
    return f"{_home().as_posix()}/mlartifacts" if _tracking_uri().startswith("sqlite:") else None


# Kedro calls the last one first: nothing is opened before everything is checked and locked.
HOOKS = (SummaryHooks(), TrackingHooks(), LockHooks(), CheckHooks())
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # A preset, and `--params`, say only what differs: the rest of a key stays as it is in base.
    "merge_strategy": {"parameters": "soft"},
    "config_patterns": {"tracking": ["tracking*"]},
    "custom_resolvers": {
        "tracking_uri": _tracking_uri,
        "artifact_location": _artifact_location,
        "journals": lambda: f"{_home().as_posix()}/data/09_tracking",
    },
}
