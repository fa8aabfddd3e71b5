"""Shards: large uint8 arrays `(N, C, H, W)` of prepared images, and which of their rows are in which split.

Images stay uint8 here, on disk and on their way to the device; `pixels.to_model_range` scales a batch
when it is used.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from kedro_dcgan.data.manifest import SPLITS
from kedro_dcgan.data.scan import Block, Preparation, ScannedBlock
from kedro_dcgan.data.verdicts import ACCEPTED
from kedro_dcgan.errors import DataError

_BLOCK_BYTES, _BLOCK_IMAGES = 2_000_000, 64


@dataclass(frozen=True)
class Scan:
    """Images on their way to be stored: they are read and prepared while the result is iterated over.

    `source` is what the user calls their source. Each shard is made of `inputs_per_shard` inputs.
    `count` is how many inputs there are, if known.
    """

    source: str
    preparation: Preparation
    inputs_per_shard: int
    count: int | None
    blocks: Callable[[], Iterator[Block]]
    run: Callable[[Iterable[Block], int], Iterator[ScannedBlock]]

    def after(self, finished: Sequence[str]) -> tuple[int, Iterator[ScannedBlock]]:
        """Go on after shards that are there already; return how many of them still hold, and what is left to do.

        `finished` are the fingerprints of shards 0, 1, 2, ...: one holds if none of its inputs has changed.
        """
        holding = 0
        if finished:
            for fingerprint, stored in zip(self._fingerprints(), finished, strict=False):
                if fingerprint != stored:
                    break
                holding += 1
        done = holding * self.inputs_per_shard
        return holding, self.run(_skip(self.blocks(), done), done)

    def _fingerprints(self) -> Iterator[str]:
        in_shard, seen = [], 0
        for block in self.blocks():
            in_shard.append(block.fingerprint())
            seen += len(block.paths)
            if seen == self.inputs_per_shard:
                yield join_fingerprints(in_shard)
                in_shard, seen = [], 0
        if in_shard:
            yield join_fingerprints(in_shard)


@dataclass(frozen=True)
class StoredShard:
    """A shard in its place: file name, hash, and its rows, uint8 `(N, C, H, W)`."""

    file: str
    sha256: str
    images: np.ndarray


@dataclass(frozen=True)
class ImageShards:
    """All shards of a scan, and a record for each input (columns of `ImageRecord`; `row` counts over all shards)."""

    source: str
    preparation: Preparation
    shards: Sequence[StoredShard]
    read_records: Callable[[Sequence[str] | None], pd.DataFrame]

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Return images by row number, uint8 `(len(numbers), C, H, W)`."""
        return gather([shard.images for shard in self.shards], numbers)


@dataclass(frozen=True)
class PreparedImages:
    """The dataset: for each split, which rows of the shards, in the order of the content hashes.

    `digest` names the content: equal digests mean equal images in equal splits and order, from
    whatever files in whatever folders. `source` is what the user called the source of these, `place` from where
    another process can read them (`prepared_files.read_prepared_images`).
    """

    image_size: int
    channels: int
    digest: str
    shards: Sequence[StoredShard]
    rows: Mapping[str, np.ndarray]
    source: str = ""
    place: tuple[str, str] | None = None

    def count(self, split: str) -> int:
        """Return how many images a split holds."""
        return len(self.rows.get(split, ()))

    def take(self, split: str, indices: np.ndarray) -> np.ndarray:
        """Return the images at `indices` (any order, repeats allowed), uint8 `(len(indices), C, H, W)`."""
        return gather(self._arrays, self.rows[split][indices])

    @cached_property
    def _arrays(self) -> list[np.ndarray]:
        return [shard.images for shard in self.shards]

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


def select(shards: ImageShards, manifest: pd.DataFrame, transform: str) -> PreparedImages:
    """Return the accepted images of a manifest, as a dataset whose digest includes the name of the transform."""
    accepted = manifest[manifest["verdict"] == ACCEPTED].sort_values("sha256")
    rows = {split: accepted.loc[accepted["split"] == split, "row"].to_numpy(dtype=np.int64) for split in SPLITS}
    boxes = accepted["box"].fillna("")
    digest = dataset_digest(zip(accepted["sha256"], accepted["split"], boxes, strict=True), transform)
    preparation = shards.preparation
    return PreparedImages(preparation.image_size, preparation.channels, digest, shards.shards, rows, shards.source)


def gather(shards: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return rows of several arrays, numbered on from one to the next."""
    starts = np.cumsum([0, *(len(shard) for shard in shards)])
    taken = np.empty((len(rows), *shards[0].shape[1:]), dtype=np.uint8)
    owners = np.searchsorted(starts, rows, side="right") - 1
    for owner in np.unique(owners):
        mine = owners == owner
        taken[mine] = shards[owner][rows[mine] - starts[owner]]
    return taken


def images_per_block(image_size: int, channels: int) -> int:
    """Return how many images one task prepares: 64, or as many as 2 megabytes hold."""
    return min(_BLOCK_IMAGES, max(1, _BLOCK_BYTES // (image_size * image_size * channels)))


def images_per_shard(image_size: int, channels: int, megabytes: int) -> int:
    """Return how many images fill a shard of that many megabytes (10^6 bytes): whole blocks, at least one."""
    block = images_per_block(image_size, channels)
    return block * max(1, megabytes * 1_000_000 // (image_size * image_size * channels * block))


def dataset_digest(images: Iterable[tuple[str, str, str]], transform: str) -> str:
    """Return 16 hex digits of the SHA-256 over sorted `(content hash, split, box)` and the transform's name."""
    hasher = hashlib.sha256(transform.encode())
    for sha256, split, box in sorted(images):
        hasher.update(f"\n{sha256} {split} {box}".encode())
    return hasher.hexdigest()[:16]


def join_fingerprints(of_blocks: Iterable[str]) -> str:
    """Return the fingerprint of a shard from those of its blocks."""
    return hashlib.sha256("\n".join(of_blocks).encode()).hexdigest()


def _skip(blocks: Iterator[Block], inputs: int) -> Iterator[Block]:
    # The last shard may have fewer inputs than a shard has.
    while inputs > 0 and (block := next(blocks, None)):
        inputs -= len(block.paths)
    return blocks
