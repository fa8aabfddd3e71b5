"""Cached statistics of real images, and their comparison with generated ones.

All metrics but the Fréchet distance need all pairs of features, so their time grows with the square of the number of
images. One pass over the pairs within a set, and one over the pairs of two sets, serve all of them.

The cache has a folder for each key, with `key.json` and `reference.safetensors` or `numbers.json`. The key contains
everything that the statistics depend on: dataset, split, extractor, weights. An entry whose stored key or hash does
not match is computed again.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import JsonValue
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from kedro_dcgan.errors import DataError
from kedro_dcgan.evaluation.distances import Gaussian, KernelSums, frechet_estimate, kernel_distance, subset_distances
from kedro_dcgan.evaluation.features import Collector
from kedro_dcgan.evaluation.intervals import Estimate, proportion_estimate
from kedro_dcgan.evaluation.neighbours import Neighbourhoods, pair_blocks
from kedro_dcgan.locks import hold_lock
from kedro_dcgan.storage import atomic_folder, sha256_of
from kedro_dcgan.stored_files import Sha256, StoredModel, read_json, require_sha256, write_json

logger = logging.getLogger(__name__)

Content = TypeVar("Content")

NEIGHBOURS = 5
TENSORS, KEY, NUMBERS = "reference.safetensors", "key.json", "numbers.json"
# Seconds to wait for another process that adds an entry; after them, the entry is not stored.
_PATIENCE = 300.0
# Increase it with each change of the stored content, or of the features that it is computed from.
FORMAT = 1


@dataclass(frozen=True)
class FeatureSet:
    """Features `(N, D)` and the statistics of all pairs within the set.

    neighbours: distances to the 5 nearest neighbours, `(N, 5)`. kernel_sums: of the kernel between each image and all
    others, `(N,)`. subset_sums: of the kernel within each random subset, `(subsets,)`.
    """

    features: Tensor
    neighbours: Tensor
    kernel_sums: Tensor
    subset_sums: Tensor

    @classmethod
    def of(cls, features: Tensor, k: int = NEIGHBOURS) -> "FeatureSet":
        """Compute the statistics of more than `k` features `(N, D)`."""
        if len(features) <= k:
            raise ValueError(f"{k} neighbours need more than {k} images (got {len(features)}). Use more images.")
        neighbours, sums = [], KernelSums(len(features), len(features))
        for block in pair_blocks(features, features):
            # Leave out the pairs of each vector with itself.
            diagonal = torch.arange(len(block.distances)), torch.arange(block.rows.start, block.rows.stop)
            block.distances[diagonal], block.kernel[diagonal] = torch.inf, 0
            sums.add(block)
            neighbours.append(block.distances.topk(k, dim=1, largest=False).values)
        return cls(features, torch.cat(neighbours), sums.first, sums.subsets)


def feature_set(collected: Collector) -> FeatureSet | None:
    """Return the set of collected features; None if they are not kept, or too few to have 5 neighbours."""
    enough = collected.extract.keeps_features and collected.moments.count > NEIGHBOURS
    return FeatureSet.of(collected.features) if enough else None


class Comparison:
    """A generated set of features compared with a real one."""

    def __init__(self, generated: FeatureSet, real: FeatureSet) -> None:
        self.generated, self.real = generated, real
        radii = generated.neighbours[:, -1], real.neighbours[:, -1]
        self.neighbourhoods = Neighbourhoods(*radii, k=real.neighbours.shape[1])
        self.kernel_sums = KernelSums(len(generated.features), len(real.features))
        for block in pair_blocks(generated.features, real.features):
            self.neighbourhoods.add(block)
            self.kernel_sums.add(block)

    def estimates(self) -> dict[str, Estimate]:
        """Return `kd`, `precision`, `recall`, `density` and `coverage`."""
        distance = kernel_distance(self.generated.kernel_sums, self.real.kernel_sums, self.kernel_sums)
        return {"kd": distance, **self.neighbourhoods.estimates()}

    def subset_estimates(self) -> dict[str, Estimate]:
        """Return `kd_subsets_mean` and `kd_subsets_deviation`, as other tools report KID; nothing for few images."""
        if not len(self.kernel_sums.subsets):
            return {}
        distances = subset_distances(self.generated.subset_sums, self.real.subset_sums, self.kernel_sums)
        mean, deviation = float(distances.mean()), float(distances.std(correction=0))
        return {"kd_subsets_mean": Estimate(mean), "kd_subsets_deviation": Estimate(deviation)}

    def authenticity(self) -> Estimate:
        """Return the share of authentic generated images; the real set must be the training set.

        The others are closer to their nearest training image than that image is to its own nearest neighbour within
        the training set (Alaa et al. 2022, arXiv 2102.08921).
        """
        balls = self.neighbourhoods
        return proportion_estimate(balls.nearest_real > self.real.neighbours[balls.nearest_index, 0])


@dataclass(frozen=True)
class Reference:
    """`count` real images: the Gaussian fitted to their features, and the features if they are kept."""

    count: int
    gaussian: Gaussian
    images: FeatureSet | None

    @classmethod
    def of(cls, collected: Collector) -> "Reference":
        """Compute the statistics of collected features."""
        moments = collected.moments
        return cls(moments.count, Gaussian.of_moments(moments), feature_set(collected))

    def compare(self, generated: FeatureSet | None) -> Comparison | None:
        """Compare generated features with these; None if either side has none."""
        return Comparison(generated, self.images) if generated and self.images else None

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
        """Return the reference from its stored `tensors`."""
        names = ("features", "neighbours", "kernel_sums", "subset_sums")
        images = FeatureSet(*(parts[name] for name in names)) if "features" in parts else None
        return cls(int(parts["count"]), Gaussian(parts["mean"], parts["factor"]), images)


class StoredKey(StoredModel):
    """The content of `key.json`."""

    format: int
    sha256: Sha256
    key: dict[str, JsonValue]


@dataclass(frozen=True)
class ReferenceCache:
    """All cached reference statistics below one folder."""

    root: Path

    def reference(self, key: Mapping[str, Any], compute: Callable[[], Reference]) -> Reference:
        """Return the cached reference of a key, or compute and store it."""
        if (cached := self._load(key, TENSORS, lambda file: Reference.from_tensors(load_file(file)))) is not None:
            return cached
        reference = compute()
        tensors = {name: tensor.contiguous() for name, tensor in reference.tensors().items()}
        self._add(key, TENSORS, lambda file: file.write_bytes(save(tensors)))
        return reference

    def estimates(self, key: Mapping[str, Any], compute: Callable[[], dict[str, Estimate]]) -> dict[str, Estimate]:
        """Return the cached estimates of a key by name, or compute and store them."""
        if (cached := self._load(key, NUMBERS, lambda file: read_json(file, dict[str, Estimate], ""))) is not None:
            return cached
        estimates = compute()
        content = {name: asdict(estimate) for name, estimate in estimates.items()}
        self._add(key, NUMBERS, lambda file: write_json(file, content))
        return estimates

    def _load(self, key: Mapping[str, Any], name: str, read: Callable[[Path], Content]) -> Content | None:
        """Return the content of a file of the entry of a key; remove the entry if it is damaged."""
        entry = self._entry(key)
        if not entry.exists():
            return None
        try:
            stored = read_json(entry / KEY, StoredKey, "")
            if (stored.format, stored.key) != (FORMAT, key):
                raise ValueError("the entry is of another key")
            # Both formats bound what is read; a hash takes as long as the file is large.
            content = read(entry / name)
            require_sha256(entry / name, stored.sha256, "")
        except (DataError, SafetensorError, OSError, LookupError, TypeError, ValueError):
            logger.warning(
                "The cached reference statistics in %s are damaged or outdated. Computing them again.", entry
            )
            shutil.rmtree(entry, ignore_errors=True)
            return None
        return content

    def _add(self, key: Mapping[str, Any], name: str, write: Callable[[Path], object]) -> None:
        """Add the entry of a key, unless another process, as of a second experiment, has just added it."""
        self.root.mkdir(parents=True, exist_ok=True)
        with hold_lock(self.root / ".lock", _PATIENCE) as is_held:
            if is_held and not self._entry(key).exists():
                with atomic_folder(self._entry(key)) as folder:
                    write(folder / name)
                    write_json(folder / KEY, {"format": FORMAT, "sha256": sha256_of(folder / name), "key": dict(key)})

    def _entry(self, key: Mapping[str, Any]) -> Path:
        return self.root / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
