"""Where images come from, and under which licence: facts for readers of dataset cards and models.

No image, split, digest or training depends on them, so they may change without reading the images again. They are
stored with the shards when the images are read, and with the dataset when it is selected. From there they travel into
generators.
"""

from dataclasses import asdict, dataclass
from pathlib import PurePath

from kedro_dcgan.config import IngestionParameters, LicenceText, WebAddress
from kedro_dcgan.data.sources.builtin import DIGITS, TorchvisionSource


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
    # scikit-learn's digits: the test set of UCI's "Optical Recognition of Handwritten Digits".
    DIGITS: Origin("CC-BY-4.0", "https://doi.org/10.24432/C50P49"),
    f"{TorchvisionSource.PREFIX}FashionMNIST": Origin("MIT", "https://github.com/zalandoresearch/fashion-mnist"),
    f"{TorchvisionSource.PREFIX}KMNIST": Origin("CC-BY-SA-4.0", "https://github.com/rois-codh/kmnist"),
    **{f"{TorchvisionSource.PREFIX}{name}": Origin(url=page) for name, page in _PAGES.items()},
}


def origin_of(source: str, ingestion: IngestionParameters, stored: Origin = UNKNOWN) -> Origin:
    """Return the origin of the images of a source; `stored` is the one that was stored with them.

    The parameters come first, but only if they are those of this source: no images inherit the licence of others.
    """
    is_same = PurePath(source) == PurePath(ingestion.source)
    given = Origin(ingestion.licence, ingestion.source_url) if is_same else UNKNOWN
    return given.or_else(stored).or_else(_KNOWN.get(PurePath(source).as_posix(), UNKNOWN))
