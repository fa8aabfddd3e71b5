from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kedro_dcgan.images.manifest import complete_manifest
from kedro_dcgan.images.scan import ImageRecord
from kedro_dcgan.images.verdicts import Reason, meaning_of
from kedro_dcgan.reports.contact_sheets import SkippedTile, draw_accepted, draw_skipped
from kedro_dcgan.reports.dataset import draw_sizes, write_page


def manifest_of(*records):
    return complete_manifest(pd.DataFrame([asdict(record) for record in records]), 0.7, 0.1)


def accepted(path, side=100):
    return ImageRecord(
        path, path.encode().hex().ljust(64, "0"), 9, "PNG", side, side, "RGB", path.rpartition("/")[0] or None
    )


def skipped(path, reason, side=None):
    return ImageRecord(path, width=side, height=side, verdict="skipped", reason=reason, detail="because")


def page_of(manifest, source="photos"):
    return write_page(manifest, source, 64, {name: Image.new("L", (4, 4)) for name in ("accepted", "skipped", "sizes")})


def test_the_page_counts_by_reason_label_and_split():
    records = [accepted(f"{'cats' if number % 3 else 'dogs'}/{number}") for number in range(1500)]
    page = page_of(manifest_of(*records, skipped("a", "empty"), skipped("b", "truncated"), skipped("c", "empty")))
    assert "1,500 of 1,503 files are usable at 64×64" in page
    assert page.index("<code>empty</code>") < page.index("<code>truncated</code>")
    assert '<td>cats</td><td class="number">1,000</td>' in page
    assert meaning_of("truncated").partition(":")[0] in page


def test_nothing_from_a_file_name_is_run():
    page = page_of(manifest_of(accepted("<script>alert(1)</script>/x"), skipped("<img onerror=x>", "empty")), "<b>")
    assert "<script" not in page
    assert "<img onerror" not in page
    assert "<b>" not in page
    assert "&lt;img onerror=x&gt;" in page


def test_the_page_does_without_skipped_files_labels_and_known_sizes():
    page = page_of(manifest_of(accepted("x")))
    assert "Nothing." in page
    assert "<h2>Labels</h2>" not in page


def test_every_reason_has_a_meaning():
    assert all(meaning_of(reason) for reason in Reason)


def test_the_sheet_of_the_accepted_shows_each_image_where_it_belongs():
    images = np.zeros((20, 3, 32, 32), dtype=np.uint8)
    images[17, 0] = 255
    sheet = np.asarray(draw_accepted(images))
    assert sheet.shape[2] == 3
    rows, columns = np.nonzero(sheet[..., 0] == 255)
    assert (rows.min(), columns.min()) == (66, 66)  # the second of the second row


def test_the_sheet_of_the_skipped_has_a_tile_each_with_or_without_a_picture():
    tiles = [SkippedTile("a/b.jpg", "truncated", Image.new("RGB", (300, 100), "red")), SkippedTile("日本\n", "empty")]
    pixels = np.asarray(draw_skipped(tiles))
    assert ((pixels == (255, 0, 0)).all(axis=-1)).sum() == 96 * 32
    assert ((pixels == (228, 228, 228)).all(axis=-1)).sum() >= 96 * 96


@pytest.mark.parametrize("records", [[accepted("a")], [skipped("a", "empty")], [accepted("a"), skipped("b", "x", 3)]])
def test_sizes_are_drawn_of_whatever_is_known(records):
    assert draw_sizes(manifest_of(*records), 64).axes
