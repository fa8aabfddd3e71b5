"""A dataset that torchvision knows, by name: `torchvision:CIFAR10`. It is downloaded by torchvision, once."""

import contextlib
import functools
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro_dcgan.data.scan import Input
from kedro_dcgan.data.sources.source import Limits, as_ppm
from kedro_dcgan.data.verdicts import Reason
from kedro_dcgan.errors import SourceError, UnusableImageError

FOLDER = "data/01_raw/torchvision"

_TRAIN_AND_TEST: tuple[dict[str, Any], ...] = ({"train": True}, {"train": False})
_SPLITS: tuple[dict[str, Any], ...] = ({"split": "train"}, {"split": "test"})
# All that a dataset holds: which image goes into which of our splits follows from its content.
PARTS: dict[str, tuple[dict[str, Any], ...]] = {
    "MNIST": _TRAIN_AND_TEST,
    "FashionMNIST": _TRAIN_AND_TEST,
    "KMNIST": _TRAIN_AND_TEST,
    "CIFAR10": _TRAIN_AND_TEST,
    "CIFAR100": _TRAIN_AND_TEST,
    "USPS": _TRAIN_AND_TEST,
    "SVHN": _SPLITS,
    "STL10": ({"split": "train+unlabeled"}, {"split": "test"}),
    "GTSRB": _SPLITS,
    "Food101": _SPLITS,
    "Flowers102": ({"split": "train"}, {"split": "val"}, {"split": "test"}),
    "OxfordIIITPet": ({"split": "trainval"}, {"split": "test"}),
    "CelebA": ({"split": "all"},),
}


class TorchvisionSource:
    """The images of all parts of a dataset.

    Raises:
        SourceError: on construction, if the name is unknown or the download fails.
    """

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
            # torchvision draws bars and lists mirrors; the answer here is one line.
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                lengths = [len(_open(name, self._root, part, download=True)) for part in range(len(PARTS[name]))]
        except Exception as error:  # URLError, RuntimeError, OSError: whatever each dataset raises without a network.
            raise SourceError(
                f"`{self.PREFIX}{name}` must be downloaded, or be in {self._root} already "
                f"(torchvision says: {type(error).__name__}: {' '.join(str(error).split())[:300]}). "
                "Check the network and run again, or pass a folder or an archive of your own."
            ) from None
        self._inputs = [(part, number) for part, length in enumerate(lengths) for number in range(length)]
        self.count = len(self._inputs)
        limits.require_count(self.count)

    def blocks(self, size: int) -> Iterator["TorchvisionBlock"]:
        """Yield the images, `size` at a time."""
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
        """Made-up paths: the part and the number in it."""
        return tuple(f"{_part_name(self.name, part)}/{number:08d}" for part, number in self.numbers)

    def fingerprint(self) -> str:
        """Hash the paths: torchvision's datasets do not change."""
        return hashlib.sha256("\0".join((self.name, *self.paths)).encode()).hexdigest()

    def read(self) -> Iterator[Input]:
        """Yield the images as PGM or PPM."""
        for path, (part, number) in zip(self.paths, self.numbers, strict=True):
            dataset = _part(self.name, self.root, part)
            try:
                image, target = dataset[number]
            except Exception as error:  # Some decode files, with whatever their libraries raise.
                problem = UnusableImageError(Reason.CORRUPT, f"{type(error).__name__}: {error}"[:200])
                yield Input(path, problem=problem)
                continue
            image = image if image.mode in ("L", "RGB") else image.convert("RGB")
            data = as_ppm(image.tobytes(), image.width, image.height, len(image.getbands()))
            yield Input(path, data, _label(dataset, target))


@functools.lru_cache(maxsize=3)
def _part(name: str, root: str, part: int) -> Any:
    # Once for each process: some are read into memory as a whole.
    return _open(name, root, part, download=False)


def _open(name: str, root: str, part: int, download: bool) -> Any:
    from torchvision import datasets

    return getattr(datasets, name)(root=root, download=download, **PARTS[name][part])


def _part_name(name: str, part: int) -> str:
    (value,) = PARTS[name][part].values()
    return str(value) if isinstance(value, str) else "train" if value else "test"


def _label(dataset: Any, target: Any) -> str | None:
    # STL10 has -1 for what has no label.
    if not isinstance(target, int) or target < 0:
        return None
    names = getattr(dataset, "classes", None)
    # Names of classes may hold `/`, which in a label stands for a folder.
    return str(names[target]).replace("/", "-") if names and target < len(names) else str(target)
