"""Prepared images: uint8 `(N, C, H, W)` in shards, a few large arrays for each split.

Images stay uint8 here and on disk; `pixels.to_model_range` scales a batch when it is used.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kedro_dcgan.errors import DataError


@dataclass(frozen=True)
class Shard:
    """A run of images of one split: uint8 `(N, channels, size, size)`."""

    split: str
    images: np.ndarray


@dataclass(frozen=True)
class ShardStream:
    """Shards on their way to be stored. They are made while they are read, so memory holds one at a time."""

    image_size: int
    channels: int
    digest: str
    shards: Iterator[Shard]


@dataclass(frozen=True)
class PreparedImages:
    """Stored shards, opened: for each split, arrays that share one image shape.

    `digest` names the content: equal digests mean equal images in equal splits.
    """

    image_size: int
    channels: int
    digest: str
    splits: Mapping[str, Sequence[np.ndarray]]

    def count(self, split: str) -> int:
        """Return how many images a split holds."""
        return sum(len(shard) for shard in self.splits.get(split, ()))

    def take(self, split: str, indices: np.ndarray) -> np.ndarray:
        """Return the images at `indices` (any order, repeats allowed), uint8 `(len(indices), C, H, W)`."""
        shards = self.splits[split]
        starts = np.cumsum([0, *(len(shard) for shard in shards)])
        taken = np.empty((len(indices), self.channels, self.image_size, self.image_size), dtype=np.uint8)
        owners = np.searchsorted(starts, indices, side="right") - 1
        for owner in np.unique(owners):
            mine = owners == owner
            taken[mine] = shards[owner][indices[mine] - starts[owner]]
        return taken

    def require_digest(self, digest: str) -> None:
        """Check that something was made from these very images.

        Raises:
            DataError: if its digest is another.
        """
        if digest != self.digest:
            raise DataError(
                f"the generator must have been trained on the images at hand (it was on {digest}, these are "
                f"{self.digest}). Train again: kedro run --pipelines=train."
            )

    def require(self, split: str, least: int, what: str, remedy: str) -> None:
        """Check that a split is large enough.

        Raises:
            DataError: if it holds fewer than `least` images.
        """
        count = self.count(split)
        if count < least:
            raise DataError(
                f"the {split} split must hold at least {least:,} images for {what} (got {count:,}). {remedy}"
            )


def images_per_shard(image_size: int, channels: int, megabytes: int) -> int:
    """Return how many images fill a shard of that many megabytes (10^6 bytes); at least one."""
    return max(1, megabytes * 1_000_000 // (image_size * image_size * channels))


def dataset_digest(manifest_rows: list[tuple[str, str]], transform: str) -> str:
    """Return 16 hex digits of the SHA-256 over sorted `(content hash, split)` pairs and the transform's name."""
    hasher = hashlib.sha256(transform.encode())
    for sha256, split in sorted(manifest_rows):
        hasher.update(f"\n{sha256} {split}".encode())
    return hasher.hexdigest()[:16]
