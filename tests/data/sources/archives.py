"""Reads archives as a source, and checks that this leaves no trace."""

import re

import hostile
import pytest

from kedro_dcgan.data.sources import Limits, open_source
from kedro_dcgan.errors import SourceError

LIMITS = Limits(file_bytes=1_000_000, files=1000)
TARS = (".tar", ".tar.gz", ".tar.xz", ".tar.bz2")
PICTURE, OTHER = hostile.png(1), hostile.png(2)


def blocks(path, size=2, limits=LIMITS):
    """Return the blocks of an archive, or of a folder."""
    return open_source(path.name, path.parent, limits).blocks(size)


def read(path, size=2, limits=LIMITS, into=None):
    """Return the inputs by path, gathered in `into`; check that nothing was written and that no path is dangerous."""

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
    """Return why an archive is refused, in one line, and what was read of it before."""
    found = {}
    with pytest.raises(SourceError, match=r"^`[^\n]*\.$") as caught:
        read(path, 1, limits, into=found)
    return str(caught.value), found


def reasons(found):
    """Return by path why a member was not read, or nothing."""
    return {path: item.problem and str(item.problem.reason) for path, item in found.items()}
