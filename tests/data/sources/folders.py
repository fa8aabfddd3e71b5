"""Writes folders of files, and reads them as a source."""

import os

from kedro_dcgan.data.sources import Limits
from kedro_dcgan.datasets import ImageSourceDataset

LIMITS = Limits(file_bytes=1000, files=2000)


def write(root, *names):
    """Write a file of each name, str or bytes, below `root`."""
    for name in names:
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content of " + os.fsencode(path.name))


def open_folder(path, limits=LIMITS):
    """Return the folder as a source."""
    return ImageSourceDataset(path).load().open(".", limits)


def items(source, size=100):
    """Return all inputs of a source."""
    return [item for block in source.blocks(size) for item in block.read()]


def reasons(path, limits=LIMITS):
    """Return the reason for skipping by path, or None."""
    return {item.path: item.problem and item.problem.reason for item in items(open_folder(path, limits))}
