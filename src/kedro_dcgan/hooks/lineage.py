"""What DVC knows of the data of this project: read from its small files, without a call of DVC."""

import os
from pathlib import Path
from typing import Any

import yaml


def dvc_hash(project: Path, path: str | Path) -> str | None:
    """Return DVC's hash of a file or folder, from `dvc add` or from a stage of `dvc repro`; nothing if it has none."""
    # Links stay as they are: DVC may have put one into its cache in the place of the file.
    project = Path(os.path.abspath(project))  # noqa: PTH100
    place = Path(os.path.abspath(project / Path(path).expanduser()))  # noqa: PTH100
    tracked = _read(place.with_name(f"{place.name}.dvc"))
    stages = _read(project / "dvc.lock").get("stages", {})
    outs = [(place.parent, out) for out in tracked.get("outs", [])]
    outs += [(project, out) for stage in stages.values() for out in stage.get("outs", []) + stage.get("deps", [])]
    return next((out["md5"] for base, out in outs if base / out["path"] == place and "md5" in out), None)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
