"""Manipulated files: each is refused in one line, at once and in little memory, or replaced, or accepted because right.

`REFUSED` and `REPLACED` name the files whose faults end the command, and those that are set aside, skipped or computed
again. Every manipulation in `TEXTS` and `BYTES` is tried on each file that it can be applied to.
"""

import json
import os
import resource
import shutil
from functools import partial
from pathlib import Path

import hostile
import numpy as np
import pytest
import torch
import yaml
from dataset_errors import raises_dataset_error
from kedro.io import DatasetError
from networks import generator_config
from projects import ROOT

from kedro_dcgan.config import IngestionParameters, PreprocessingParameters
from kedro_dcgan.data.manifest import COLUMNS, complete_manifest
from kedro_dcgan.data.scan import ScanTask, scan_block
from kedro_dcgan.data.shard_files import read_prepared_images
from kedro_dcgan.data.shard_writer import Scan
from kedro_dcgan.data.shards import select, transform_of
from kedro_dcgan.data.sources import Limits, open_source
from kedro_dcgan.data.transforms import Crop, Preparation
from kedro_dcgan.datasets import (
    EvaluationDataset,
    ImageShardsDataset,
    ManifestDataset,
    PreparedImagesDataset,
    SampleFramesDataset,
    TrainedGeneratorDataset,
    TrainingRunDataset,
)
from kedro_dcgan.errors import DataError, DcganError
from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.reference import ReferenceCache
from kedro_dcgan.hooks.lineage import dvc_hash
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights
from kedro_dcgan.pipelines.preprocessing.nodes import prepare_images
from kedro_dcgan.reports.pictures import SampleFrames, SampleGrid
from kedro_dcgan.storage import sha256_of
from kedro_dcgan.stored_files import read_json, write_json
from kedro_dcgan.tracking.journal import Journal, RunIdentity, UploadState
from kedro_dcgan.training.checkpoints import Checkpoint, CheckpointFolder, CheckpointHeader

KEY = "a" * 32
PREPARATION = Preparation(16, 3, "bicubic", Crop(), (255, 255, 255), 16, 10**6, 10**7)
MD5 = {"md5": "0" * 32, "path": "data"}


def manifest_dataset(root):
    return ManifestDataset(root / "manifest.parquet", {"type": "pandas.ParquetDataset", "save_args": {"index": False}})


def frames_dataset(root):
    return SampleFramesDataset(root / "frames")


def evaluation_dataset(root):
    return EvaluationDataset(root / "evaluation.json", "json.JSONDataset")


def save_images(root, name, first, count):
    """Scan pictures, and select a dataset from them."""
    pictures = root / f"{name}pictures"
    pictures.mkdir()
    for number in range(first, first + count):
        (pictures / f"{number}.png").write_bytes(hostile.png(number, 20))
    source = open_source(str(pictures), Path("/"), Limits(10**7, 10**5))
    scan = partial(scan_block, preparation=PREPARATION)
    blocks = partial(source.blocks, 4)
    run = lambda remaining, done: (scan(ScanTask(block)) for block in remaining)  # noqa: E731
    ImageShardsDataset(root / f"{name}shards").save(Scan("pictures", PREPARATION, 8, count, blocks, run))
    shards = ImageShardsDataset(root / f"{name}shards").load()
    manifest = complete_manifest(shards.read_records([column for column in COLUMNS if column != "split"]), 0.5, 0.25)
    images = select(shards, manifest, transform_of(PREPARATION))
    PreparedImagesDataset(root / f"{name}images", f"{name}shards").save(images)
    return manifest


def generator(seed, width=4):
    torch.manual_seed(seed)
    network = build_generator(generator_config("dcgan", 16, 1, 6, width))
    weights = {name: tensor + seed for name, tensor in snapshot_weights(network).items()}
    return TrainedGenerator(network.config, weights, "digest", 640, {"seed": seed})


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Every kind of file that is read back, as this version writes it."""
    root = tmp_path_factory.mktemp("built")
    manifest_dataset(root).save(save_images(root, "", 0, 24))
    save_images(root, "other_", 100, 24)
    TrainedGeneratorDataset(root / "generator").save(generator(0))
    TrainedGeneratorDataset(root / "other_generator").save(generator(1))
    for seen in (10, 20):
        header = CheckpointHeader("aaa", seen, 100, False, {"batch": 8}, KEY)
        state = {"weights": torch.full((100,), float(seen)), "images_seen": seen}
        CheckpointFolder(root / "checkpoints").save(Checkpoint(header, state, 2))
    grids = [SampleGrid(seen, np.zeros((4, 4), dtype=np.uint8)) for seen in (0, 640)]
    frames_dataset(root).save(SampleFrames("aaa", 640, grids))
    TrainingRunDataset(root / "training_run.json").save({"run": KEY})
    ReferenceCache(root / "references").estimates({"split": "test"}, lambda: {"fd": Estimate(1.0, 0.5, 1.5)})
    (entry,) = (root / "references").glob("[0-9a-f]*")
    entry.rename(root / "references/entry")
    evaluation_dataset(root).save(
        {"generator": "a", "images_seen": 640, "verdict": "good", "primary_metric": "fd", "metrics": {"fd": 1.0}}
        | {"numbers": [{"name": "fd"}], "protocols": [{"split": "test"}]}
    )
    journal = Journal.create(root / "journals", RunIdentity(KEY, "tests", "a run", 1))
    journal.add("status", status="RUNNING")
    journal.save_upload_state(UploadState("server", "run", 5))
    (root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"train": {"cmd": "x", "outs": [MD5]}}}))
    return root


@pytest.fixture
def copy(built, tmp_path):
    """Copy parts of what is built, with the modification times."""

    def copy_parts(*names):
        for name in names:
            copying = shutil.copytree if (built / name).is_dir() else shutil.copy2
            copying(built / name, tmp_path / name)
        return tmp_path

    return copy_parts


def newest_checkpoint(root):
    stored = CheckpointFolder(root / "checkpoints")
    header = stored.newest("aaa")
    if header and stored.read_state(header) is None:
        header = stored.newest("aaa")
    return header and header.images_seen


def reference(root):
    cache, key = ReferenceCache(root / "references"), {"split": "test"}
    (root / "references/entry").rename(cache._entry(key))
    return cache.estimates(key, lambda: {"fd": Estimate(2.0)})["fd"].value


def upload_state(root):
    return [journal.upload_state("server").offset for journal in Journal.find_all(root / "journals")]


def journal_records(root):
    journal = Journal(root / "journals" / KEY)
    for record, _ in journal.records():
        journal.remove_attachments(record)
    return [record["kind"] for record, _ in journal.records()]


def read_images(root):
    return read_prepared_images(root / "images", root / "shards").digest


def read_generator_facts(root):
    return TrainedGeneratorDataset(root / "generator").load().facts


# file -> how it is read, and a number (or a string) in it.
REFUSED = {
    "shards/index.json": (read_images, ("preparation", "image_size")),
    "images/index.json": (read_images, ("image_size",)),
    "generator/generator.json": (read_generator_facts, ("images_seen",)),
    "frames/current.json": (lambda root: len(frames_dataset(root).load()), ("images_seen",)),
    "training_run.json": (lambda root: TrainingRunDataset(root / "training_run.json").load(), ("run",)),
    "evaluation.json": (lambda root: evaluation_dataset(root).load(), ("images_seen",)),
}
# file -> how it is read, a number in it, and the result if the file is unusable.
CHECKPOINT, ENTRY, JOURNAL = "checkpoints/aaa/000000000020", "references/entry", f"journals/{KEY}"
REPLACED = {
    f"{CHECKPOINT}/checkpoint.json": (newest_checkpoint, ("images_seen",), 10),
    f"{ENTRY}/key.json": (reference, ("format",), 2.0),
    f"{ENTRY}/numbers.json": (reference, ("fd",), 2.0),
    f"{JOURNAL}/run.json": (upload_state, ("created",), []),
    f"{JOURNAL}/sent.json": (upload_state, ("offset",), [0]),
    "dvc.lock": (lambda root: dvc_hash(root, "data"), ("stages",), None),
}
BINARY = {
    "shards/00001.npy": (read_images, None),
    "images/train.npy": (read_images, None),
    "generator/generator.safetensors": REFUSED["generator/generator.json"],
    "manifest.parquet": (lambda root: manifest_dataset(root).load(), None),
    f"{CHECKPOINT}/state.pt": (newest_checkpoint, None, 10),
}


def changed(value):
    """Put a value in the place of a number, with a new checksum."""

    def change(file, place):
        content = json.loads(file.read_text())
        content.pop("checksum", None)
        *parents, last = place
        target = content
        for name in parents:
            target = target[name]
        target[last] = value
        write_json(file, content)

    return change


def edited(edit):
    return lambda file, place: file.write_bytes(edit(file.read_bytes()))


def special(make):
    def replace(file, place):
        shutil.rmtree(file, ignore_errors=True) if file.is_dir() else file.unlink()
        make(file)

    return replace


def duplicate(data):
    return b'{"format": 1, "format": 1, ' + data.lstrip()[1:]


TEXTS = {
    "not an object": edited(lambda data: b"[1, 2]"),
    "null": edited(lambda data: b"null"),
    "deep nesting": edited(lambda data: b"[" * 200_000),
    "deep nesting in an object": edited(lambda data: b'{"a": ' * 100_000 + b"1" + b"}" * 100_000),
    "duplicate keys": edited(duplicate),
    "Latin-1": edited(lambda data: data.replace(b'"', b'"\xe4', 1)),
    "UTF-16": edited(lambda data: data.decode().encode("utf-16")),
    "5,000 digits": edited(lambda data: data.replace(b": ", b": " + b"9" * 5000, 1)),
    "a text": changed("twelve"),
    "an object": changed({"a": 1}),
    "true": changed(True),
    "negative": changed(-1),
    "huge": changed(10**30),
    "1e9": changed(10**9),
    "a fraction": changed(16.5),
    "NaN": changed(float("nan")),
    "infinite": changed(float("inf")),
    "a path": changed("../../etc"),
}
BYTES = {
    "empty": edited(lambda data: b""),
    "half": edited(lambda data: data[: len(data) // 2]),
    "one byte less": edited(lambda data: data.rstrip()[:-1]),
    "a web page": edited(lambda data: b"<html>not found</html>"),
    "zeros": edited(lambda data: bytes(len(data))),
    "missing": special(lambda file: None),
    "a folder": special(Path.mkdir),
    "a pipe": special(os.mkfifo),
    "a device": special(lambda file: file.symlink_to("/dev/zero")),
    "a dangling link": special(lambda file: file.symlink_to("/nowhere")),
    "a link to itself": special(lambda file: file.symlink_to(file)),
    "100 GB": lambda file, place: os.truncate(file, 100 * 10**9),
}
# The values that are right, or of which nothing can be known to be wrong.
HARMLESS = {
    ("1e9", "generator/generator.json"), ("1e9", "frames/current.json"), ("a text", "training_run.json"),
    ("1e9", f"{JOURNAL}/run.json"), ("negative", f"{JOURNAL}/run.json"), ("1e9", f"{JOURNAL}/sent.json"),
    ("huge", f"{JOURNAL}/run.json"), ("1e9", "evaluation.json"), ("huge", "evaluation.json"),
    ("negative", "evaluation.json"), ("duplicate keys", "evaluation.json"), ("UTF-16", "evaluation.json"),
}  # fmt: skip
ON_JSON = [(how, name) for name in {**REFUSED, **REPLACED} for how in {**TEXTS, **BYTES} if (how, name) not in HARMLESS]
ON_JSON.remove(("100 GB", "evaluation.json"))  # pandas and json read a whole file
ON_BINARY = [(how, name) for name in BINARY for how in BYTES if (how, name) != ("100 GB", f"{CHECKPOINT}/state.pt")]


def parts_of(name):
    first = Path(name).parts[0]
    return ("shards", "images") if first in ("shards", "images") else (first,)


def check(root, name, read, *fallback):
    """Read a file: its fault is reported in one line and in little memory, or is made good for."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if fallback:
        assert read(root) == fallback[0]
    else:
        with pytest.raises((DcganError, DatasetError)) as caught:
            read(root)
        error = caught.value if isinstance(caught.value, DcganError) else caught.value.__cause__
        assert isinstance(error, DcganError)
        assert Path(name).parts[0] in str(error)
        assert "\n" not in str(error)
        assert len(str(error)) < 700
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000  # KB


@pytest.mark.parametrize(("how", "name"), ON_JSON + ON_BINARY)
def test_damaged_file_is_refused_or_replaced(copy, how, name):
    root = copy(*parts_of(name))
    read, place, *fallback = {**REFUSED, **REPLACED, **BINARY}[name]
    {**TEXTS, **BYTES}[how](root / name, place)
    check(root, name, read, *fallback)


@pytest.mark.parametrize(("how", "name"), sorted(HARMLESS))
def test_value_that_may_be_right_is_accepted(copy, how, name):
    root = copy(*parts_of(name))
    read, place, *_ = {**REFUSED, **REPLACED}[name]
    TEXTS[how](root / name, place)
    if how == "1e9" and name == "generator/generator.json":
        assert TrainedGeneratorDataset(root / "generator").load().images_seen == 10**9
    read(root)


def edit_json(file, edit, with_checksum=True):
    content = json.loads(file.read_text())
    content.pop("checksum", None)
    edit(content)
    if with_checksum:
        write_json(file, content)
    else:
        file.write_text(json.dumps(content))


@pytest.mark.parametrize("name", [*list(REFUSED)[:-1], f"{CHECKPOINT}/checkpoint.json"])
@pytest.mark.parametrize("how", ["unknown key", "missing key", "other checksum", "checksum of another type"])
def test_keys_and_checksum_are_checked(copy, name, how):
    root = copy(*parts_of(name))
    read, place, *fallback = {**REFUSED, **REPLACED}[name]
    content = json.loads((root / name).read_text())
    if how == "unknown key":
        edit_json(root / name, lambda content: content.update(unknown=1))
    elif how == "missing key":
        edit_json(root / name, lambda content: content.pop(place[0]))
    else:
        content["checksum"] = 7 if "type" in how else "0" * 64
        (root / name).write_text(json.dumps(content))
    check(root, name, read, *fallback)


@pytest.mark.parametrize("name", ["shards/index.json", "images/index.json", "generator/generator.json"])
def test_other_format_is_named(copy, name):
    root = copy(*parts_of(name))
    edit_json(root / name, lambda content: content.update(format=99, added=1))
    with pytest.raises((DcganError, DatasetError), match=r"`format` in .*\(got 99\).*kedro run|`format` in .*export"):
        REFUSED[name][0](root)


def test_checkpoint_of_another_format_is_kept_but_not_used(copy):
    root = copy("checkpoints")
    edit_json(root / CHECKPOINT / "checkpoint.json", lambda content: content.update(format=99, added=1))
    assert newest_checkpoint(root) == 10
    assert (root / CHECKPOINT / "state.pt").is_file()


def without_sums(root):
    """Turn files into those of the version before checksums."""
    for file in root.glob("*/index.json"):
        edit_json(file, lambda content: content.pop("splits_sha256", None), with_checksum=False)
    for name in ("generator/generator.json", f"{CHECKPOINT}/checkpoint.json", "frames/current.json"):
        if (root / name).exists():
            edit_json(root / name, lambda content: content.pop("weights_sha256", None), with_checksum=False)


SWAPS = {
    "the test split for the train split": ("images/test.npy", "images/train.npy"),
    "the splits of other images": ("other_images/train.npy", "images/train.npy"),
    "the index of other images": ("other_images/index.json", "images/index.json"),
    "the index of other shards": ("other_shards/index.json", "shards/index.json"),
    "the pixels of another shard": ("shards/00000.npy", "shards/00001.npy"),
    "the pixels of other images": ("other_shards/00001.npy", "shards/00001.npy"),
    "the weights of another generator": ("other_generator/generator.safetensors", "generator/generator.safetensors"),
    "the config of another generator": ("other_generator/generator.json", "generator/generator.json"),
}


@pytest.mark.parametrize("with_sums", [True, False])
@pytest.mark.parametrize("swap", SWAPS)
def test_swapped_files_are_refused(copy, swap, with_sums):
    root = copy("shards", "images", "other_shards", "other_images", "generator", "other_generator")
    if not with_sums:
        without_sums(root)
    source, target = SWAPS[swap]
    shutil.copy2(root / source, root / target)
    read = read_images if target.startswith(("images", "shards")) else read_generator_facts
    if target.endswith("safetensors") and not with_sums:
        # Nothing tells the weights of two generators of the same network apart.
        assert read(root) == {"seed": 0}
    else:
        check(root, target, read)


def test_exchanged_splits_are_refused_with_and_without_sums(copy):
    root = copy("shards", "images")
    for _ in range(2):
        for source, target in (("train", "spare"), ("test", "train"), ("spare", "test")):
            (root / f"images/{source}.npy").rename(root / f"images/{target}.npy")
        check(root, "images", read_images)
        for source, target in (("train", "spare"), ("test", "train"), ("spare", "test")):
            (root / f"images/{source}.npy").rename(root / f"images/{target}.npy")
        read_images(root)
        without_sums(root)


def test_reordered_rows_without_sums_are_refused(copy):
    root = copy("shards", "images")
    without_sums(root)
    rows = np.load(root / "images/train.npy")
    np.save(root / "images/train.npy", rows[::-1])
    check(root, "images", read_images)


def test_files_of_the_version_before_checksums_are_read(copy, built):
    root = copy("shards", "images", "generator", "checkpoints", "frames")
    without_sums(root)
    assert "checksum" not in (root / "images/index.json").read_text()
    assert read_images(root) == read_images(built)
    assert read_generator_facts(root) == {"seed": 0}
    assert newest_checkpoint(root) == 20
    assert len(frames_dataset(root).load()) == 2


def test_files_may_be_links_into_a_cache_and_be_formatted_differently(built, tmp_path):
    # DVC can replace files by links.
    cache = shutil.copytree(built, tmp_path / "cache")
    edit_json(cache / "images/index.json", lambda content: None)
    stored = json.loads((cache / "images/index.json").read_text())
    (cache / "images/index.json").write_text(json.dumps(dict(reversed(stored.items()))))
    for file in [file for file in cache.rglob("*") if file.is_file()]:
        link = tmp_path / "project" / file.relative_to(cache)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    root = tmp_path / "project"
    assert read_images(root) == read_images(built)
    assert read_generator_facts(root) == {"seed": 0}
    assert newest_checkpoint(root) == 20
    assert reference(root) == 1.0
    assert len(manifest_dataset(root).load()) == 24
    assert upload_state(root) == [5]


def test_an_index_cannot_ask_for_more_memory_than_its_files_have(copy):
    root = copy("shards", "images")
    edit_json(root / "shards/index.json", lambda content: content["preparation"].update(image_size=512))
    edit_json(root / "images/index.json", lambda content: content.update(image_size=512))
    check(root, "shards", read_images)


@pytest.mark.parametrize("array", ["wrong type", "two dimensions", "pickle", "negative row", "row twice", "huge shape"])
def test_rows_with_the_right_hash_are_checked(copy, array, tmp_path):
    root = copy("shards", "images")
    file, rows = root / "images/train.npy", np.load(root / "images/train.npy")
    if array == "pickle":
        np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif array == "huge shape":
        data = file.read_bytes()
        shape = f"({len(rows)},), }}".encode()
        file.write_bytes(data.replace(shape + b" " * 12, shape.replace(b",), }", b"9" * 12 + b",), }")))
        assert file.read_bytes() != data
    else:
        arrays = {"wrong type": rows.astype(np.float64), "two dimensions": rows[None], "negative row": rows - 100}
        np.save(file, arrays.get(array, np.repeat(rows[:2], len(rows) // 2)))
    sums = {"train": sha256_of(file)}
    edit_json(root / "images/index.json", lambda content: content["splits_sha256"].update(sums))
    check(root, "images", read_images)


@pytest.mark.parametrize(
    "change", [{"width": 8}, {"width": 2**20}, {"image_size": 32}, {"channels": 3}, {"latent_dim": 7}]
)
def test_weights_must_have_the_shapes_of_their_network(copy, change):
    root = copy("generator")
    edit_json(root / "generator/generator.json", lambda content: content["network"].update(change))
    check(root, "generator", read_generator_facts)


@pytest.mark.parametrize("network", [{"architecture": "notebook28"}, {"architecture": "gone"}, {"image_size": 10**9}])
def test_networks_that_cannot_be_built_are_refused(copy, network):
    root = copy("generator")
    edit_json(root / "generator/generator.json", lambda content: content["network"].update(network))
    check(root, "generator", read_generator_facts)


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "maybe"}, {"split": "holdout"}, {"split": None}, {"row": 3}, {"row": -1}, {"row": "x"},
        {"sha256": "../x"}, {"sha256": None}, {"verdict": 7}, {"without": "label"}, {"without": "row"},
    ],
)  # fmt: skip
def test_manifest_is_checked(copy, change):
    root = copy("manifest.parquet")
    manifest = manifest_dataset(root).load().astype(object)
    ((column, value),) = change.items()
    if column == "without":
        manifest = manifest.drop(columns=value)
    else:
        manifest.loc[:, column] = value
    manifest.to_parquet(root / "manifest.parquet", index=False)
    check(root, "manifest.parquet", lambda root: manifest_dataset(root).load())


def test_manifest_of_other_images_is_not_prepared(copy, built):
    root = copy("shards", "other_shards")
    shards = ImageShardsDataset(root / "other_shards").load()
    ingestion = yaml.safe_load((ROOT / "conf/base/parameters_ingestion.yml").read_text())["ingestion"]
    parameters = yaml.safe_load((ROOT / "conf/base/parameters_preprocessing.yml").read_text())["preprocessing"]
    parameters |= {"image_size": 16, "channels": 3, "resample": "bicubic", "background": [255, 255, 255]}
    groups = IngestionParameters.model_validate(ingestion), PreprocessingParameters.model_validate(parameters)
    with pytest.raises(DataError, match="the manifest must be that of the image shards"):
        prepare_images(shards, manifest_dataset(built).load(), *groups)


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000, b'{"kind": ["a"]}', b'{"kind": "metrics"}', b'{"kind": "metrics", "values": [1]}',
        b'{"kind": "metrics", "values": {}, "step": "one"}', b'{"kind": "file", "file": "../../other", "folder": "x"}',
        b'{"kind": "file", "file": "..", "folder": "x"}', b'{"kind": "file", "file": "/etc", "folder": "x"}',
        b'{"kind": "file", "file": 7}', b'{"kind": "file", "file": "a\\u0000b"}', b'{"kind": "file", "file": "."}',
        b'{"kind": "file", "file": ""}', b"\xff", b"{" + b"9" * 5000 + b"}",
    ],
    ids=range(14),
)  # fmt: skip
def test_damaged_record_is_unreadable_and_removes_nothing(copy, line, tmp_path):
    root = copy("journals")
    (root / "other").mkdir()
    (root / "other/kept").write_text("kept")
    with (root / JOURNAL / "journal.jsonl").open("ab") as file:
        file.write(line + b"\n")
    assert journal_records(root) == ["status", "unreadable"]
    assert (root / "other/kept").exists()
    assert (root / JOURNAL / "run.json").exists()


@pytest.mark.parametrize("state", [{"other": 1}, [1], {"images_seen": 10}, None])
def test_state_with_the_right_hash_must_be_that_of_its_header(copy, state):
    root = copy("checkpoints")
    torch.save(state, root / CHECKPOINT / "state.pt")
    sums = {"sha256": sha256_of(root / CHECKPOINT / "state.pt")}
    edit_json(root / CHECKPOINT / "checkpoint.json", lambda content: content.update(sums))
    check(root, "checkpoints", newest_checkpoint, 10)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\nb: &b [*a, *a]\nstages: *b", "stages: [1]", "stages: {train: {outs: 7}}", "- 1", "\t: x", "outs: 1",
        "stages: {train: {outs: [{md5: 1}]}}", "!!python/object/apply:os.getcwd []",
    ],
    ids=range(8),
)  # fmt: skip
def test_damaged_lock_file_of_dvc_tracks_nothing(tmp_path, text):
    (tmp_path / "dvc.lock").write_text(text)
    assert dvc_hash(tmp_path, "data") is None


@pytest.mark.parametrize("key", EvaluationDataset.TYPES)
def test_evaluation_has_what_the_export_needs(copy, key):
    root = copy("evaluation.json")
    edit_json(root / "evaluation.json", lambda content: content.pop(key))
    with raises_dataset_error(DataError, f"`{key}`"):
        evaluation_dataset(root).load()


def test_damaged_frame_is_named(copy):
    root = copy("frames")
    frame = root / "frames/aaa/000000000640.png"
    frame.write_bytes(frame.read_bytes()[:40])
    check(root, "frames", lambda root: frames_dataset(root).load())


def test_source_that_is_not_utf8_gives_a_readable_index(tmp_path):
    write_json(tmp_path / "index.json", {"source": "pict\udcffures", "name": "ä"})
    assert read_json(tmp_path / "index.json", dict[str, str], "") == {"source": "pict?ures", "name": "ä"}
