import hashlib
import pickle
import time

import hostile
import pytest
from archives import OTHER, PICTURE, TARS, blocks, read, refused
from hostile import INNOCENT

from kedro_dcgan.data.sources import source
from kedro_dcgan.data.sources.archive import safe_name
from kedro_dcgan.errors import SourceError


@pytest.mark.parametrize("suffix", [".zip", *TARS])
def test_archive_and_folder_give_the_same_inputs(root, suffix):
    files = {"a/1.png": PICTURE, "a/b/2.png": OTHER, "ä.png": b"text", "0.png": b"", ".x/3.png": b"", "a/.y": b""}
    for name, data in files.items():
        (root / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "folder" / name).write_bytes(data)
    folder, archive = read(root / "folder"), read(hostile.good(root / f"x{suffix}", files))

    def content(found):
        return {(hashlib.sha256(i.data).hexdigest(), i.label, i.path) for i in found.values() if not i.problem}

    assert len(content(folder)) == 4
    assert content(archive) == content(folder)
    assert {path for path, item in archive.items() if item.problem} == {".x/3.png", "a/.y"}
    assert suffix != ".zip" or list(archive) == sorted(archive)


@pytest.mark.parametrize("suffix", [".zip", *TARS])
def test_archive_is_recognised_by_its_content(root, suffix):
    for name in ("photos.jpg", "archive", "x-idx3-ubyte"):
        path = hostile.nested(root / f"x{suffix}", PICTURE).rename(root / name)
        # The inner archive is one file, and a tar that ends in a zip is not a zip.
        assert sorted(read(path)) == ["inner.zip", INNOCENT]


@pytest.mark.parametrize("suffix", [".zip", *TARS])
@pytest.mark.parametrize("kind", hostile.BAD_NAMES)
def test_member_names_are_made_safe(root, suffix, kind):
    found = read(hostile.bad_name(root / f"x{suffix}", kind, PICTURE))
    own = {"traversal_inside": "folder/traversal.png", "absolute": "etc/x.png", "windows_drive": "x.png"}
    own["sibling_prefix"] = "target-x.png"
    assert found.keys() == {INNOCENT, own.get(kind, "traversal.png")}
    assert found[own.get(kind, "traversal.png")].data == PICTURE


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_member_names_are_unique(root, suffix):
    found = read(hostile.same_name_twice(root / f"x{suffix}", PICTURE, OTHER))
    assert found["twice.png"].data == PICTURE
    assert found["twice.png#2"].data == OTHER
    names = ["/C:/x.png", "../C:D:/x.png", "..", "x.png#2", "a//./x.png", "a/" + "y" * 3000, "a/" + "y" * 3001]
    found = read(hostile.good(root / f"y{suffix}", {name: name.encode() for name in names}))
    assert set(found) >= {"x.png", "x.png#2", "x.png#2#2", "unnamed", "a/x.png"}
    assert [len(name) for name in found if "y" in name] == [1000, 1002]


def test_equal_names_are_numbered_in_linear_time():
    used, start = {}, time.perf_counter()
    assert len({safe_name("x.png", used) for _ in range(20_000)}) == 20_000
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("suffix", [".zip", *TARS])
def test_empty_archive_is_rejected(root, suffix):
    assert refused(hostile.empty(root / f"x{suffix}"))[0].startswith(
        f"`ingestion.source` must hold at least one file (got {root / f'x{suffix}'}, empty)"
    )


@pytest.mark.parametrize(("suffix", "begun"), [(".zip", False), (".zip", True), (".tar", True), (".tar.gz", True)])
@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_archive_that_changes_is_rejected(root, suffix, begun, change):
    path = hostile.good(root / f"x{suffix}", {f"{number}.png": PICTURE for number in range(6)})
    other = hostile.good(root / f"y{suffix}", {f"{number}.png": OTHER for number in range(7)})
    of_source = blocks(path)
    if begun:
        assert [item.data for item in next(of_source).read()] == [PICTURE, PICTURE]
    other.replace(path) if change == "replaced" else path.unlink()
    with pytest.raises(SourceError, match=r"x\.(zip|tar|tar\.gz)` must stay as it is while it is read"):
        [list(block.read()) for block in of_source]


def test_archive_block_holds_the_bytes_of_its_members(root):
    path = hostile.good(root / "x.zip", {"1.png": PICTURE, "2.png": OTHER})
    (block,) = blocks(path)
    path.unlink()
    # As in a worker process, which cannot read the archive.
    assert [item.data for item in pickle.loads(pickle.dumps(block)).read()] == [PICTURE, OTHER]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("max_bytes", [16_000_000, 15_000, 1])
def test_archive_starts_a_block_after_a_fixed_number_of_inputs(root, monkeypatch, suffix, max_bytes):
    monkeypatch.setattr(source, "_MAX_BLOCK_BYTES", max_bytes)
    path = hostile.good(root / f"x{suffix}", {f"{number:02}.png": hostile.png(number) for number in range(23)})
    sizes = [len(block.paths) for block in blocks(path, 5)]
    ends = {sum(sizes[: number + 1]) for number in range(len(sizes))}
    assert ends >= {5, 10, 15, 20, 23}
    assert max(sizes) == (5 if max_bytes > 1_000_000 else 1 if max_bytes == 1 else 3)
    assert len({block.fingerprint() for block in blocks(path, 5)}) == len(sizes)
