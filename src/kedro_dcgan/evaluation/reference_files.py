"""What was found out about real images, on disk: a folder for each key, with `reference.safetensors` and `key.json`.

The key is the whole of what it depends on: dataset, split, extractor, weights. It stands in the file, too, and
what does not carry the key that is asked for is made anew and not used.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro_dcgan.storage import atomic_folder, sha256_of

if TYPE_CHECKING:
    # Every command makes the dataset of these, and most do without torch, which takes seconds to import.
    from kedro_dcgan.evaluation.reference import Reference

logger = logging.getLogger(__name__)

TENSORS, KEY, NUMBERS = "reference.safetensors", "key.json", "numbers.json"
# Raise it with a change of what is stored, or of the features that it is made of.
FORMAT = 1

Key = Mapping[str, Any]


class ReferenceFolder:
    """All references below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def reference(self, key: Key, make: "Callable[[], Reference]") -> "Reference":
        """Return the stored reference of a key, or make and store it."""
        from safetensors.torch import load_file, save_file

        from kedro_dcgan.evaluation.reference import Reference

        def save(path: Path, made: "Reference") -> None:
            save_file({name: tensor.contiguous() for name, tensor in made.tensors().items()}, path)

        return self._stored_or_made(key, TENSORS, lambda path: Reference.from_tensors(load_file(path)), save, make)

    def numbers(self, key: Key, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the stored numbers of a key, or make and store them."""

        def save(path: Path, made: dict[str, Any]) -> None:
            path.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")

        return self._stored_or_made(key, NUMBERS, lambda path: json.loads(path.read_text("utf-8")), save, make)

    def _stored_or_made(
        self,
        key: Key,
        name: str,
        load: Callable[[Path], Any],
        save: Callable[[Path, Any], None],
        make: Callable[[], Any],
    ) -> Any:
        place = self.root / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        if self._holds(place, key, name):
            return load(place / name)
        made = make()
        with atomic_folder(place) as folder:
            save(folder / name, made)
            content = {"format": FORMAT, "sha256": sha256_of(folder / name), "key": dict(key)}
            (folder / KEY).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return made

    def _holds(self, place: Path, key: Key, name: str) -> bool:
        if not place.exists():
            return False
        try:
            stored = json.loads((place / KEY).read_text(encoding="utf-8"))
            expected = {"format": FORMAT, "sha256": sha256_of(place / name), "key": dict(key)}
        except (OSError, ValueError):
            stored, expected = None, {}
        if stored != expected:
            logger.warning("The reference statistics %s are damaged or of something else: made anew.", place)
        return stored == expected
