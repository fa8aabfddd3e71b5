from dataclasses import asdict
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest

from kedro_dcgan.data.advice import advise, advise_format
from kedro_dcgan.data.manifest import complete_manifest, count_near_duplicates, split_of, summarise
from kedro_dcgan.data.scan import ImageRecord
from kedro_dcgan.data.sources.builtin import embedded_digits


def records_of(hashes, **columns):
    rows = [
        ImageRecord(path, sha256(content.encode()).hexdigest(), row=row) for row, (path, content) in enumerate(hashes)
    ]
    return pd.DataFrame([asdict(row) for row in rows]).assign(**columns)


def manifest_of(files, **options):
    return complete_manifest(records_of(files.items()), 0.7, 0.1, **options).set_index("path")


def test_manifest_keeps_the_first_of_equal_files():
    manifest = manifest_of({"b.png": "one", "a.png": "one", "c.png": "two"})
    assert manifest.loc["a.png", "verdict"] == "accepted"
    assert manifest.loc["b.png", "reason"] == "duplicate"
    assert manifest.loc["b.png", "detail"] == "the same bytes as a.png"
    assert manifest["split"].isna().tolist() == [False, True, False]


def test_manifest_is_sorted_by_the_bytes_of_the_paths():
    paths = ["b", "B", "a/b", "é", "日本", "z"]
    assert manifest_of({path: path for path in paths}).index.tolist() == sorted(paths, key=str.encode)


def test_manifest_does_not_depend_on_the_order_of_the_files():
    files = {f"{number}.png": str(number % 25) for number in range(30)}
    backwards = dict(reversed(files.items()))
    assert manifest_of(files).drop(columns="row").equals(manifest_of(backwards).drop(columns="row"))


def test_split_of_a_file_stays_when_others_are_added_or_it_is_renamed():
    few = manifest_of({f"{number}.png": str(number) for number in range(20)})
    many = manifest_of({f"renamed-{number}.png": str(number) for number in range(60)})
    assert few.set_index("sha256")["split"].to_dict().items() <= many.set_index("sha256")["split"].to_dict().items()


@pytest.mark.parametrize(("position", "split"), [(0.0, "train"), (0.69, "train"), (0.75, "validation"), (0.81, "test")])
def test_split_of_reads_the_hash_as_a_fraction(position, split):
    digits = f"{int(position * 2**64):016x}" + "0" * 48
    assert split_of(pd.Series([digits]), train=0.7, validation=0.1).tolist() == [split]


def test_splits_have_about_the_fractions_asked_for():
    hashes = pd.Series([sha256(bytes([a, b])).hexdigest() for a in range(100) for b in range(100)])
    splits = split_of(hashes, 0.7, 0.1).tolist()
    assert abs(splits.count("train") / 10_000 - 0.7) < 0.02
    assert abs(splits.count("test") / 10_000 - 0.2) < 0.02


@pytest.mark.parametrize(("train", "only"), [(1.0, "train"), (0.0, "test")])
def test_fractions_of_one_and_zero_are_exact(train, only):
    hashes = pd.Series([sha256(bytes([a])).hexdigest() for a in range(200)])
    assert set(split_of(hashes, train, 0.0)) == {only}


def alike(groups, action):
    """1,000 images in groups of near-duplicates; each group has its own hash."""
    numbers = np.arange(1000)
    hashes = np.random.default_rng(0).integers(0, 2**63, 1000, dtype=np.uint64)[numbers // (1000 // groups)]
    records = records_of([(f"{number:04d}", str(number)) for number in numbers], perceptual_hash=hashes)
    return complete_manifest(records, 0.7, 0.1, action, 0), numbers // (1000 // groups)


def test_near_duplicates_share_a_split():
    manifest, groups = alike(250, "group")
    assert (manifest["verdict"] == "accepted").all()
    assert (manifest.groupby(groups)["split"].nunique() == 1).all()
    # The choice of the member that decides for a group must not favour a split.
    assert abs((manifest["split"] == "train").mean() - 0.7) < 0.08
    assert (alike(250, "keep")[0].groupby(groups)["split"].nunique() > 1).any()


def test_one_of_the_near_duplicates_is_kept():
    manifest, groups = alike(250, "skip")
    assert (manifest["verdict"] == "accepted").groupby(groups).sum().eq(1).all()
    assert manifest.loc[3, ["reason", "detail"]].tolist() == ["near_duplicate", "looks like 0000"]


def test_summarise_counts_reasons():
    records = records_of([(str(number), str(number)) for number in range(5)])
    records.loc[3:, ["verdict", "reason"]] = ["skipped", "empty"]
    line = summarise(complete_manifest(records, 0.7, 0.1))
    assert line == "5 images scanned · 3 accepted · 2 skipped (2 empty)"


def test_advice_on_small_images_suggests_a_size():
    records = records_of([(str(number), str(number)) for number in range(10)], width=100, height=100)
    assert advise(complete_manifest(records, 0.7, 0.1), 64, 3) == []
    records.loc[5:, ["verdict", "reason", "width"]] = ["skipped", "too_small", 50]
    (advice,) = advise(complete_manifest(records, 0.7, 0.1), 64, 3)
    assert advice.startswith("5 of 10 images are large enough for 64x64")
    assert "choose 48x48" in advice


@pytest.mark.parametrize(
    ("mode", "side", "image_size", "channels", "words"),
    [
        # Photos with the parameters of the embedded digits.
        ("RGB", 640, 32, 1, ["in colour", "640 pixels", "32x32 grey", "--env=images64"]),
        ("RGB", 640, 32, 3, ["640 pixels", "--env=images64"]),
        ("RGB", 32, 32, 1, ["in colour", "preprocessing.channels=3"]),
        ("L", 640, 32, 1, ["640 pixels", "preprocessing.image_size=64"]),
        # Digits, photos with the right preset, a deliberate size.
        ("L", 8, 32, 1, []),
        ("1", 28, 32, 1, []),
        ("I;16", 28, 32, 1, []),
        ("RGB", 640, 64, 3, []),
        ("RGB", 640, 48, 3, []),
        ("RGB", 127, 32, 3, []),
        ("L", 640, 64, 1, []),
        (None, None, 32, 1, []),
    ],
)
def test_advice_on_the_format_of_the_samples(mode, side, image_size, channels, words):
    records = records_of([(str(number), str(number)) for number in range(10)], mode=mode, width=side, height=side)
    advice = advise_format(complete_manifest(records, 0.7, 0.1), image_size, channels)
    assert bool(advice) == bool(words)
    assert [word for word in words if word not in advice] == []


@pytest.mark.parametrize(("small", "advises"), [(0, False), (3, True), (10, False)])
def test_advice_on_upscaled_images(small, advises):
    records = records_of([(str(number), str(number)) for number in range(10)], width=100, height=100)
    records.loc[: small - 1, "height"] = 40
    advice = advise(complete_manifest(records, 0.7, 0.1), 64, 3)
    assert [sentence.startswith("3 of 10 images are smaller than 64x64") for sentence in advice] == advises * [True]


@pytest.mark.parametrize(("alike", "advises"), [(5, False), (6, True)])
def test_advice_on_a_large_group_of_near_duplicates(alike, advises):
    records = records_of([(str(number), str(number)) for number in range(100)])
    records["perceptual_hash"] = np.maximum(np.arange(100), alike - 1)
    manifest = complete_manifest(records, 0.7, 0.1, "group")
    assert count_near_duplicates(manifest) == alike - 1
    assert manifest["detail"].dropna().unique().tolist() == ["looks like 0"]
    advice = advise(manifest, 64, 3)
    assert bool(advice) == advises
    if advises:
        assert advice[0].startswith("6 of 100 images are near-duplicates")
        assert "ingestion.near_duplicates.most_bits" in advice[0]


def test_embedded_digits_are_complete():
    digits = list(embedded_digits())
    assert len(digits) == 1797
    assert {path.split("/")[0] for path, _ in digits} == set("0123456789")
    assert len(np.unique(np.stack([image for _, image in digits]))) == 17


def labels_after(labels, split_folders="auto", **columns):
    hashes = [(f"{number:03}.png", f"{columns}{number}") for number in range(len(labels))]
    records = records_of(hashes, label=labels, **columns)
    manifest = complete_manifest(records, 0.7, 0.1, split_folders=split_folders)
    return [None if pd.isna(label) else label for label in manifest["label"]]


CATS = ["cat", "cat", "dog", "dog"]


@pytest.mark.parametrize(
    ("folders", "labels"),
    [
        (CATS, CATS),
        (["train/cat", "test/cat", "train/dog", "test/dog"], CATS),
        (["Train/cat", "VAL/cat", "validation/dog", "testing/dog"], CATS),
        (["pets/train/cat", "pets/test/cat", "pets/valid/dog", "pets/test/dog"], CATS),
        (["a/pets/cat", "a/pets/cat", "a/pets/dog", "a/pets/dog"], CATS),
        (["pets/cat/old", "pets/cat/old", "pets/dog", "pets/dog"], ["cat/old", "cat/old", "dog", "dog"]),
        # Names that begin alike, a folder that is a class itself, and a single class.
        (
            ["pets/cat", "pets/cat", "petshop/cat", "petshop/cat"],
            ["pets/cat", "pets/cat", "petshop/cat", "petshop/cat"],
        ),
        (["pets", "pets", "pets/cat", "pets/cat"], ["pets", "pets", "pets/cat", "pets/cat"]),
        (["pets/cat"] * 4, ["cat"] * 4),
        (["cat/train", "cat/test", "dog/train", "dog/test"], CATS),
        (["train/a/cat", "test/a/cat", "train/dog", "test/dog"], ["a/cat", "a/cat", "dog", "dog"]),
        (["train", "train", "test", "test"], [None] * 4),
        (["train/cat", "train/cat", "test", "test"], ["cat", "cat", None, None]),
        # One of several classes, as in CIFAR-100.
        (["train", "train", "apple", "apple"], ["train", "train", "apple", "apple"]),
        (["train/cat", "train/cat", "dog", "dog"], ["train/cat", "train/cat", "dog", "dog"]),
        ([None, None, "train/cat", "test/cat"], [None, None, "cat", "cat"]),
        ([None] * 4, [None] * 4),
    ],
)
def test_folders_of_splits_are_not_classes(folders, labels):
    assert labels_after(folders) == labels


def test_split_folders_can_be_named_by_position():
    folders = ["a/cat", "b/cat", "a/dog", "b/dog"] * 2
    assert labels_after(folders) == folders
    assert labels_after(folders, "first") == CATS * 2
    assert labels_after(["train/cat", "train/cat", "test/cat", "test/cat"], "none")[3] == "test/cat"
    assert labels_after(["pets/cat", "pets/cat", "pets/dog", "pets/dog"], "none")[3] == "pets/dog"
    assert labels_after(["a", "a", "b/dog", "b/dog"], "first") == [None, None, "dog", "dog"]


@pytest.mark.parametrize(
    ("labels", "facts"),
    [
        (["cat"] * 40 + ["dog"] * 40, []),
        (["cat"] * 40 + ["dog"] * 9, ["1 of 2 classes", "fewer than 10 training images", "dog: "]),
        (["cat"] * 400 + ["dog"] * 40, ["cat has 400", "dog has 40", "training.class_sampling"]),
        (["cat"] * 20 + ["dog"] * 18 + [None] * 2, ["2 of 40 images", "no label"]),
        (["cat"] * 20, []),
        ([None] * 20, []),
    ],
)
def test_advice_on_classes(labels, facts):
    records = records_of([(f"{number:04}.png", f"{number}") for number in range(len(labels))], label=labels)
    advice = advise(complete_manifest(records.assign(width=64, height=64, mode="RGB"), 0.7, 0.1), 64, 3)
    assert len(advice) == bool(facts)
    assert all(fact in advice[0] for fact in facts)


def test_skipped_files_have_the_same_classes_but_do_not_decide_them():
    folders = ["train/cat", "test/cat", "docs", "train/cat"]
    assert labels_after(folders, verdict=["accepted", "accepted", "skipped", "skipped"]) == [
        "cat",
        "cat",
        "docs",
        "cat",
    ]


@pytest.mark.parametrize(
    ("folders", "has_classes"),
    [
        ([str(number) for number in range(20)], False),
        ([str(number) for number in range(20)] + ["0", "0", "1", "1"], False),
        ([f"{split}/{number}" for number in range(20) for split in ("train", "test")], True),
        (["a", "a", "b"], True),
        (["a", "a", "b", "c", "d"], False),
    ],
)
def test_folder_for_each_image_is_no_class(folders, has_classes):
    assert any(labels_after(folders)) == has_classes
