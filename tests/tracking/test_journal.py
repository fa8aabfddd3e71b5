"""The journal: appending, killed processes, full disks, upload states."""

import errno
import os
import resource
from dataclasses import replace

import pytest

from kedro_dcgan.errors import DataError, DiskFullError
from kedro_dcgan.tracking import journal as journal_module
from kedro_dcgan.tracking.journal import Journal, UploadState
from kedro_dcgan.tracking.run import mark_killed_runs


@pytest.fixture
def journal(tmp_path, identity):
    return Journal.create(tmp_path / "journals", identity)


def kinds(journal, offset=0):
    return [record["kind"] for record, _ in journal.records(offset)]


def test_records_are_read_in_order_from_any_offset(journal):
    for number in range(5):
        journal.add("metrics", step=number, values={"loss": number / 3}, is_history=number < 3)
    assert [(record["step"], record["values"]["loss"]) for record, _ in journal.records()] == [
        (number, number / 3) for number in range(5)
    ]
    third = [offset for _, offset in journal.records()][2]
    assert [record["step"] for record, _ in journal.records(third)] == [3, 4]
    assert journal.last_step("is_history") == 2
    assert journal.last_step("is_picture") == -1


def test_an_incomplete_line_is_ignored_and_overwritten(journal):
    journal.add("tags", values={"a": "ä"})
    with (journal.folder / "journal.jsonl").open("a") as file:
        file.write('{"kind": "metr')
    assert kinds(journal) == ["tags"]
    # It does not count as pending either.
    journal.save_upload_state(UploadState("server", "run", next(offset for _, offset in journal.records())))
    assert journal.is_uploaded("server")
    journal.add("status", status="RUNNING")
    assert kinds(journal) == ["tags", "status"]
    (journal.folder / "journal.jsonl").write_text("half of the first")
    journal.add("tags", values={})
    assert kinds(journal) == ["tags"]


@pytest.fixture
def full_disk():
    """Limit the size of files: the kernel writes what fits, and then fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_fills_up_within_a_record_leaves_the_journal_unchanged(journal, full_disk):
    journal.add("tags", values={"a": "b"})
    before = (journal.folder / "journal.jsonl").read_bytes()
    full_disk(len(before) + 10)
    with pytest.raises(DiskFullError):
        journal.add("tags", values={"long": "x" * 100})
    full_disk(100_000)
    assert (journal.folder / "journal.jsonl").read_bytes() == before
    journal.add("status", status="RUNNING")
    assert kinds(journal) == ["tags", "status"]


def test_a_record_whose_fsync_fails_is_rolled_back(journal, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(journal_module.os, "fsync", fail)
    with pytest.raises(DataError, match="Input/output"):
        journal.add("tags", values={})
    assert kinds(journal) == []


def test_after_a_rollback_the_journal_is_read_from_the_start(journal):
    journal.add("tags", values={})
    journal.add("tags", values={"long": "x" * 50})
    *_, (_, end) = journal.records()
    first = next(offset for _, offset in journal.records())
    for size in (20, 100):
        # An upload has read the second record before it was rolled back.
        os.truncate(journal.folder / "journal.jsonl", first)
        journal.add("status", status="x" * size)
        assert kinds(journal, end) == ["tags", "status"]


def test_an_unreadable_line_hides_no_other(journal):
    journal.add("status", status="RUNNING")
    with (journal.folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"kind": "metr\n[1]\n\xff\n')
    journal.add("metrics", step=3, values={}, is_history=True)
    assert kinds(journal) == ["status", *["unreadable"] * 3, "metrics"]
    assert journal.last_step("is_history") == 3
    mark_killed_runs(journal.folder.parent)
    assert kinds(journal)[-1] == "status"


def test_a_record_and_its_attachments_are_stored_together_or_not_at_all(journal, tmp_path, full_disk):
    page = tmp_path / "page.html"
    page.write_text("page")
    journal.add("file", [page], folder="reports")
    ((record, _),) = journal.records()
    assert (journal.attachments(record) / "page.html").read_text() == "page"
    full_disk((journal.folder / "journal.jsonl").stat().st_size + 10)
    with pytest.raises(DiskFullError):
        journal.add("file", [page], folder="x" * 100)
    full_disk(100_000)
    with pytest.raises(FileNotFoundError):
        journal.add("file", [page, tmp_path / "missing"])
    assert kinds(journal) == ["file"]
    assert [kept.name for kept in (journal.folder / "files").iterdir()] == [record["file"]]


def test_replacing_a_file_does_not_change_the_attachment(journal, tmp_path):
    page, other = tmp_path / "page.html", tmp_path / "other"
    page.write_text("first")
    other.write_text("second")
    journal.add("file", [page], folder="reports")
    other.replace(page)
    ((record, _),) = journal.records()
    assert (journal.attachments(record) / "page.html").read_text() == "first"
    journal.remove_attachments(record)
    with pytest.raises(DataError, match=record["file"]):
        journal.attachments(record)


def test_folders_and_files_are_stored_together(journal, tmp_path):
    (tmp_path / "generator").mkdir()
    (tmp_path / "generator/weights").write_text("w")
    (tmp_path / "generator.onnx").write_text("o")
    journal.add("generator", [tmp_path / "generator", tmp_path / "generator.onnx"], name="faces")
    ((record, _),) = journal.records()
    assert (journal.attachments(record) / "generator/weights").read_text() == "w"
    assert (journal.attachments(record) / "generator.onnx").read_text() == "o"


def test_the_upload_state_is_that_of_one_server(journal):
    journal.add("tags", values={})
    end = next(offset for _, offset in journal.records())
    assert journal.stored_upload_state() is None
    journal.save_upload_state(UploadState("one", "run", end))
    assert journal.is_uploaded("one")
    assert journal.stored_upload_state() == UploadState("one", "run", end)
    assert journal.upload_state("other") == UploadState("other")
    assert not journal.is_uploaded("other")
    journal.add("tags", values={})
    assert not journal.is_uploaded("one")
    # A damaged state means that everything is uploaded again.
    (journal.folder / "sent.json").write_text("{")
    assert journal.upload_state("one") == UploadState("one")


def test_a_run_whose_process_died_is_marked_killed_once_and_an_open_run_is_not(journal):
    root = journal.folder.parent
    journal.add("status", status="RUNNING", time=1)
    journal.add("metrics", step=8, values={}, time=7)
    with journal.lock("writing") as is_free:
        assert is_free
        mark_killed_runs(root)
        assert kinds(journal) == ["status", "metrics"]
        with Journal(journal.folder).lock("writing") as is_free_for_another:
            assert not is_free_for_another
    mark_killed_runs(root)
    mark_killed_runs(root)
    assert kinds(journal) == ["status", "metrics", "status"]
    killed, _ = list(journal.records())[-1]
    assert (killed["status"], killed["time"]) == ("KILLED", 7)
    journal.add("status", status="FINISHED")
    # A thread may append after the final status.
    journal.add("metrics", step=9, values={})
    mark_killed_runs(root)
    assert kinds(journal)[-2:] == ["status", "metrics"]


def test_an_addition_has_its_own_journal_and_no_status(journal, identity):
    root = journal.folder.parent
    journal.add("tags", values={})
    addition = Journal.create(root, replace(identity, must_exist=True))
    addition.add("tags", values={})
    assert addition.folder != journal.folder
    assert kinds(journal) == ["tags"]
    mark_killed_runs(root)
    assert kinds(addition) == ["tags"]
    # The run comes first.
    assert [one.folder for one in Journal.find_all(root)] == [journal.folder, addition.folder]


def test_a_damaged_journal_does_not_block_others(journal):
    journal.add("tags", values={})
    for name, content in (("a", "{"), ("b", "{}")):
        folder = journal.folder.parent / name
        folder.mkdir()
        (folder / "run.json").write_text(content)
    assert [one.folder for one in Journal.find_all(journal.folder.parent)] == [journal.folder]


def test_a_journal_that_cannot_be_written_does_not_block_others(journal, identity):
    journal.add("status", status="RUNNING")
    second = Journal.create(journal.folder.parent, replace(identity, key="0" * 32, created=identity.created + 1))
    second.add("status", status="RUNNING")
    (journal.folder / "writing.lock").mkdir()
    mark_killed_runs(journal.folder.parent)
    assert kinds(journal) == ["status"]
    assert kinds(second) == ["status", "status"]
