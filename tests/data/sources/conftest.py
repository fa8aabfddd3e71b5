"""Fixtures for tests of several kinds of source: a timeout, files without permission, an empty folder."""

import os
import signal
import tempfile
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def alarm():
    """Fail instead of hanging: opening a pipe blocks."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it hangs"))
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def readable_by_some():
    """A folder for tests of permissions: root, who may read everything, becomes nobody before the test reads."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        if os.getuid() == 0:
            os.seteuid(0)


@pytest.fixture
def become_nobody(readable_by_some):
    """A function that drops root's permissions; call it before reading."""
    return lambda: os.seteuid(65534) if os.getuid() == 0 else None


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder of the archive and of any temporary files; `tmp_path` holds nothing else."""
    (tmp_path / "root").mkdir()
    monkeypatch.chdir(tmp_path / "root")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "root"))
    return tmp_path / "root"
