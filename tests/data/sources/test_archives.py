import hashlib
import time

import hostile
import pytest
from archives import OTHER, PICTURE, TARS, blocks, read, refused
from hostile import INNOCENT

from kedro_dcgan.data.sources import memory
from kedro_dcgan.data.sources.source import OwnNames
from kedro_dcgan.errors import SourceError


@pytest.mark.parametrize("suffix", [".zip", *TARS])
def test_archive_gives_what_a_folder_gives(root, suffix):
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
def test_archive_is_known_by_its_content(root, suffix):
    for name in ("photos.jpg", "archive", "x-idx3-ubyte"):
        path = hostile.nested(root / f"x{suffix}", PICTURE).rename(root / name)
        # The archive in the archive is one file: a tar that ends in a zip is no zip.
        assert sorted(read(path)) == ["inner.zip", INNOCENT]


@pytest.mark.parametrize("suffix", [".zip", *TARS])
@pytest.mark.parametrize("kind", hostile.BAD_NAMES)
def test_archive_gives_members_names_of_our_own(root, suffix, kind):
    found = read(hostile.bad_name(root / f"x{suffix}", kind, PICTURE))
    own = {"traversal_inside": "folder/traversal.png", "absolute": "etc/x.png", "windows_drive": "x.png"}
    own["sibling_prefix"] = "target-x.png"
    assert found.keys() == {INNOCENT, own.get(kind, "traversal.png")}
    assert found[own.get(kind, "traversal.png")].data == PICTURE


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_archive_gives_every_member_another_name(root, suffix):
    found = read(hostile.same_name_twice(root / f"x{suffix}", PICTURE, OTHER))
    assert found["twice.png"].data == PICTURE
    assert found["twice.png#2"].data == OTHER
    names = ["/C:/x.png", "../C:D:/x.png", "..", "x.png#2", "a//./x.png", "a/" + "y" * 3000, "a/" + "y" * 3001]
    found = read(hostile.good(root / f"y{suffix}", {name: name.encode() for name in names}))
    assert set(found) >= {"x.png", "x.png#2", "x.png#2#2", "unnamed", "a/x.png"}
    assert [len(name) for name in found if "y" in name] == [1000, 1002]


def test_names_that_are_all_the_same_take_no_longer_than_others():
    own, start = OwnNames(), time.perf_counter()
    assert len({own.name("x.png") for _ in range(20_000)}) == 20_000
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("suffix", [".zip", *TARS])
def test_archive_without_files_is_refused(root, suffix):
    assert refused(hostile.empty(root / f"x{suffix}"))[0].startswith(
        f"`ingestion.source` must hold at least one file (got {root / f'x{suffix}'}, empty)"
    )


@pytest.mark.parametrize(("suffix", "begun"), [(".zip", False), (".zip", True), (".tar", True), (".tar.gz", True)])
@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_archive_that_changes_is_refused(root, suffix, begun, change):
    path = hostile.good(root / f"x{suffix}", {f"{number}.png": PICTURE for number in range(6)})
    other = hostile.good(root / f"y{suffix}", {f"{number}.png": OTHER for number in range(7)})
    of_source = blocks(path)
    if begun:
        assert [item.data for item in next(of_source).read()] == [PICTURE, PICTURE]
    other.replace(path) if change == "replaced" else path.unlink()
    with pytest.raises(SourceError, match=r"x\.(zip|tar|tar\.gz)` must stay as it is while it is read"):
        [list(block.read()) for block in of_source]


def test_archive_that_changes_while_a_block_is_read_is_refused(root):
    (block,) = blocks(hostile.good(root / "x.zip", {"1.png": PICTURE, "2.png": OTHER}))
    with pytest.raises(SourceError, match="must stay as it is"):
        [hostile.good(root / "x.zip", {"1.png": OTHER}) for _ in block.read()]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("most_bytes", [16_000_000, 15_000, 1])
def test_archive_begins_a_block_after_every_so_many_inputs(root, monkeypatch, suffix, most_bytes):
    monkeypatch.setattr(memory, "_MOST_BYTES", most_bytes)
    path = hostile.good(root / f"x{suffix}", {f"{number:02}.png": hostile.png(number) for number in range(23)})
    sizes = [len(block.paths) for block in blocks(path, 5)]
    ends = {sum(sizes[: number + 1]) for number in range(len(sizes))}
    assert ends >= {5, 10, 15, 20, 23}
    assert max(sizes) == (5 if suffix == ".zip" or most_bytes > 1_000_000 else 1 if most_bytes == 1 else 3)
    assert len({block.fingerprint() for block in blocks(path, 5)}) == len(sizes)
