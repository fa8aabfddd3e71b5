"""Stages of DVC, and the copies of the project in which `dvc exp run --temp` and `--queue` run them.

DVC deletes a copy when its experiment ends. The tracking database, checkpoints and cached reference statistics must
outlive it, so they are stored in the project itself.
"""

import logging
import os
import re
import signal
import threading
import time
from pathlib import Path

import psutil

logger = logging.getLogger(__name__)

# DVC copies the whole git repository.
_COPY = re.compile(r"(.*?)/\.dvc/tmp/exps/(?:standalone/)?[^/]+(?:/(.*))?$")


def is_stage() -> bool:
    """Return whether DVC runs this process as a stage."""
    return "DVC_STAGE" in os.environ


def experiment_name() -> str | None:
    """Return the name of the experiment that this process is a stage of, or None."""
    return os.environ.get("DVC_EXP_NAME")


def in_project(path: Path) -> Path:
    """Return `path`, or its counterpart in the project if it is in a copy."""
    found = _COPY.match(path.absolute().as_posix())
    if not found:
        return path
    # `.dvc` need not be at the root of the git repository.
    dvc_root = Path(found[1])
    root = next((folder for folder in (dvc_root, *dvc_root.parents) if (folder / ".git").exists()), dvc_root)
    return root / (found[2] or "")


def is_in_copy(path: Path) -> bool:
    """Return whether `path` is in a copy of the project."""
    return in_project(path) != path


def checkpoint_folder(path: Path) -> Path:
    """Return the folder of checkpoints `path`, or in a copy the folder that the experiments of the project share.

    An experiment that was interrupted finds its checkpoints there when it is run or queued again. They are not beside
    those of the project, where an unfinished experiment would count as the last training.
    """
    return in_project(path).with_name("experiments") if is_in_copy(path) else path


def stop_with_dvc(seconds: float = 1.0) -> None:
    """Stop this process, as SIGTERM does, when the `dvc` that started it is killed and cannot stop it.

    Otherwise, it would go on writing while the next `dvc` does the same. Without an ancestor named dvc, as in an editor
    that uses DVC as a library, the parent process counts.
    """
    ancestors = psutil.Process().parents()
    # A shell may be between DVC and its stage.
    watched = next((one for one in ancestors if _is_dvc(one)), ancestors[0] if ancestors else None)
    if watched is not None:
        threading.Thread(target=_stop_after, args=(watched, seconds), name="dvc", daemon=True).start()


def _is_dvc(process: psutil.Process) -> bool:
    try:
        return any(Path(word).name == "dvc" for word in process.cmdline()[:3])
    except psutil.Error:
        return False


def _stop_after(process: psutil.Process, seconds: float) -> None:
    while _is_alive(process):
        time.sleep(seconds)
    logger.info("stopping      because DVC was killed")
    os.kill(os.getpid(), signal.SIGTERM)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
