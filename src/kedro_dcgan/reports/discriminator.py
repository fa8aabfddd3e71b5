"""The page about a discriminator: what its features are worth, its first kernels, and what excites its feature maps."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from kedro_dcgan.evaluation.linear_svm import SvmResult
from kedro_dcgan.reports.pages import picture_url, render_page
from kedro_dcgan.reports.pictures import draw_side_by_side, draw_strips

NO_LABELS = "not every image has a label"
# Names of the compared features: in a log line, and on the page.
SHORT = {"trained": "D's features", "random": "random weights", "pixels": "pixels"}
TITLES = {
    "trained": "Features of the trained discriminator",
    "random": "Features of the same network with random weights",
    "pixels": "Pixels, averaged to at most 32×32",
}
# Kernels shown of each network, and in a row. The least side of an image, and a gap, in pixels.
_MOST_KERNELS, _COLUMNS = 64, 8
_IMAGE_SIDE, _PAIR_GAP = 64, 6


@dataclass(frozen=True)
class Origin:
    """The training and the images seen of the checkpoint, the generator's fingerprint, and the digest of the images.

    A conditional discriminator was trained with the labels.
    """

    training_id: str
    images_seen: int
    generator: str
    images: str
    is_conditional: bool


@dataclass(frozen=True)
class Classification:
    """The result of a linear SVM on each of `TITLES`, on the same images.

    `most_frequent` is the share of the most frequent class in the test images.
    """

    results: Mapping[str, SvmResult]
    train_images: int
    test_images: int
    classes: int
    most_frequent: float


@dataclass(frozen=True)
class FeatureMap:
    """A feature map: its number, the images that excite it most, their peaks, and pictures of the guided gradients.

    Images and gradients are uint8 `(N, C, H, W)`.
    """

    number: int
    peaks: Sequence[float]
    images: np.ndarray
    gradients: np.ndarray


@dataclass(frozen=True)
class InspectedNetwork:
    """The kernels of the first convolution as pictures, uint8 `(channels, C, k, k)`, and the strongest maps."""

    kernels: np.ndarray
    maps: Sequence[FeatureMap]


@dataclass(frozen=True)
class Inspection:
    """The results on a discriminator.

    `classification` has the accuracies, or says why there are none. `networks` has an entry for the `trained` and one
    for the `random` weights.
    """

    origin: Origin
    classification: Classification | str
    networks: Mapping[str, InspectedNetwork]

    def headline(self) -> str:
        """Return the accuracies in one line."""
        found = self.classification
        if isinstance(found, str):
            return f"D's filters and feature maps, no linear SVM ({found})"
        parts = []
        for name, result in found.results.items():
            of = result.accuracy
            interval = f" [{100 * of.low:.1f}, {100 * of.high:.1f}]" if name == "trained" else ""
            parts.append(f"{SHORT[name]} {100 * of.value:.1f} %{interval}")
        return f"{' · '.join(parts)}  (linear SVM, {found.test_images:,} test images)"

    def record(self) -> dict[str, Any]:
        """Return all numbers, for JSON."""
        found = self.classification
        return {
            **asdict(self.origin),
            "linear_svm": None if isinstance(found, str) else asdict(found),
            "without_linear_svm": found if isinstance(found, str) else None,
            "strongest_maps": {
                name: [{"map": one.number, "peaks": list(one.peaks)} for one in network.maps]
                for name, network in self.networks.items()
            },
        }


def write_discriminator_page(inspection: Inspection) -> str:
    """Return a self-contained HTML page."""
    found = inspection.classification
    kernels = [network.kernels for network in inspection.networks.values()]
    return render_page(
        "discriminator.html",
        origin=inspection.origin,
        reason=found if isinstance(found, str) else None,
        needs_labels=found == NO_LABELS,
        svm=None if isinstance(found, str) else found,
        rows=[] if isinstance(found, str) else _rows(found),
        kernels={"all": len(kernels[0]), "shown": min(_MOST_KERNELS, len(kernels[0])), "side": kernels[0].shape[-1]},
        maps=len(inspection.networks["trained"].maps),
        pictures={
            "kernels": picture_url(draw_kernels(inspection.networks)),
            "maps": picture_url(draw_maps(inspection.networks)),
        },
    )


def draw_kernels(networks: Mapping[str, InspectedNetwork]) -> Image.Image:
    """Draw the first 64 kernels of each network, those of the networks beside each other."""
    columns = []
    for name, network in networks.items():
        shown = network.kernels[:_MOST_KERNELS]
        columns.append((f"{name} weights", shown, min(_COLUMNS, len(shown))))
    return draw_side_by_side(columns)


def draw_maps(networks: Mapping[str, InspectedNetwork]) -> Image.Image:
    """Draw a row for each feature map: the images that excite it most, each to the left of its guided gradient."""
    strips = []
    for name, network in networks.items():
        pairs = [np.concatenate([one.images, one.gradients], axis=3) for one in network.maps]
        shown = np.concatenate(pairs)
        scale = -(-_IMAGE_SIDE // shown.shape[2])
        shown = shown.repeat(scale, axis=2).repeat(scale, axis=3)
        # A gap, so that nobody takes a gradient for that of the next image.
        strips.append((f"{name} weights", np.pad(shown, ((0, 0), (0, 0), (0, 0), (0, _PAIR_GAP)))))
    return draw_strips(strips, len(pairs[0]))


def _rows(found: Classification) -> list[dict[str, str]]:
    return [
        {
            "title": TITLES[name],
            "value": f"{100 * result.accuracy.value:.1f}",
            "interval": f"{100 * result.accuracy.low:.1f} to {100 * result.accuracy.high:.1f}",
            "dimension": f"{result.dimension:,}",
            "cost": f"{result.cost:g}",
        }
        for name, result in found.results.items()
    ]
