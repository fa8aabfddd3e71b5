"""A file as it is."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from kedro_dcgan.storage import atomic_file


class BytesDataset(AbstractDataset[bytes, bytes]):
    """Keeps bytes in a file.

    Example:
        >>> import tempfile
        >>> dataset = BytesDataset(filepath=Path(tempfile.mkdtemp()) / "model.onnx")
        >>> dataset.save(b"some")
        >>> dataset.load()
        b'some'
    """

    def __init__(self, filepath: str | Path) -> None:
        self.path = Path(filepath)

    def save(self, data: bytes) -> None:
        """Write them; the file takes its place when it is complete."""
        with atomic_file(self.path) as temporary:
            temporary.write_bytes(data)

    def load(self) -> bytes:
        """Read them."""
        return self.path.read_bytes()

    def _exists(self) -> bool:
        return self.path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path)}
