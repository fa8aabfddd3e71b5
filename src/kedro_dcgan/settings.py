"""Kedro's settings for this project."""

import getpass
import os
import sys
from pathlib import Path

# A container may run as a user without a name and a home folder. MLflow, among others, cannot be imported without them.
try:
    Path.home()
except RuntimeError:
    os.environ["HOME"] = "/nonexistent"  # Debian's home folder of users without one
try:
    getpass.getuser()
except (KeyError, OSError):
    os.environ["USER"] = f"user{os.getuid()}"

# MLflow reads these variables when it is imported. They disable telemetry, unless the user enables it, and keep
# MLflow's messages off the console.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("KEDRO_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
# onnxruntime reads its variable when it opens its first model.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# The printed URL would include a password.
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
# The uploader retries by itself (tracking/uploader.py) and first checks whether a request arrived. MLflow's own retries
# would create a second run if the response to the first request was lost.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
# Otherwise `kedro dcgan ui` starts seven workers that evaluate language models.
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")

# Arrow reads this variable when it is imported. Its default allocator does not return freed memory to the system: with
# many files, more than the live tables need.
if sys.platform == "linux":
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
    import pyarrow

    pyarrow.jemalloc_set_decay_ms(0)

from kedro.utils import find_kedro_project

from kedro_dcgan.config_loader import OneLineConfigLoader
from kedro_dcgan.console import set_up_console
from kedro_dcgan.experiments import in_project, is_stage, stop_with_dvc
from kedro_dcgan.hooks import CheckHooks, ExperimentHooks, LockHooks, SummaryHooks, SweepHooks, TrackingHooks
from kedro_dcgan.tracking.database import database_url

set_up_console()
if is_stage():
    stop_with_dvc()

_PROJECT = find_kedro_project(Path(__file__).resolve().parent) or find_kedro_project(Path.cwd()) or Path.cwd()


def _home() -> str:
    # The runs of experiments must outlive the copies of the project that they run in.
    return in_project(_PROJECT).as_posix()


def _tracking_uri() -> str:
    # A path relative to the working directory would create another database in each folder.
    return os.environ.get("MLFLOW_TRACKING_URI") or database_url(Path(_home(), "mlflow.db"))


def _artifact_location() -> str:
    # In a path, MLflow reads these characters as parts of a URL.
    location = Path(_home(), "mlartifacts")
    return location.as_uri() if any(character in str(location) for character in "%?#") else str(location)


# Kedro calls the last hook first, so a run is checked and locked before it is tracked.
HOOKS = (SummaryHooks(), TrackingHooks(), SweepHooks(), ExperimentHooks(), LockHooks(), CheckHooks())
CONFIG_LOADER_CLASS = OneLineConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # A preset and `--params` override single values; other values of the same key come from base.
    "merge_strategy": {"parameters": "soft"},
    "config_patterns": {"tracking": ["tracking*"]},
    "custom_resolvers": {
        "tracking_uri": _tracking_uri,
        # A server chooses its own artifact store.
        "artifact_location": lambda: _artifact_location() if _tracking_uri().startswith("sqlite:") else None,
        "journals": lambda: f"{_home()}/data/09_tracking",
    },
}
