"""Where images come from, and under which licence: facts for readers of dataset cards and models.

No image, split, digest or training depends on them, so they may change without reading the images again. They are
stored with the shards when the images are read, and with the dataset when it is selected. From there they travel into
generators.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import PurePath

import pandas as pd

from kedro_dcgan.config import IngestionParameters, LicenceText, WebAddress
from kedro_dcgan.data.sources.builtin import DIGITS_COUNT, DIGITS_SHA256, TorchvisionSource


@dataclass(frozen=True)
class Origin:
    """The licence of images and the web page that they come from; None where unknown. Stored values are validated."""

    licence: LicenceText | None = None
    url: WebAddress | None = None

    def or_else(self, other: "Origin") -> "Origin":
        """Return this origin with the values of another one where a value is unknown."""
        return Origin(self.licence or other.licence, self.url or other.url)

    def index_entry(self) -> dict[str, dict[str, str | None]]:
        """Return the entry of an index; none if all is unknown, so that earlier versions can read the index."""
        return {} if self == UNKNOWN else {"origin": asdict(self)}


UNKNOWN = Origin()

# scikit-learn's digits: the test set of UCI's "Optical Recognition of Handwritten Digits".
_DIGITS = Origin("CC-BY-4.0", "https://doi.org/10.24432/C50P49")
# Only what the publishers say themselves; the pages are those in torchvision's documentation. Those of most datasets
# name no licence.
_PAGES = {
    "MNIST": "http://yann.lecun.com/exdb/mnist/",
    "CIFAR10": "https://www.cs.toronto.edu/~kriz/cifar.html",
    "CIFAR100": "https://www.cs.toronto.edu/~kriz/cifar.html",
    "USPS": "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps",
    "SVHN": "http://ufldl.stanford.edu/housenumbers/",
    "GTSRB": "https://benchmark.ini.rub.de/",
    "Food101": "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
    "STL10": "https://cs.stanford.edu/~acoates/stl10/",
    "Flowers102": "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    "OxfordIIITPet": "https://www.robots.ox.ac.uk/~vgg/data/pets/",
    "CelebA": "http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
}
_KNOWN = {
    f"{TorchvisionSource.PREFIX}FashionMNIST": Origin("MIT", "https://github.com/zalandoresearch/fashion-mnist"),
    f"{TorchvisionSource.PREFIX}KMNIST": Origin("CC-BY-SA-4.0", "https://github.com/rois-codh/kmnist"),
    **{f"{TorchvisionSource.PREFIX}{name}": Origin(url=page) for name, page in _PAGES.items()},
}


def given_origin(ingestion: IngestionParameters) -> Origin:
    """Return the origin that the parameters give to the images of their source."""
    return Origin(ingestion.licence, ingestion.source_url)


def origin_of(source: str, manifest: pd.DataFrame, ingestion: IngestionParameters, stored: Origin = UNKNOWN) -> Origin:
    """Return the origin of the images of a source.

    The parameters decide if their source is this one. Otherwise `stored` does: the origin that the parameters gave when
    the images were read. A known origin fills in unknown values. Parameters say nothing about who set them: a preset
    with its own source inherits the licence of `conf/base`, unless it sets its own.
    """
    is_same = PurePath(source) == PurePath(ingestion.source)
    return (given_origin(ingestion) if is_same else stored).or_else(_known_origin(source, manifest))


def _known_origin(source: str, manifest: pd.DataFrame) -> Origin:
    # Users may put their own images into the folder of the digits, so these are recognised by their content.
    hashes = manifest["sha256"].dropna()
    if len(hashes) == DIGITS_COUNT and hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest() == DIGITS_SHA256:
        return _DIGITS
    return _KNOWN.get(source, UNKNOWN)
