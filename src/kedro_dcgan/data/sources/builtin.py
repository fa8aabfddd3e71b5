"""Datasets that come with other packages: the digits of scikit-learn, and the datasets of torchvision by name.

The digits become a folder of PNG files, so that they take the same path as a user's own images. `torchvision:CIFAR10`
names a dataset that torchvision downloads once.
"""

import contextlib
import functools
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kedro_dcgan.data import Reason
from kedro_dcgan.data.sources.source import Input, Limits, as_ppm
from kedro_dcgan.errors import SourceError, UnusableImageError
from kedro_dcgan.storage import atomic_folder

DIGITS = "data/01_raw/digits"
# How to recognise them: their number, and the SHA-256 of the sorted SHA-256 of their files, one a line.
DIGITS_COUNT, DIGITS_SHA256 = 1797, "cb856f2c9548d5981adfff3c32efb97f971de8be8f30129e4489a2969523ae62"
FOLDER = "data/01_raw/torchvision"

_TRAIN_AND_TEST = ({"train": True}, {"train": False})
_SPLITS = ({"split": "train"}, {"split": "test"})
# All parts of each dataset are read: our splits depend on the content of the images alone.
PARTS: dict[str, tuple[Mapping[str, str | bool], ...]] = {
    **dict.fromkeys(("MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100", "USPS"), _TRAIN_AND_TEST),
    **dict.fromkeys(("SVHN", "GTSRB", "Food101"), _SPLITS),
    "STL10": ({"split": "train+unlabeled"}, {"split": "test"}),
    "Flowers102": ({"split": "train"}, {"split": "val"}, {"split": "test"}),
    "OxfordIIITPet": ({"split": "trainval"}, {"split": "test"}),
    "CelebA": ({"split": "all"},),
}


def write_digits(folder: Path) -> int:
    """Write the digits as PNG files into `folder` and return their number."""
    digits = dict(embedded_digits())
    with atomic_folder(folder) as temporary:
        for path, image in digits.items():
            target = temporary / path
            target.parent.mkdir(exist_ok=True)
            # Uncompressed: the bytes, and with them hashes and splits, are then the same on every machine.
            Image.fromarray(image).save(target, compress_level=0)
    return len(digits)


def embedded_digits() -> Iterator[tuple[str, np.ndarray]]:
    """Yield `(relative path, grey uint8 image (8, 8))` for each digit; the path is `class/number`: `7/0042.png`."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    # The scans have 17 grey levels, 0 to 16: spread them over 0 to 255.
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    for number, (image, label) in enumerate(zip(images, digits.target, strict=True)):
        yield f"{label}/{number:04d}.png", image


class TorchvisionSource:
    """The images of all parts of a torchvision dataset, which is downloaded if it is not there."""

    PREFIX = "torchvision:"

    def __init__(self, name: str, project: Path, limits: Limits) -> None:
        if name not in PARTS:
            raise SourceError(
                f"`ingestion.source` must name a known dataset after `{self.PREFIX}` (got {name}). "
                f"Known: {', '.join(PARTS)}."
            )
        self._name, self._root = name, str(project / FOLDER)
        Path(self._root).mkdir(parents=True, exist_ok=True)
        try:
            # torchvision prints progress bars and lists mirrors.
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                lengths = [len(_open(name, self._root, part, download=True)) for part in range(len(PARTS[name]))]
        except Exception as error:  # Without a network each dataset raises another type.
            raise SourceError(
                f"`{self.PREFIX}{name}` must be downloaded, or be in {self._root} already "
                f"(torchvision: {type(error).__name__}: {' '.join(str(error).split())[:300]}). "
                "Check the network and run again, or pass a folder or an archive of your own."
            ) from None
        self._inputs = [(part, number) for part, length in enumerate(lengths) for number in range(length)]
        self.count = len(self._inputs)
        limits.require_count(self.count)

    def blocks(self, size: int) -> Iterator["TorchvisionBlock"]:
        for start in range(0, self.count, size):
            yield TorchvisionBlock(self._name, self._root, tuple(self._inputs[start : start + size]))


@dataclass(frozen=True)
class TorchvisionBlock:
    """Some images of a downloaded dataset, by part and number."""

    name: str
    root: str
    numbers: tuple[tuple[int, int], ...]

    @property
    def paths(self) -> tuple[str, ...]:
        # Such as `train/00000042`.
        values = [next(iter(part.values())) for part in PARTS[self.name]]
        names = [value if isinstance(value, str) else "train" if value else "test" for value in values]
        return tuple(f"{names[part]}/{number:08d}" for part, number in self.numbers)

    def fingerprint(self) -> str:
        # The images of torchvision's datasets do not change.
        return hashlib.sha256("\0".join((self.name, *self.paths)).encode()).hexdigest()

    def read(self) -> Iterator[Input]:
        for path, (part, number) in zip(self.paths, self.numbers, strict=True):
            dataset = _part(self.name, self.root, part)
            try:
                image, target = dataset[number]
            except Exception as error:  # Some datasets decode files, with errors of any type.
                problem = UnusableImageError(Reason.CORRUPT, f"{type(error).__name__}: {error}"[:200])
                yield Input(path, problem=problem)
                continue
            image = image if image.mode in ("L", "RGB") else image.convert("RGB")
            data = as_ppm(image.tobytes(), image.width, image.height, len(image.getbands()))
            label = None
            # STL10 labels unlabelled images -1.
            if isinstance(target, int) and target >= 0:
                names = getattr(dataset, "classes", None) or ()
                # A class name may contain `/`, which in a label stands for a folder.
                label = str(names[target]).replace("/", "-") if target < len(names) else str(target)
            yield Input(path, data, label)


def _open(name: str, root: str, part: int, download: bool = False) -> Any:
    from torchvision import datasets

    return getattr(datasets, name)(root=root, download=download, **PARTS[name][part])


# Workers cache it, since some datasets are read into memory as a whole.
_part = functools.lru_cache(maxsize=3)(_open)
