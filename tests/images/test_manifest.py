import io
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from kedro_dcgan.images.digits import embedded_digits
from kedro_dcgan.images.manifest import ImageRecord, assign_split, build_manifest, inspect, summarise


def png(level):
    stream = io.BytesIO()
    Image.new("L", (8, 8), level).save(stream, "PNG")
    return stream.getvalue()


def manifest_of(files):
    records = [inspect(path, data, min_size=8, max_pixels=10_000) for path, data in files.items()]
    return build_manifest(records, train=0.7, validation=0.1).set_index("path")


def test_inspect_records_what_a_file_is():
    record = inspect("cats/tom.jpg", png(3), min_size=1, max_pixels=100)
    assert (record.sha256, record.bytes) == (sha256(png(3)).hexdigest(), len(png(3)))
    assert (record.format, record.width, record.height, record.mode, record.label) == ("PNG", 8, 8, "L", "cats")


def test_manifest_skips_the_corrupt_and_keeps_the_good():
    manifest = manifest_of({"good.png": png(1), "bad.png": png(2)[:-30], "empty.png": b""})
    assert manifest.loc["good.png", "verdict"] == "accepted"
    assert manifest.loc["bad.png", ["verdict", "reason"]].tolist() == ["skipped", "unreadable"]
    assert manifest.loc["empty.png", "reason"] == "empty"
    assert manifest["split"].isna().tolist() == [True, True, False]


def test_manifest_keeps_the_first_of_equal_files():
    manifest = manifest_of({"b.png": png(1), "a.png": png(1), "c.png": png(2)})
    assert manifest.loc["a.png", "verdict"] == "accepted"
    assert manifest.loc["b.png", "reason"] == "duplicate"
    assert "a.png" in manifest.loc["b.png", "detail"]


def test_manifest_does_not_depend_on_the_order_of_the_files():
    files = {f"{level}.png": png(level) for level in range(30)}
    backwards = dict(reversed(files.items()))
    assert manifest_of(files).equals(manifest_of(backwards))


def test_split_of_a_file_stays_when_others_are_added_or_it_is_renamed():
    few = manifest_of({f"{level}.png": png(level) for level in range(20)})
    many = manifest_of({f"renamed-{level}.png": png(level) for level in range(60)})
    assert few.set_index("sha256")["split"].to_dict().items() <= many.set_index("sha256")["split"].to_dict().items()


@pytest.mark.parametrize(("position", "split"), [(0.0, "train"), (0.69, "train"), (0.75, "validation"), (0.81, "test")])
def test_assign_split_reads_the_hash_as_a_fraction(position, split):
    digits = f"{int(position * 2**64):016x}" + "0" * 48
    assert assign_split(digits, train=0.7, validation=0.1) == split


def test_splits_have_about_the_fractions_asked_for():
    splits = [assign_split(sha256(bytes([a, b])).hexdigest(), 0.7, 0.1) for a in range(100) for b in range(100)]
    assert abs(splits.count("train") / 10_000 - 0.7) < 0.02
    assert abs(splits.count("test") / 10_000 - 0.2) < 0.02


def test_summarise_counts_reasons():
    records = [ImageRecord(str(n), str(n) * 64, 1) for n in range(3)]
    records.append(ImageRecord("x", "x", 0, verdict="skipped", reason="empty"))
    line = summarise(build_manifest(records[:0] + records[3:], 0.7, 0.1))
    assert line == "1 images scanned · 0 accepted · 1 skipped (1 empty)"


def test_embedded_digits_are_the_whole_set_with_all_grey_levels():
    digits = list(embedded_digits())
    assert len(digits) == 1797
    assert {path.split("/")[0] for path, _ in digits} == set("0123456789")
    assert len(np.unique(np.stack([image for _, image in digits]))) == 17
