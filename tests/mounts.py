"""Mount points for tests: volumes, read-only folders and small disks. Without the right to mount, the tests skip."""

import contextlib
import subprocess

import pytest


@contextlib.contextmanager
def mounted(place, *options, source="none"):
    """Mount something at `place`, with the options of mount(8); unmount it at the end."""
    command = ["mount", *options, str(source), str(place)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("mount is not installed")
    if result.returncode:
        pytest.skip(f"cannot mount: {result.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextlib.contextmanager
def small_disk(place, size):
    """Mount an empty disk of `size` bytes."""
    with mounted(place, "-t", "tmpfs", "-o", f"size={size}"):
        yield place


@contextlib.contextmanager
def read_only(place):
    """Make a folder read-only, even for root."""
    with mounted(place, "--bind", source=place):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        yield place
