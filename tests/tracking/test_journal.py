"""What a run has to tell, on this disk."""

import errno
import os
import resource
from dataclasses import replace

import pytest

from kedro_dcgan.errors import DiskFullError
from kedro_dcgan.tracking import journal_files as lines
from kedro_dcgan.tracking.journal import Journal, Sent
from kedro_dcgan.tracking.run import mark_killed


@pytest.fixture
def journal(tmp_path, identity):
    return Journal.of(tmp_path / "journals", identity)


def kinds(journal, offset=0):
    return [record["kind"] for record, _ in journal.records(offset)]


def test_records_come_back_in_order_and_from_any_offset(journal):
    for number in range(5):
        journal.add("metrics", step=number, values={"loss": number / 3}, is_history=number < 3)
    assert [(record["step"], record["values"]["loss"]) for record, _ in journal.records()] == [
        (number, number / 3) for number in range(5)
    ]
    behind = [offset for _, offset in journal.records()][2]
    assert [record["step"] for record, _ in journal.records(behind)] == [3, 4]
    assert journal.last_step("is_history") == 2
    assert journal.last_step("is_picture") == -1


def test_half_a_line_is_no_record_and_is_removed_by_the_next_record(journal):
    journal.add("tags", values={"a": "ä"})
    with (journal.folder / "journal.jsonl").open("a") as file:
        file.write('{"kind": "metr')
    assert kinds(journal) == ["tags"]
    # Nor is it anything to wait for.
    journal.note_sent(Sent("server", "run", next(offset for _, offset in journal.records())))
    assert journal.is_all_sent("server")
    journal.add("status", status="RUNNING")
    assert kinds(journal) == ["tags", "status"]
    (journal.folder / "journal.jsonl").write_text("half of the first")
    journal.add("tags", values={})
    assert kinds(journal) == ["tags"]


@pytest.fixture
def full_disk():
    """Let files grow to a number of bytes and no further: the kernel takes what fits, and then nothing."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_is_full_in_the_middle_of_a_record_leaves_the_journal_as_it_was(journal, full_disk):
    journal.add("tags", values={"a": "b"})
    before = (journal.folder / "journal.jsonl").read_bytes()
    full_disk(len(before) + 10)
    with pytest.raises(DiskFullError, match="must have room"):
        journal.add("tags", values={"long": "x" * 100})
    full_disk(100_000)
    assert (journal.folder / "journal.jsonl").read_bytes() == before
    journal.add("status", status="RUNNING")
    assert kinds(journal) == ["tags", "status"]


def test_a_record_that_the_disk_did_not_keep_is_not_there(journal, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(lines.os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        journal.add("tags", values={})
    assert kinds(journal) == []


def test_what_takes_the_place_of_a_record_that_was_taken_back_is_read_from_the_beginning(journal):
    journal.add("tags", values={})
    journal.add("tags", values={"long": "x" * 50})
    *_, (_, behind) = journal.records()
    first = next(offset for _, offset in journal.records())
    for size in (20, 100):
        # Somebody has read the second record before it was taken back.
        os.truncate(journal.folder / "journal.jsonl", first)
        journal.add("status", status="x" * size)
        assert kinds(journal, behind) == ["tags", "status"]


def test_a_line_that_cannot_be_read_hides_no_other(journal):
    journal.add("status", status="RUNNING")
    with (journal.folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"kind": "metr\n[1]\n\xff\n')
    journal.add("metrics", step=3, values={}, is_history=True)
    assert kinds(journal) == ["status", *[lines.UNREADABLE] * 3, "metrics"]
    assert journal.last_step("is_history") == 3
    mark_killed(journal.folder.parent)
    assert kinds(journal)[-1] == "status"


def test_what_belongs_to_a_record_is_kept_with_it_or_not_at_all(journal, tmp_path, full_disk):
    page = tmp_path / "page.html"
    page.write_text("page")
    journal.add("file", [page], folder="reports")
    ((record, _),) = journal.records()
    assert journal.files.file(record["file"]).read_text() == "page"
    full_disk((journal.folder / "journal.jsonl").stat().st_size + 10)
    with pytest.raises(DiskFullError):
        journal.add("file", [page], folder="x" * 100)
    full_disk(100_000)
    with pytest.raises(FileNotFoundError):
        journal.add("file", [page, tmp_path / "missing"])
    assert kinds(journal) == ["file"]
    assert [kept.name for kept in (journal.folder / "files").iterdir()] == [record["file"]]


def test_another_server_has_nothing(journal):
    journal.add("tags", values={})
    end = next(offset for _, offset in journal.records())
    assert not journal.is_elsewhere("one")
    journal.note_sent(Sent("one", "run", end))
    assert journal.is_all_sent("one")
    assert (journal.is_elsewhere("one"), journal.is_elsewhere("other")) == (False, True)
    assert journal.sent("other") == Sent("other")
    assert not journal.is_all_sent("other")
    journal.add("tags", values={})
    assert not journal.is_all_sent("one")
    # What cannot be read is sent once more.
    (journal.folder / "sent.json").write_text("{")
    assert journal.sent("one") == Sent("one")


def test_a_run_whose_process_is_gone_is_killed_once_and_one_that_is_written_is_left_alone(journal):
    root = journal.folder.parent
    journal.add("status", status="RUNNING", time=1)
    journal.add("metrics", step=8, values={}, time=7)
    with journal.written() as is_free:
        assert is_free
        mark_killed(root)
        assert kinds(journal) == ["status", "metrics"]
        with Journal(journal.folder).written() as is_free_for_another:
            assert not is_free_for_another
    mark_killed(root)
    mark_killed(root)
    assert kinds(journal) == ["status", "metrics", "status"]
    killed, _ = list(journal.records())[-1]
    assert (killed["status"], killed["time"]) == ("KILLED", 7)
    journal.add("status", status="FINISHED")
    # A thread may be late.
    journal.add("metrics", step=9, values={})
    mark_killed(root)
    assert kinds(journal)[-2:] == ["status", "metrics"]


def test_what_is_added_to_a_run_has_a_journal_of_its_own_that_ends_nothing(journal, identity):
    root = journal.folder.parent
    journal.add("tags", values={})
    addition = Journal.of(root, replace(identity, must_exist=True))
    addition.add("tags", values={})
    assert addition.folder != journal.folder
    assert kinds(journal) == ["tags"]
    mark_killed(root)
    assert kinds(addition) == ["tags"]
    # The run comes first.
    assert [one.folder for one in Journal.all_in(root)] == [journal.folder, addition.folder]


def test_a_damaged_journal_stops_no_other(journal):
    journal.add("tags", values={})
    for name, content in (("a", "{"), ("b", "{}")):
        folder = journal.folder.parent / name
        folder.mkdir()
        (folder / "run.json").write_text(content)
    assert [one.folder for one in Journal.all_in(journal.folder.parent)] == [journal.folder]


def test_a_journal_that_cannot_be_written_stops_no_other(journal, identity):
    journal.add("status", status="RUNNING")
    second = Journal.of(journal.folder.parent, replace(identity, key="0" * 32, created=identity.created + 1))
    second.add("status", status="RUNNING")
    (journal.folder / "writing.lock").mkdir()
    mark_killed(journal.folder.parent)
    assert kinds(journal) == ["status"]
    assert kinds(second) == ["status", "status"]
