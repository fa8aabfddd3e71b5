"""Datasets of a sweep: its files, and the preset that it writes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from kedro_dcgan.datasets.files import FolderDataset
from kedro_dcgan.errors import DataError
from kedro_dcgan.storage import atomic_folder, require_writable

if TYPE_CHECKING:  # It imports torch, which takes seconds.
    from kedro_dcgan.sweeps.jobs import SweepFolder


class SweepFilesDataset(FolderDataset):
    """The study of a sweep and the files of its trainings. The nodes fill it; nothing is saved through the catalog."""

    def load(self) -> "SweepFolder":
        from kedro_dcgan.sweeps.jobs import SweepFolder

        return SweepFolder(self.path)


class PresetDataset(FolderDataset):
    """Writes a preset into `conf/`, from `{"name", "note", "parameters", "always"}`.

    It has the parameters that differ from conf/base, and those of the dotted names in `always`. A preset of another
    origin is never overwritten.
    """

    MARK = "# Written by kedro run --pipelines=sweep: "

    def __init__(self, path: str | Path, metadata: dict[str, Any] | None = None) -> None:
        # Not `self.path`, which would be locked: a sweep writes only one folder of it.
        self.conf, self.metadata = Path(path), metadata

    def require_free(self, name: str) -> None:
        """Raise DataError if the preset cannot be written, or exists and a sweep has not written it."""
        require_writable(self.conf / name, self.conf)
        files = sorted((self.conf / name).glob("*"))
        if name == "local" or any(not file.is_file() or not _starts_with(file, self.MARK) for file in files):
            raise DataError(
                f"`{self.conf / name}` must be a preset that a sweep has written (it is not). Choose another name: "
                "--params sweep.preset=NAME."
            )

    def save(self, data: dict[str, Any]) -> None:
        self.require_free(data["name"])
        with atomic_folder(self.conf / data["name"]) as folder:
            for group, values in data["parameters"].items():
                file = self.conf / "base" / f"parameters_{group}.yml"
                base = yaml.safe_load(file.read_text(encoding="utf-8"))[group]
                if changed := _differences(values, base, data["always"], f"{group}."):
                    text = yaml.safe_dump({group: changed}, sort_keys=False, allow_unicode=True)
                    note = self.MARK + data["note"]
                    (folder / file.name).write_text(f"{note}\n{text}", encoding="utf-8")

    def _exists(self) -> bool:
        return False

    def _describe(self) -> dict[str, Any]:
        return {"conf": str(self.conf)}


def _differences(values: dict[str, Any], base: dict[str, Any], always: set[str], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        before = base.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := _differences(value, before, always, f"{prefix}{name}."):
                found[name] = inner
        elif value != before or f"{prefix}{name}" in always:
            found[name] = value
    return found


def _starts_with(file: Path, text: str) -> bool:
    with file.open(encoding="utf-8", errors="replace") as content:
        return content.readline().startswith(text)
