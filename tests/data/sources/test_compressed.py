import lzma
import struct
import subprocess
import sys
import time
import zlib

import hostile
import pytest
from archives import OTHER, PICTURE, TARS, read, refused

from kedro_dcgan.data.sources import compressed

FILES = {"a.png": PICTURE, "b.png": OTHER}


def with_dictionary(path, code):
    """Make an xz file claim another dictionary size: 28 is 64 MiB, 36 is 1 GiB, 40 is 4 GiB."""
    data = bytearray(path.read_bytes())
    length = 4 * data[12]
    # A block's header: its length, flags, the filter LZMA2 with one byte of properties, and a CRC.
    assert data[13:16] == b"\0\x21\1"
    data[16] = code
    struct.pack_into("<I", data, 12 + length, zlib.crc32(data[12 : 12 + length]))
    path.write_bytes(data)
    return path


READ = """
import resource, sys
from pathlib import Path
from kedro_dcgan.data.sources import Limits, open_source
resource.setrlimit(resource.RLIMIT_AS, (1_000_000_000, 1_000_000_000))
source = open_source(sys.argv[1], Path.cwd(), Limits(1_000_000, 9))
print(*(item.path for block in source.blocks(1) for item in block.read()))
"""


@pytest.mark.parametrize("code", [36, 40], ids=["1 GiB", "4 GiB"])
def test_xz_that_claims_too_much_memory_is_rejected(root, code):
    path = with_dictionary(hostile.good(root / "x.tar.xz", FILES), code)
    message, found = refused(path)
    assert str(path) in message
    assert "128 MiB" in message
    assert not found


def test_xz_of_the_highest_level_is_read_with_little_memory(root):
    path = with_dictionary(hostile.good(root / "x.tar.xz", FILES), 28)
    result = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=True)
    assert result.stdout.split() == list(FILES)


@pytest.mark.parametrize("padding", [b"", bytes(4), bytes(200_000)])
def test_xz_may_have_several_streams(root, padding):
    data = hostile.good(root / "x.tar", FILES).read_bytes()
    parts = [data[:100], b"", data[100:3000], data[3000:]]
    (root / "x.tar").write_bytes(padding.join(lzma.compress(part) for part in parts) + padding)
    assert {name: item.data for name, item in read(root / "x.tar").items()} == FILES


@pytest.mark.parametrize("keep", [40, -30, -1])
def test_xz_that_was_cut_off_is_rejected(root, keep):
    path = hostile.good(root / "x.tar.xz", FILES)
    path.write_bytes(path.read_bytes()[:keep])
    assert path.name in refused(path)[0]


@pytest.mark.parametrize("suffix", TARS[1:])
@pytest.mark.parametrize("sizes", [[50_000_000], [900_000] * 50], ids=["one", "many"])
def test_compressed_archive_may_not_expand_without_limit(root, monkeypatch, suffix, sizes):
    monkeypatch.setattr(compressed, "_ALLOWANCE", 3_000_000)
    zeros = {f"{number}.png": bytes(size) for number, size in enumerate(sizes)}
    path = hostile.good(root / f"x{suffix}", {"first.png": PICTURE, **zeros})
    start = time.perf_counter()
    message, found = refused(path)
    assert time.perf_counter() - start < 5
    assert message.startswith(f"`{path}` must expand to at most {100 * path.stat().st_size + 3_000_000:,} bytes")
    assert found["first.png"].data == PICTURE
    assert len(found) < 40


@pytest.mark.parametrize("suffix", TARS[1:])
def test_compressed_archive_of_images_stays_far_below_the_limit(root, monkeypatch, suffix):
    monkeypatch.setattr(compressed, "_ALLOWANCE", 0)
    monkeypatch.setattr(compressed, "_MAX_RATIO", 3)
    files = {f"{number}.png": hostile.png(number) for number in range(50)}
    assert len(read(hostile.good(root / f"x{suffix}", files))) == 50
