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

# Bytes. Hashing more takes too long: then only the number of files and their total size are checked.
_MAX_HASHED = 100_000_000


def code_tags(project: Path) -> dict[str, str]:
    """Return tags with the commit of the project, whether files have changed since, and the DVC experiment."""
    commit = _git(project, "rev-parse", "HEAD")
    # Of new files, only code and configuration can change a run, not a folder of samples.
    changed = _git(project, "status", "--porcelain", "--untracked-files=no")
    changed = changed or _git(project, "ls-files", "--others", "--exclude-standard", "--", "src", "conf")
    tags = {"dvc.experiment": os.environ.get("DVC_EXP_NAME"), "git_commit": commit, "mlflow.source.git.commit": commit}
    if commit:
        # Also true under `dvc exp run`: DVC commits the changed files after the experiment.
        tags["git_dirty"] = str(bool(changed)).lower()
    return {name: text for name, text in tags.items() if text}


def _git(project: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(project), *arguments]
    try:
        return subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True, timeout=10).strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None


def dvc_hash(project: Path, path: str | Path) -> str | None:
    """Return DVC's hash of a file or folder, from `dvc add` or a stage of `dvc repro`, or None if it is out of date."""
    # Do not resolve links: DVC may have replaced the file with a link into its cache.
    project = Path(os.path.abspath(project))  # noqa: PTH100
    place = Path(os.path.abspath(project / Path(path).expanduser()))  # noqa: PTH100
    tracked = _read(place.with_name(f"{place.name}.dvc"))
    stages = _read(project / "dvc.lock").get("stages", {})
    outs = [(place.parent, out) for out in tracked.get("outs", [])]
    outs += [(project, out) for stage in stages.values() for out in stage.get("outs", []) + stage.get("deps", [])]
    of_place = (out for base, out in outs if base / out["path"] == place and "md5" in out)
    return next((out["md5"] for out in of_place if _is_current(out, place)), None)


def _is_current(out: dict[str, Any], place: Path) -> bool:
    is_folder = place.is_dir()
    try:
        files = [Path(folder, name) for folder, _, names in os.walk(place) for name in names] if is_folder else [place]
        size = sum(file.stat().st_size for file in files)
        if size != out.get("size") or (is_folder and len(files) != out.get("nfiles")):
            return False
        if size > _MAX_HASHED:
            return True
        if not is_folder:
            return bool(out["md5"] == _md5(place))
        # The algorithm of DVC 3: the MD5 of a JSON list of hashes and paths, sorted by the parts of the paths.
        parts = sorted((file.relative_to(place).parts, file) for file in files)
        listed = json.dumps([{"md5": _md5(file), "relpath": "/".join(names)} for names, file in parts], sort_keys=True)
        return bool(out["md5"] == hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest() + ".dir")
    except OSError:
        return False


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
