"""What the metrics know of real images: a place where it is looked up, and kept when it was not there."""

from pathlib import Path
from typing import Any, Never

from kedro.io import AbstractDataset

from kedro_dcgan.evaluation.reference_files import ReferenceFolder


class ReferenceFeaturesDataset(AbstractDataset[Never, ReferenceFolder]):
    """Loads as a folder that fills itself; nothing is saved from outside.

    Example:
        >>> import tempfile
        >>> ReferenceFeaturesDataset(path=tempfile.mkdtemp()).load().numbers({"split": "test"}, lambda: {"fd": 1.0})
        {'fd': 1.0}
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def load(self) -> ReferenceFolder:
        """Return what is there."""
        return ReferenceFolder(self.path)

    def save(self, data: Never) -> None:
        """Refuse: the folder fills itself."""
        raise NotImplementedError("references are kept when they are first asked for")

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}
