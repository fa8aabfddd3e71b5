import re
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kedro_dcgan.data import Reason
from kedro_dcgan.data.manifest import complete_manifest
from kedro_dcgan.data.origin import UNKNOWN, Origin
from kedro_dcgan.data.scan import ImageRecord
from kedro_dcgan.data.transforms import Crop, Preparation
from kedro_dcgan.reports.dataset import draw_sizes, write_page
from kedro_dcgan.reports.pictures import SkippedTile, draw_accepted, draw_skipped


def manifest_of(*records):
    return complete_manifest(pd.DataFrame([asdict(record) for record in records]), 0.7, 0.1)


def accepted(path, side=100):
    return ImageRecord(
        path, path.encode().hex().ljust(64, "0"), 9, "PNG", side, side, "RGB", path.rpartition("/")[0] or None
    )


def skipped(path, reason, side=None):
    return ImageRecord(path, width=side, height=side, verdict="skipped", reason=reason, detail="because")


def page_of(manifest, source="photos", near_duplicates="keep", image_size=64, channels=3, origin=UNKNOWN):
    pictures = {name: Image.new("L", (4, 4)) for name in ("accepted", "skipped", "sizes")}
    preparation = Preparation(image_size, channels, "lanczos", Crop("centre", None), (0, 0, 0), 1, 10**9, 10**9)
    return write_page(manifest, source, origin, preparation, near_duplicates, pictures)


def test_the_page_advises_a_preset_for_colour_photos_in_small_and_grey():
    photos = manifest_of(*(accepted(str(number), side=300) for number in range(20)))
    assert "--env=images64" in page_of(photos, image_size=32, channels=1)
    assert 'advice">Most' not in page_of(photos)


def test_the_page_counts_by_reason_label_and_split():
    records = [accepted(f"{'cats' if number % 3 else 'dogs'}/{number}") for number in range(1500)]
    page = page_of(manifest_of(*records, skipped("a", "empty"), skipped("b", "truncated"), skipped("c", "empty")))
    assert "1,500 of 1,503 files are usable at 64×64" in page
    assert page.index("<code>empty</code>") < page.index("<code>truncated</code>")
    assert '<td class="label">cats</td><td class="number">1,000</td>' in page
    assert Reason.TRUNCATED.meaning.partition(":")[0] in page


def test_files_outside_folders_are_counted_without_label():
    page = page_of(manifest_of(accepted("cats/1"), accepted("cats/2"), accepted("2"), skipped("3", "empty")))
    counts = re.search(r'<td class="label">\(none\)</td>(.*)</tr>', page)[1]
    # One accepted image, in one of three splits, and one skipped file.
    *splits, skipped_files = re.findall(r'<td class="number">(\d+)</td>', counts)
    assert sorted(splits) == ["0", "0", "1"]
    assert skipped_files == "1"


def test_file_names_are_escaped():
    page = page_of(manifest_of(accepted("<script>alert(1)</script>/x"), skipped("<img onerror=x>", "empty")), "<b>")
    assert "<script" not in page
    assert "<img onerror" not in page
    assert "<b>" not in page
    assert "&lt;img onerror=x&gt;" in page


def test_the_page_shows_the_licence_and_the_web_page_or_how_to_set_them():
    manifest = manifest_of(accepted("x"))
    page = page_of(manifest, origin=Origin("<b>CC0", 'https://x.org/?a="&b'))
    assert "&lt;b&gt;CC0" in page
    assert '<a href="https://x.org/?a=&#34;&amp;b" rel="noopener">' in page
    assert "<b>" not in page
    assert "ingestion.licence" not in page
    unknown = page_of(manifest)
    assert "<code>ingestion.licence</code>" in unknown
    assert "<code>ingestion.source_url</code>" in unknown
    assert "<a " not in unknown


def test_the_page_without_skipped_files_and_labels():
    page = page_of(manifest_of(accepted("x")))
    assert "None." in page
    assert "<h2>Labels</h2>" not in page


def test_the_page_without_accepted_images():
    manifest = manifest_of(skipped("x", "too_small", 8), skipped("y", "empty"))
    page = page_of(manifest)
    assert "0 of 2 files are usable" in page
    assert "Formats:" not in page
    assert draw_accepted(np.empty((0, 3, 64, 64), dtype=np.uint8)).getcolors() is not None
    draw_sizes(manifest, 64).canvas.draw()


@pytest.mark.parametrize(
    ("action", "rule"),
    [
        ("keep", "does not change when files are added, renamed or moved"),
        ("group", "it may change when a near-duplicate is added"),
        ("skip", "another one, in another split, may replace it"),
    ],
)
def test_the_page_explains_when_the_split_of_an_image_changes(action, rule):
    page = page_of(manifest_of(accepted("x")), near_duplicates=action)
    assert rule in page
    assert page.count("The split of an image depends on") == 1


def test_every_reason_has_a_meaning():
    assert all(reason.meaning for reason in Reason)


def test_accepted_images_are_drawn_in_order():
    images = np.zeros((20, 3, 32, 32), dtype=np.uint8)
    images[17, 0] = 255
    sheet = np.asarray(draw_accepted(images))
    assert sheet.shape[2] == 3
    rows, columns = np.nonzero(sheet[..., 0] == 255)
    assert (rows.min(), columns.min()) == (66, 66)  # the second of the second row


def test_large_accepted_images_are_shrunk():
    # The picture is part of the page: 128 photos of 512 pixels would take 67 megabytes.
    images = np.random.default_rng(0).integers(0, 256, (32, 3, 512, 512), dtype=np.uint8)
    images[17] = 0
    sheet = np.asarray(draw_accepted(images))
    assert sheet.shape == (2 * 98 - 2, 16 * 98 - 2, 3)
    assert (sheet[98:194, 98:194] == 0).all()  # the second of the second row
    # Pixels are averaged: noise becomes grey.
    assert sheet[:96, :96].std() < 20
    assert draw_accepted(images[:16, :1]).mode == "L"
    assert draw_accepted(images[:16, :, :96, :96]).size == (16 * 98 - 2, 96)


def test_every_skipped_file_has_a_tile_with_or_without_a_picture():
    tiles = [SkippedTile("a/b.jpg", "truncated", Image.new("RGB", (300, 100), "red")), SkippedTile("日本\n", "empty")]
    pixels = np.asarray(draw_skipped(tiles))
    assert ((pixels == (255, 0, 0)).all(axis=-1)).sum() == 96 * 32
    assert ((pixels == (228, 228, 228)).all(axis=-1)).sum() >= 96 * 96


def test_skipped_white_pictures_have_an_outline():
    pixels = np.asarray(draw_skipped([SkippedTile("a", "blank", Image.new("L", (50, 30), 255))]))
    tile = pixels[8:104, 8:104]
    assert ((tile == (228, 228, 228)).all(axis=-1)).sum() == 2 * 52 + 2 * 30


@pytest.mark.parametrize("records", [[accepted("a")], [skipped("a", "empty")], [accepted("a"), skipped("b", "x", 3)]])
def test_sizes_are_drawn_with_and_without_known_sizes(records):
    assert draw_sizes(manifest_of(*records), 64).axes


@pytest.mark.parametrize(
    ("least", "sides"), [(8, [8]), (64, [61, 68]), (64, [300, 420]), (32, [32]), (64, [3, 10, 300, 20_000]), (1, [1])]
)
def test_the_axis_of_sizes_has_labels_around_the_images(least, sides):
    figure = draw_sizes(manifest_of(*(accepted(str(side), side) for side in sides)), least)
    figure.canvas.draw()
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    labelled = {tick.get_position()[0]: tick.get_text() for tick in axes.get_xticklabels() if tick.get_text()}
    shown = [float(text) for place, text in labelled.items() if low <= place <= high]
    assert 4 <= len(shown) <= 14
    assert min(shown) <= min(sides) * 1.5
    assert max(shown) >= max(sides) / 1.5
