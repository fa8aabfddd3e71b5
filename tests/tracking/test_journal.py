"""What a run has to tell, on this disk."""

import pytest

from kedro_dcgan.tracking.journal import Journal, Sent
from kedro_dcgan.tracking.run import mark_killed
from kedro_dcgan.tracking.settings import masked


@pytest.fixture
def journal(tmp_path, identity):
    made = Journal.of(tmp_path / "journals", identity.key)
    made.begin(identity)
    return made


def kinds(journal, offset=0):
    return [record["kind"] for record, _ in journal.records(offset)]


def test_records_come_back_in_order_and_from_any_offset(journal):
    for number in range(5):
        journal.add("metrics", step=number, values={"loss": number / 3})
    assert [(record["step"], record["values"]["loss"]) for record, _ in journal.records()] == [
        (number, number / 3) for number in range(5)
    ]
    behind = [offset for _, offset in journal.records()][2]
    assert [record["step"] for record, _ in journal.records(behind)] == [3, 4]
    assert journal.last_record()["step"] == 4


def test_half_a_line_is_no_record_and_is_removed_by_the_next_writer(journal):
    journal.add("tags", values={"a": "ä"})
    with (journal.folder / "journal.jsonl").open("a") as file:
        file.write('{"kind": "metr')
    assert kinds(journal) == ["tags"]
    assert journal.last_record()["kind"] == "tags"
    with journal.written() as is_free:
        assert is_free
        journal.add("status", status="RUNNING")
    assert kinds(journal) == ["tags", "status"]


def test_a_file_is_kept_as_it_was_whatever_takes_its_place(journal, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("first")
    name = journal.keep(page)
    other = tmp_path / "other"
    other.write_text("second")
    other.replace(page)
    assert journal.kept_file(name).read_text() == "first"
    journal.drop(name)
    assert not journal.kept(name).exists()


def test_folders_and_files_are_kept_together(journal, tmp_path):
    (tmp_path / "generator").mkdir()
    (tmp_path / "generator/weights").write_text("w")
    (tmp_path / "generator.onnx").write_text("o")
    kept = journal.kept(journal.keep(tmp_path / "generator", tmp_path / "generator.onnx"))
    assert (kept / "generator/weights").read_text() == "w"
    assert (kept / "generator.onnx").read_text() == "o"


def test_another_server_has_nothing(journal):
    journal.add("tags", values={})
    end = next(offset for _, offset in journal.records())
    journal.note_sent(Sent("one", "run", end, ("said",)))
    assert journal.is_all_sent("one")
    assert journal.sent("other") == Sent("other")
    assert not journal.is_all_sent("other")
    assert journal.take_answers("one") == ("said",)
    assert journal.take_answers("one") == ()
    journal.add("tags", values={})
    assert not journal.is_all_sent("one")


def test_a_run_whose_process_is_gone_is_killed_once_and_one_that_is_written_is_left_alone(journal, identity):
    root = journal.folder.parent
    journal.add("status", status="RUNNING", time=1)
    journal.add("metrics", step=8, values={}, time=7)
    with journal.written():
        mark_killed(root)
        assert kinds(journal) == ["status", "metrics"]
    mark_killed(root)
    mark_killed(root)
    assert kinds(journal) == ["status", "metrics", "status"]
    assert (journal.last_record()["status"], journal.last_record()["time"]) == ("KILLED", 7)
    journal.add("status", status="FINISHED")
    mark_killed(root)
    assert journal.last_record()["status"] == "FINISHED"


def test_a_damaged_journal_stops_no_other(journal, tmp_path):
    journal.add("tags", values={})
    for name, content in (("a", "{"), ("b", "{}")):
        folder = journal.folder.parent / name
        folder.mkdir()
        (folder / "run.json").write_text(content)
    assert [one.folder for one in Journal.all_in(journal.folder.parent)] == [journal.folder]
    (journal.folder / "journal.jsonl").write_text("no JSON\n")
    assert Journal.all_in(journal.folder.parent) == []


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql+psycopg2://me:s%40cret@host:5432/db", "postgresql+psycopg2://me:***@host:5432/db"),
        ("cannot reach https://me:secret@host/x: refused", "cannot reach https://me:***@host/x: refused"),
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_passwords_are_not_shown(address, shown):
    assert masked(address) == shown
