"""The origin of a run: the commit of its code, and DVC's hashes of its data.

DVC's own files (`*.dvc`, `dvc.lock`) are read directly, without importing DVC.
"""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from kedro_dcgan.experiments import experiment_name

# Bytes. Hashing more takes too long: then only the number of files and their total size are checked.
_MAX_HASHED = 100_000_000
_MAX_DVC_BYTES = 1_000_000


class DvcOut(BaseModel):
    """A file or folder that DVC tracks; it ignores other keys, as all models of its files do."""

    path: str
    md5: str | None = None
    size: int | None = None
    nfiles: int | None = None


class DvcStage(BaseModel):
    """A stage in `dvc.lock`."""

    outs: list[DvcOut] = []
    deps: list[DvcOut] = []


class DvcFile(BaseModel):
    """A file `*.dvc`, which has `outs`, or `dvc.lock`, which has `stages`."""

    outs: list[DvcOut] = []
    stages: dict[str, DvcStage] = {}


def code_tags(project: Path) -> dict[str, str]:
    """Return tags with the commit of the project, whether files have changed since, and the DVC experiment."""
    commit = _git(project, "rev-parse", "HEAD")
    # Of new files, only code and configuration can change a run, not a folder of samples.
    changed = _git(project, "status", "--porcelain", "--untracked-files=no")
    changed = changed or _git(project, "ls-files", "--others", "--exclude-standard", "--", "src", "conf")
    tags = {"dvc.experiment": experiment_name(), "git_commit": commit, "mlflow.source.git.commit": commit}
    if commit:
        # Also true under `dvc exp run`: DVC commits the changed files after the experiment.
        tags["git_dirty"] = str(bool(changed)).lower()
    return {name: text for name, text in tags.items() if text}


def _git(project: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(project), *arguments]
    options: dict[str, Any] = {"stderr": subprocess.DEVNULL, "encoding": "utf-8", "errors": "replace", "timeout": 10}
    try:
        return subprocess.check_output(command, **options).strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None


def dvc_hash(project: Path, path: str | Path) -> str | None:
    """Return DVC's hash of a file or folder, from `dvc add` or a stage of `dvc repro`, or None if it is out of date."""
    # Do not resolve links: DVC may have replaced the file with a link into its cache.
    project = Path(os.path.abspath(project))  # noqa: PTH100
    place = Path(os.path.abspath(project / Path(path).expanduser()))  # noqa: PTH100
    tracked, locked = _read(place.with_name(f"{place.name}.dvc")), _read(project / "dvc.lock")
    outs = [(place.parent, out) for out in tracked.outs]
    outs += [(project, out) for stage in locked.stages.values() for out in stage.outs + stage.deps]
    of_place = (out for base, out in outs if base / out.path == place and out.md5)
    return next((out.md5 for out in of_place if _is_current(out, place)), None)


def _is_current(out: DvcOut, place: Path) -> bool:
    is_folder = place.is_dir()
    try:
        files = [Path(folder, name) for folder, _, names in os.walk(place) for name in names] if is_folder else [place]
        size = sum(file.stat().st_size for file in files)
        if size != out.size or (is_folder and len(files) != out.nfiles):
            return False
        if size > _MAX_HASHED:
            return True
        if not is_folder:
            return out.md5 == _md5(place)
        # The algorithm of DVC 3: the MD5 of a JSON list of hashes and paths, sorted by the parts of the paths.
        parts = sorted((file.relative_to(place).parts, file) for file in files)
        listed = json.dumps([{"md5": _md5(file), "relpath": "/".join(names)} for names, file in parts], sort_keys=True)
        return out.md5 == hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest() + ".dir"
    except OSError:
        return False


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _read(file: Path) -> DvcFile:
    """Read a file of DVC; one that is missing or damaged tracks nothing."""
    try:
        if file.is_file() and file.stat().st_size <= _MAX_DVC_BYTES:
            return DvcFile.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        # (A ValidationError is a ValueError.)
        pass
    return DvcFile()
