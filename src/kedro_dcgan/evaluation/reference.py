"""Reference statistics: the real side of an evaluation, computed once for a dataset and an extractor, and cached.

The cache has a folder for each key, with `key.json` and `reference.safetensors` or `numbers.json`. The key contains
everything that the statistics depend on: dataset, split, extractor, weights. An entry whose stored key or hash does
not match is computed again.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from kedro_dcgan.evaluation.comparison import Comparison, FeatureSet, feature_set
from kedro_dcgan.evaluation.features import Collector
from kedro_dcgan.evaluation.frechet import Gaussian, frechet_estimate
from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.storage import atomic_folder, sha256_of

logger = logging.getLogger(__name__)

TENSORS, KEY, NUMBERS = "reference.safetensors", "key.json", "numbers.json"
# Increase it with each change of the stored content, or of the features that it is computed from.
FORMAT = 1

Key = Mapping[str, Any]


@dataclass(frozen=True)
class Reference:
    """`count` real images: the Gaussian fitted to their features, and the features if they are kept."""

    count: int
    gaussian: Gaussian
    images: FeatureSet | None

    @classmethod
    def of(cls, collected: Collector) -> "Reference":
        """Compute the statistics of collected features.

        Raises:
            ValueError: if there are fewer than two images.
        """
        moments = collected.moments
        return cls(moments.count, Gaussian.of_moments(moments), feature_set(collected))

    def compare(self, generated: FeatureSet | None) -> Comparison | None:
        """Compare generated features with these; None where either side has none."""
        return Comparison.of(generated, self.images) if generated and self.images else None

    def measure(self, generated: Collector, comparison: Comparison | None) -> dict[str, Estimate]:
        """Return `fd` and, with a comparison, its other metrics by name."""
        others = comparison.estimates() if comparison else {}
        return {"fd": frechet_estimate(generated.blocks, self.gaussian), **others}

    def tensors(self) -> dict[str, Tensor]:
        """Return the content by name, as it is stored."""
        parts = {"count": torch.tensor(self.count), "mean": self.gaussian.mean, "factor": self.gaussian.factor}
        return parts | (vars(self.images) if self.images else {})

    @classmethod
    def from_tensors(cls, parts: Mapping[str, Tensor]) -> "Reference":
        """Return the reference that `tensors` describes."""
        names = ("features", "neighbours", "kernel_sums", "subset_sums")
        images = FeatureSet(*(parts[name] for name in names)) if "features" in parts else None
        return cls(int(parts["count"]), Gaussian(parts["mean"], parts["factor"]), images)


class ReferenceCache:
    """All cached reference statistics below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def reference(self, key: Key, compute: Callable[[], Reference]) -> Reference:
        """Return the cached reference of a key, or compute and store it."""

        def save(path: Path, reference: Reference) -> None:
            save_file({name: tensor.contiguous() for name, tensor in reference.tensors().items()}, path)

        return self._cached(key, TENSORS, lambda path: Reference.from_tensors(load_file(path)), save, compute)

    def numbers(self, key: Key, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the cached numbers of a key, or compute and store them."""

        def save(path: Path, numbers: dict[str, Any]) -> None:
            path.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")

        return self._cached(key, NUMBERS, lambda path: json.loads(path.read_text("utf-8")), save, compute)

    def _cached(
        self,
        key: Key,
        name: str,
        load: Callable[[Path], Any],
        save: Callable[[Path, Any], None],
        compute: Callable[[], Any],
    ) -> Any:
        entry = self.root / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        if _is_valid(entry, key, name):
            return load(entry / name)
        computed = compute()
        with atomic_folder(entry) as folder:
            save(folder / name, computed)
            (folder / KEY).write_text(json.dumps(_index(folder / name, key), indent=2) + "\n", encoding="utf-8")
        return computed


def _index(file: Path, key: Key) -> dict[str, Any]:
    return {"format": FORMAT, "sha256": sha256_of(file), "key": dict(key)}


def _is_valid(entry: Path, key: Key, name: str) -> bool:
    if not entry.exists():
        return False
    try:
        if json.loads((entry / KEY).read_text(encoding="utf-8")) == _index(entry / name, key):
            return True
    except (OSError, ValueError):
        pass
    logger.warning(
        "The cached reference statistics in %s are damaged or have another key. Computing them again.", entry
    )
    return False
