"""Measure what the networks have learned on the images of a dataset, on the CPU."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.classifier import Classifier
from kedro_dcgan.evaluation.linear_svm import can_classify, svm_accuracy
from kedro_dcgan.model.directions import Describe, attributes
from kedro_dcgan.model.discriminator_features import (
    Blocks,
    first_kernels,
    guided_gradients,
    peaks,
    pooled_features,
    set_norm_statistics,
    signed_pictures,
)
from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.progress import track
from kedro_dcgan.reports.discriminator import NO_LABELS, Classification, FeatureMap, InspectedNetwork

# The most images of a split that are used, and the most feature values of a split in memory.
MOST_IMAGES, MOST_VALUES = 10_000, 60_000_000
# The SVM fits one plane for each class.
MOST_CLASSES = 100
# The most pixels of all training images that give batch norm its statistics, or train the classifier. The number of
# test images among which those with the largest activations are found.
_MOST_PIXELS, _SEARCHED = 2**26, 2_000
# Sides to which images are averaged for the SVM on pixels, and for the classifier that names directions.
_PIXELS, _CLASSIFIED = 32, 64
# Feature maps in a picture, and images of each.
MAPS, PER_MAP = 8, 6
# Pixels in a batch: activations of the first block have several times as many values.
_BATCH_PIXELS, _MOST_BATCH = 2**21, 128


def use_real_statistics(blocks: Blocks, images: PreparedImages, name: str) -> None:
    """Give the batch norm of a network the statistics of training images."""
    size, rows = _batch_size(images), drawn_rows(images, "train", _most_rows(images))
    # The mean over batches weighs them equally, so they must have one size.
    full = rows[: max(1, len(rows) // size) * size]
    set_norm_statistics(blocks, track(_batches(images, "train", full), f"  statistics, {name}", len(full)))


def classify(networks: Mapping[str, Blocks], images: PreparedImages) -> Classification | str:
    """Return the accuracy of a linear SVM on the features of each network and on pixels; a reason if it has no labels.

    All of them get the same images. Their number is bounded by the memory for the features.
    """
    if images.classes is None:
        return NO_LABELS
    if len(images.classes.names) > MOST_CLASSES:
        return f"more than {MOST_CLASSES} classes ({len(images.classes.names):,})"
    first = torch.from_numpy(images.take("train", np.arange(1)))
    values = max(pooled_features(next(iter(networks.values())), first).shape[1], _shrunk(first, _PIXELS).numel())
    rows = {split: drawn_rows(images, split, min(MOST_IMAGES, MOST_VALUES // values)) for split in ("train", "test")}
    labels = {split: images.classes.labels[split][chosen] for split, chosen in rows.items()}
    if not can_classify(labels["train"]):
        return "fewer than two classes have enough training images"

    results, count = {}, len(rows["train"])
    names = [*networks, "pixels"]
    for name in track(names, "  linear SVM", count * len(names), size=lambda _: count):
        train, test = (_features(networks.get(name), images, split, chosen) for split, chosen in rows.items())
        results[name] = svm_accuracy(train, labels["train"], test, labels["test"])
    chance = float(np.bincount(labels["test"]).max() / len(labels["test"]))
    return Classification(results, count, len(rows["test"]), len(np.unique(labels["train"])), chance)


def inspect_network(blocks: Blocks, images: PreparedImages, name: str) -> InspectedNetwork:
    """Return the first kernels of a network, and the test images that excite its strongest feature maps most.

    The strongest maps are those with the largest activations on any of the test images.
    """
    rows = drawn_rows(images, "test", _SEARCHED)
    batches = track(_batches(images, "test", rows), f"  feature maps, {name}", len(rows))
    largest = torch.cat([peaks(blocks, batch) for batch in batches])
    chosen = largest.amax(dim=0).topk(min(MAPS, largest.shape[1])).indices.tolist()
    maps = []
    for number in chosen:
        values, order = largest[:, number].topk(min(PER_MAP, len(rows)))
        shown = torch.from_numpy(images.take("test", rows[order.numpy()]))
        gradients = guided_gradients(blocks, shown, torch.full((len(shown),), number))
        maps.append(FeatureMap(number, values.tolist(), shown.numpy(), signed_pictures(gradients).numpy()))
    return InspectedNetwork(first_kernels(blocks).numpy(), maps)


def describe_with_classes(images: PreparedImages) -> Describe:
    """Return a function that measures simple attributes of images, and `towards CLASS`: the probability of each class.

    The probabilities are those of a classifier that is trained on labelled images. Without labels, or with more than
    100 classes, there are only the attributes.
    """
    classes = images.classes
    if classes is None or not 1 < len(classes.names) <= MOST_CLASSES:
        return attributes
    rows = drawn_rows(images, "train", _most_rows(images))
    labels, pixels = torch.from_numpy(classes.labels["train"][rows]), torch.from_numpy(images.take("train", rows))
    classifier = Classifier(_shrunk(pixels, _CLASSIFIED), labels, len(classes.names))

    def describe(pictures: np.ndarray) -> dict[str, np.ndarray]:
        shares = classifier.probabilities(_shrunk(torch.from_numpy(pictures), _CLASSIFIED)).numpy().T
        return {
            **attributes(pictures),
            **{f"towards {name}": of for name, of in zip(classes.names, shares, strict=True)},
        }

    return describe


def drawn_rows(images: PreparedImages, split: str, most: int) -> np.ndarray:
    """Return the indices of at most `most` images of a split, always the same random ones."""
    return np.random.default_rng(0).permutation(images.count(split))[:most]


def _features(blocks: Blocks | None, images: PreparedImages, split: str, rows: np.ndarray) -> np.ndarray:
    """Return the features of a network, or the pixels, as float32 `(len(rows), D)`."""
    batches = _batches(images, split, rows)
    return torch.cat(
        [
            to_model_range(_shrunk(batch, _PIXELS)).flatten(1) if blocks is None else pooled_features(blocks, batch)
            for batch in batches
        ]
    ).numpy()


def _most_rows(images: PreparedImages) -> int:
    return min(MOST_IMAGES, _MOST_PIXELS // images.image_size**2)


def _shrunk(images: Tensor, most: int) -> Tensor:
    """Return images, uint8 `(N, C, H, W)`, averaged to `most` pixels if they are larger."""
    if images.shape[-1] <= most:
        return images
    return torch.cat([adaptive_avg_pool2d(part.float(), most).round().to(torch.uint8) for part in images.split(100)])


def _batches(images: PreparedImages, split: str, rows: np.ndarray) -> Iterator[Tensor]:
    size = _batch_size(images)
    for start in range(0, len(rows), size):
        yield torch.from_numpy(images.take(split, rows[start : start + size]))


def _batch_size(images: PreparedImages) -> int:
    return max(2, min(_MOST_BATCH, _BATCH_PIXELS // images.image_size**2))
