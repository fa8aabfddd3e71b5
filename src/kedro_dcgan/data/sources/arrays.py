"""Sources of arrays: IDX, npy and npz files by themselves, in a folder or in an archive, beside other files or not.

Labels are in a file named like that of the images: `train-images…` and `train-labels…`, or `x_train` and `y_train`. An
array that is there twice, gzipped or in another folder, is read once. Other files are read as in any source.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path, PurePath
from typing import Self

import numpy as np

from kedro_dcgan.data.sources.archive import TarSource, ZipSource
from kedro_dcgan.data.sources.array_files import Array, read_array
from kedro_dcgan.data.sources.folder import FolderSource
from kedro_dcgan.data.sources.source import (
    Input,
    Limits,
    MemoryBlock,
    SourceFile,
    gather_blocks,
    invalid_source,
    is_side_file,
    stamp_files,
)
from kedro_dcgan.errors import SourceError

# A source of arrays has few files. A larger one is not searched for them.
_MAX_FILES = 1000
_Holder = FolderSource | ZipSource | TarSource
_RULE = "be an array of images, uint8 (N, H, W), (N, H, W, C) or (N, C, H, W)"


class ArraySource:
    """The images of arrays, by file name, then the inputs of `rest`, the source that holds them, without the arrays."""

    def __init__(self, arrays: Sequence[Array], limits: Limits, rest: _Holder | None = None) -> None:
        images = [array for array in arrays if array.is_images]
        for array in images:
            array.require_plausible()
            limits.require_count(array.shape[0])
        self._images = _without_copies(images)
        names = {key.name for array in images for key in _label_keys(array)}
        named = [array for array in arrays if array.key.name in names]
        labels = [array for array in named if array.dtype.kind in "iu" and array.shape[1:] in ((), (1,))]
        self._labels = {array.key: array for array in sorted(labels, key=_preference, reverse=True)}
        self._rest, self._entries = rest, {array.file.entry for array in (*images, *labels)}
        used = rest.disk_files() if isinstance(rest, FolderSource) else [array.file.disk for array in arrays]
        # Taken now: the blocks must be read from the same files.
        self._stamps = stamp_files(sorted(set(used)))
        self.count: int | None = sum(array.shape[0] for array in self._images)
        limits.require_count(self.count)
        if rest:
            self.count = None if rest.count is None else self.count + rest.count - len(self._entries)

    @classmethod
    def within(cls, source: _Holder, limits: Limits) -> Self | None:
        """Return the arrays of a folder or an archive with its other files, or None if no array has images.

        Raises:
            SourceError: for an npz file without images, such as one of statistics.
        """
        if (source.count or 0) > _MAX_FILES:
            return None
        arrays, files = list[Array](), list[SourceFile]()
        for file in islice(source.files(), _MAX_FILES):
            array = read_array(file)
            # A tar archive is read forwards: one of pictures must not be read to its end here.
            if isinstance(source, TarSource) and not (array or arrays or is_side_file(file.path)):
                return None
            files.append(file)
            arrays += [array] if array else []
        names = {file.path for file in files}
        is_npz = isinstance(source, ZipSource) and bool(names) and all(name.endswith(".npy") for name in names)
        if any(array.is_images for array in arrays):
            return cls(arrays, limits, None if is_npz else source)
        if is_npz:
            what = "statistics of images, not images" if {"mu.npy", "sigma.npy"} <= names else "an npz file"
            raise invalid_source(_RULE, f"{files[0].disk}, {what}: {_describe(arrays)}")
        return None

    @classmethod
    def of_file(cls, path: Path, limits: Limits) -> Self | None:
        """Return the images of a single file, with the labels beside it, or None if it is not an array.

        Raises:
            SourceError: if you may not read the file, or it is an array without images.
        """
        try:
            array = read_array(SourceFile.on_disk(path.resolve(), path.name))
            if array is None:
                return None
            arrays = [array]
            for name in _label_names(path.name):
                beside = path.with_name(name)
                if beside.is_file() and not beside.is_symlink():
                    arrays += filter(None, [read_array(SourceFile.on_disk(beside, name))])
        except OSError as error:
            problem = str(error.strerror).lower()
            raise SourceError(
                f"`{error.filename}` must be a file that you may read ({problem}). Allow it with chmod u+r, or copy "
                "the file."
            ) from None
        if not array.is_images:
            raise invalid_source(_RULE, f"{path}: {_describe(arrays)}")
        return cls(arrays, limits)

    def blocks(self, size: int) -> Iterator[MemoryBlock]:
        others = (item for block in self._rest.blocks(size) for item in block.read()) if self._rest else iter(())
        images = (item for array in self._images for item in self._read(array))
        inputs = chain(images, (item for item in others if item.path not in self._entries))
        return gather_blocks(inputs, size, self._stamps)

    def _read(self, array: Array) -> Iterator[Input]:
        labels = self._labels_of(array)
        for number, data in enumerate(array.images()):
            label = str(labels[number]) if labels is not None else None
            yield Input(f"{array.name}/{number:08d}", data, label)

    def _labels_of(self, images: Array) -> np.ndarray | None:
        labels = next((self._labels[key] for key in _label_keys(images) if key in self._labels), None)
        if labels is None:
            return None
        count, (claimed, *_) = images.shape[0], labels.shape
        with labels.values() as stream:
            data = stream.read(min(count, claimed) * labels.dtype.itemsize)
            # The checksum of gzip and of zip comes after the last label.
            stream.read(1)
        values = np.frombuffer(data, labels.dtype, len(data) // labels.dtype.itemsize)
        if not len(values) == claimed == count:
            raise labels.damaged(f"it has {len(values):,} labels and claims {claimed:,}, for {count:,} images")
        return values


def _label_names(name: str) -> list[str]:
    """Return the names that the labels may have of images of that name, or path."""
    by_kind = name.replace("images", "labels").replace("idx3", "idx1")
    by_letter = re.sub(r"(?<![a-zA-Z])[xX](?![a-zA-Z])", "y", name)
    return [paired for paired in (by_kind, by_letter) if paired != name]


def _label_keys(images: Array) -> list[PurePath]:
    """Return the keys that the labels of images may have, in the same folder or in one named like theirs."""
    key = images.key
    in_folder = [key.with_name(name) for name in _label_names(key.name)]
    return [*in_folder, *map(PurePath, _label_names(str(key)))]


def _preference(array: Array) -> tuple[bool, int, str]:
    """Sort copies: plain files before gzipped ones, then those in fewer folders."""
    return array.file.path.endswith(".gz"), len(array.key.parts), array.file.path


def _without_copies(images: Sequence[Array]) -> list[Array]:
    kept = list[Array]()
    for array in sorted(images, key=_preference):
        alike = [other for other in kept if (other.key.name, other.shape) == (array.key.name, array.shape)]
        if all(other.content_hash != array.content_hash for other in alike):
            kept.append(array)
    return sorted(kept, key=lambda array: array.file.path)


def _describe(arrays: Sequence[Array]) -> str:
    return ", ".join(f"{array.name} {array.dtype} {array.shape}" for array in arrays)[:200] or "no readable array"
