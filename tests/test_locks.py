"""Locks on disks with and without locks of their own."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
import warnings

import pytest

from kedro_dcgan.errors import DataError
from kedro_dcgan.locks import hold_lock, lock_output
from kedro_dcgan.tracking.journal import Journal


@pytest.fixture(params=["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def disk_without_locks(request, monkeypatch):
    def flock(descriptor, operation):
        number = getattr(errno, request.param)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


def is_free(path):
    with hold_lock(path) as is_held:
        return is_held


def test_one_process_holds_a_lock(tmp_path):
    path = tmp_path / "x.lock"
    with hold_lock(path) as is_held:
        assert is_held
        code = "from kedro_dcgan.locks import *; import sys; print(hold_lock(Path(sys.argv[1])).__enter__())"
        other = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        assert other.stdout == "False\n"
    assert is_free(path)


def test_a_disk_without_locks_gets_a_marker(tmp_path, disk_without_locks):
    path = tmp_path / "x.lock"
    with warnings.catch_warnings(action="error"), hold_lock(path) as is_held:
        assert is_held
        assert str(os.getpid()) in (tmp_path / "x.lock.held").read_text()
        assert not is_free(path)
    assert not (tmp_path / "x.lock.held").exists()
    assert is_free(path)


def test_the_marker_of_a_dead_process_is_taken_over(tmp_path, disk_without_locks):
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / "x.lock.held").write_text(f"{ended.pid}\n{socket.gethostname()}\n")
    assert is_free(tmp_path / "x.lock")


def test_the_marker_of_another_machine_is_named_in_the_error(tmp_path, disk_without_locks):
    marker = tmp_path / ".locks/shards.lock.held"
    marker.parent.mkdir()
    marker.write_text("7\nanother-machine\n")
    with pytest.raises(DataError) as raised, lock_output(tmp_path / "shards"):
        pass
    for fact in (f"`{tmp_path / 'shards'}`", "another process holds the lock", f"delete {marker}"):
        assert fact in str(raised.value)
    assert marker.exists()


def test_outputs_and_journals_are_locked_without_locks_of_the_disk(tmp_path, disk_without_locks):
    journal = Journal(tmp_path)
    with journal.lock("writing") as is_first, journal.lock("writing") as is_second:
        assert (is_first, is_second) == (True, False)
    with lock_output(tmp_path / "shards"):
        with pytest.raises(DataError, match=f"process {os.getpid()}, "), lock_output(tmp_path / "shards"):
            pass
        assert (tmp_path / ".locks/shards.owner").exists()
    assert not (tmp_path / ".locks/shards.owner").exists()


def test_other_errors_of_a_lock_are_not_hidden(tmp_path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output"), hold_lock(tmp_path / "x.lock"):
        pass
