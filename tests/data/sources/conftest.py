"""What tests of several kinds of source need: an end to waiting, files that may not be read, an empty place."""

import os
import signal
import tempfile
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def alarm():
    """Whoever opens a pipe, waits: fail instead of hanging."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it hangs"))
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def readable_by_some():
    """A folder that nobody may enter: root, who may read everything, becomes nobody where the test begins to read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        if os.getuid() == 0:
            os.seteuid(0)


@pytest.fixture
def become_nobody(readable_by_some):
    """Called where the test begins to read."""
    return lambda: os.seteuid(65534) if os.getuid() == 0 else None


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder of the archive, which is where temporary files would go, too; nothing else is in `tmp_path`."""
    (tmp_path / "root").mkdir()
    monkeypatch.chdir(tmp_path / "root")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "root"))
    return tmp_path / "root"
