"""Statistics of real images, computed once for a dataset and an extractor and cached, and their comparison.

All metrics but the Fréchet distance need all pairs of features, so their time grows with the square of the number of
images. One pass over the pairs within a set, and one over the pairs of two sets, serve all of them.

The cache has a folder for each key, with `key.json` and `reference.safetensors` or `numbers.json`. The key contains
everything that the statistics depend on: dataset, split, extractor, weights. An entry whose stored key or hash does
not match is computed again.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from kedro_dcgan.evaluation.distances import Gaussian, KernelSums, frechet_estimate, kernel_distance, subset_distances
from kedro_dcgan.evaluation.features import Collector
from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.neighbours import Neighbourhoods, pair_blocks
from kedro_dcgan.storage import atomic_folder, sha256_of

logger = logging.getLogger(__name__)

NEIGHBOURS = 5
TENSORS, KEY, NUMBERS = "reference.safetensors", "key.json", "numbers.json"
# Increase it with each change of the stored content, or of the features that it is computed from.
FORMAT = 1


@dataclass(frozen=True)
class FeatureSet:
    """Features `(N, D)` and what depends on them alone.

    neighbours: distances to the 5 nearest neighbours, `(N, 5)`. kernel_sums: of the kernel between each image and all
    others, `(N,)`. subset_sums: of the kernel within each random subset, `(subsets,)`.
    """

    features: Tensor
    neighbours: Tensor
    kernel_sums: Tensor
    subset_sums: Tensor

    @classmethod
    def of(cls, features: Tensor, k: int = NEIGHBOURS) -> "FeatureSet":
        """Compute the statistics of features `(N, D)`.

        Raises:
            ValueError: if there are not more than `k` vectors.
        """
        if len(features) <= k:
            raise ValueError(f"{k} neighbours need more than {k} images (got {len(features)}). Use more images.")
        neighbours, sums = [], KernelSums(len(features), len(features))
        for block in pair_blocks(features, features):
            sums.add(block, leave_out=block.diagonal())
            distances = block.distances()
            distances[block.diagonal()] = torch.inf
            neighbours.append(distances.topk(k, dim=1, largest=False).values)
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
        distances = subset_distances(self.generated.subset_sums, self.real.subset_sums, self.kernel_sums)
        if not len(distances):
            return {}
        values = {"mean": distances.mean(), "deviation": distances.std(correction=0)}
        return {f"kd_subsets_{name}": Estimate(float(value)) for name, value in values.items()}

    def authenticity(self) -> Estimate:
        """Return the share of generated images that are not near-copies; the real set must be the training set."""
        return self.neighbourhoods.authenticity(self.real.neighbours[:, 0])


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
        """Return the reference that `tensors` describes."""
        names = ("features", "neighbours", "kernel_sums", "subset_sums")
        images = FeatureSet(*(parts[name] for name in names)) if "features" in parts else None
        return cls(int(parts["count"]), Gaussian(parts["mean"], parts["factor"]), images)


@dataclass(frozen=True)
class ReferenceCache:
    """All cached reference statistics below one folder."""

    root: Path

    def reference(self, key: Mapping[str, Any], compute: Callable[[], Reference]) -> Reference:
        """Return the cached reference of a key, or compute and store it."""

        def save(path: Path, reference: Reference) -> None:
            save_file({name: tensor.contiguous() for name, tensor in reference.tensors().items()}, path)

        return self._cached(key, TENSORS, lambda path: Reference.from_tensors(load_file(path)), save, compute)

    def estimates(self, key: Mapping[str, Any], compute: Callable[[], dict[str, Estimate]]) -> dict[str, Estimate]:
        """Return the cached estimates of a key by name, or compute and store them."""

        def load(path: Path) -> dict[str, Estimate]:
            return {name: Estimate(**stored) for name, stored in json.loads(path.read_text("utf-8")).items()}

        def save(path: Path, estimates: dict[str, Estimate]) -> None:
            _write_json(path, {name: asdict(estimate) for name, estimate in estimates.items()})

        return self._cached(key, NUMBERS, load, save, compute)

    def _cached(
        self,
        key: Mapping[str, Any],
        name: str,
        load: Callable[[Path], Any],
        save: Callable[[Path, Any], None],
        compute: Callable[[], Any],
    ) -> Any:
        def index(file: Path) -> dict[str, Any]:
            return {"format": FORMAT, "sha256": sha256_of(file), "key": dict(key)}

        # Load an entry with this key and an undamaged file.
        entry = self.root / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        if entry.exists():
            is_valid = False
            with suppress(OSError, ValueError):
                is_valid = json.loads((entry / KEY).read_text("utf-8")) == index(entry / name)
            if is_valid:
                return load(entry / name)
            logger.warning(
                "The cached reference statistics in %s are damaged or have another key. Computing them again.", entry
            )

        # Replace it, or add it.
        computed = compute()
        with atomic_folder(entry) as folder:
            save(folder / name, computed)
            _write_json(folder / KEY, index(folder / name))
        return computed


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
