"""Keeps the rows of finished trainings, so that a comparison of hours can be interrupted and continued."""

import json
from collections.abc import Callable
from pathlib import Path


class KeptTrainings:
    """The finished trainings of a folder. Several processes may add to it at the same time."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "trainings.jsonl"

    def rows(self, key: list, train: Callable[[], list[dict]]) -> list[dict]:
        """Return the rows of the training that `key` (JSON values) identifies; train it if it is not kept."""
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        for kept in map(json.loads, lines):
            if kept["key"] == key:
                found: list[dict] = kept["rows"]
                return found
        rows = train()
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "rows": rows}) + "\n")
        return rows
