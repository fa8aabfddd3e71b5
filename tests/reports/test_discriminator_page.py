"""The page about a discriminator: its numbers, its pictures, and a page without labels."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.linear_svm import SvmResult
from kedro_dcgan.reports.discriminator import (
    Classification,
    FeatureMap,
    InspectedNetwork,
    Inspection,
    Origin,
    draw_kernels,
    draw_maps,
    write_discriminator_page,
)

CLASSIFICATION = Classification(
    {
        "trained": SvmResult(Estimate(0.9712, 0.95, 0.983), 1e-4, 2688),
        "random": SvmResult(Estimate(0.9223, 0.9, 0.94), 1e-2, 2688),
        "pixels": SvmResult(Estimate(0.9545, 0.93, 0.97), 1e-1, 1024),
    },
    train_images=1251,
    test_images=373,
    classes=10,
    most_frequent=0.1233,
)


def network(value, kernels=3, channels=1, images=2):
    """Return a network whose images are black and whose gradients and kernels have a value."""
    black = np.zeros((images, channels, 16, 16), dtype=np.uint8)
    maps = [FeatureMap(number, [2.0, 1.0], black, np.full_like(black, value)) for number in (5, 1)]
    return InspectedNetwork(np.full((kernels, channels, 4, 4), value, dtype=np.uint8), maps)


@pytest.fixture
def inspection():
    return Inspection(
        Origin("0123456789ab", 62400, "521f0f5ee4f11ad2", "4304ee411e61870b", False),
        CLASSIFICATION,
        {"trained": network(100), "random": network(200)},
    )


def pictures_in(page):
    found = re.findall(r'<img [^>]*src="data:image/png;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")) for data in found]


def pixels_of(picture, value):
    """Return the number of pixels with a value, without the few in the captions."""
    by_row = (picture == value).sum(axis=1)
    return by_row[by_row > 40].sum()


def test_log_line_has_the_accuracies(inspection):
    expected = "D's features 97.1 % [95.0, 98.3] · random weights 92.2 % · pixels 95.5 %  (linear SVM, 373 test images)"
    assert inspection.headline() == expected


def test_page_is_self_contained_and_has_all_numbers(inspection):
    page = write_discriminator_page(inspection)
    for text in ("97.1 %", "95.0 to 98.3", "92.2 %", "95.5 %", "2,688", "0.0001", "1,251", "373", "12.3 %", "62,400"):
        assert text in page, text
    assert "without labels" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert len(pictures_in(page)) == 2


def test_conditional_discriminator_is_named(inspection):
    page = write_discriminator_page(replace(inspection, origin=replace(inspection.origin, is_conditional=True)))
    assert "without labels" not in page
    assert "trained with the labels" in page


def test_record_is_json_with_all_numbers(inspection):
    record = json.loads(json.dumps(inspection.record(), allow_nan=False))
    assert record["linear_svm"]["results"]["random"]["accuracy"] == {"value": 0.9223, "low": 0.9, "high": 0.94}
    assert record["strongest_maps"]["trained"][0] == {"map": 5, "peaks": [2.0, 1.0]}
    assert record["images"] == "4304ee411e61870b"


def test_without_labels_the_page_says_which_ones_it_needs(inspection):
    without = replace(inspection, classification="not every image has a label")
    page = write_discriminator_page(without)
    assert "not every image has a label" in page
    assert "ingestion.labels" in page
    assert "C is chosen" not in page
    assert len(pictures_in(page)) == 2
    assert "no linear SVM (not every image has a label)" in without.headline()
    assert without.record()["linear_svm"] is None
    assert without.record()["without_linear_svm"] == "not every image has a label"


def test_other_reasons_do_not_ask_for_labels(inspection):
    page = write_discriminator_page(replace(inspection, classification="more than 100 classes (101)"))
    assert "more than 100 classes (101)" in page
    assert "ingestion.labels" not in page


def test_kernels_of_both_networks_are_beside_each_other(inspection):
    picture = np.asarray(draw_kernels(inspection.networks))
    (row,) = {tuple(line) for line in picture[30:60, :, 0]}
    # Three kernels of 48 pixels each; 255 is paper, 0 the gap.
    assert [row.count(value) for value in (100, 200)] == [3 * 48] * 2
    assert row.index(200) > len(row) - 1 - row[::-1].index(100)


@pytest.mark.parametrize(("count", "shown"), [(24, 24), (128, 64)])
def test_at_most_64_kernels_are_drawn(inspection, count, shown):
    networks = {"trained": network(100, kernels=count), "random": network(200, kernels=count)}
    picture = np.asarray(draw_kernels(networks))[..., 0]
    assert pixels_of(picture, 100) == shown * 48**2
    assert f"{'The first 64 of' if count > 64 else 'All'} {count} kernels" in write_discriminator_page(
        replace(inspection, networks=networks)
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_is_to_the_left_of_its_gradient(channels):
    picture = np.asarray(
        draw_maps({"trained": network(100, channels=channels), "random": network(200, channels=channels)})
    )
    # The first row of the trained network, behind the margin: a black image, its gradient, a gap, and the next.
    line = picture[40, 8:, 0].tolist()
    assert line[:64] == [0] * 64
    assert line[64:128] == [100] * 64
    assert set(line[128:200]) == {0}
    # Two maps of two images each.
    assert pixels_of(picture[..., 0], 100) == pixels_of(picture[..., 0], 200) == 4 * 64**2
    below, above = (np.flatnonzero((picture[..., 0] == value).sum(axis=1) > 48) for value in (200, 100))
    assert above.max() < below.min()
