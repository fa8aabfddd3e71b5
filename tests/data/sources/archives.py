"""Reads archives as a source, and checks that reading writes nothing."""

import re

import hostile
import pytest

from kedro_dcgan.data.sources import Limits, open_source
from kedro_dcgan.errors import SourceError

LIMITS = Limits(file_bytes=1_000_000, files=1000)
TARS = (".tar", ".tar.gz", ".tar.xz", ".tar.bz2")
PICTURE, OTHER = hostile.png(1), hostile.png(2)


def blocks(path, size=2, limits=LIMITS):
    """Return the blocks of an archive or a folder."""
    return open_source(path.name, path.parent, limits).blocks(size)


def read(path, size=2, limits=LIMITS, into=None):
    """Return the inputs by path, collected in `into`; check that nothing is written and that no path is dangerous."""

    def snapshot():
        status = {file: file.lstat() for file in path.parents[1].rglob("*")}
        return {file: (of.st_mode, of.st_size, of.st_mtime_ns) for file, of in status.items()}

    before, found = snapshot(), {} if into is None else into
    try:
        for block in blocks(path, size, limits):
            for item in block.read():
                assert item.path not in found
                assert not re.search(r"\\|^[A-Za-z]:|(^|/)(\.{0,2})(/|$)", item.path)
                found[item.path] = item
    finally:
        assert snapshot() == before
    return found


def refused(path, limits=LIMITS):
    """Return the one-line error for an archive, and the inputs read before it."""
    found = {}
    with pytest.raises(SourceError, match=r"^`[^\n]*\.$") as caught:
        read(path, 1, limits, into=found)
    return str(caught.value), found


def reasons(found):
    """Return the reason for skipping by path, or None."""
    return {path: item.problem and str(item.problem.reason) for path, item in found.items()}
