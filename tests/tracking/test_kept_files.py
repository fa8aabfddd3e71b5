"""Files that wait to be sent."""

import pytest

from kedro_dcgan.errors import DataError
from kedro_dcgan.tracking.journal_files import KeptFiles


@pytest.fixture
def files(tmp_path):
    return KeptFiles(tmp_path / "kept")


def test_a_file_is_kept_as_it_was_whatever_takes_its_place(files, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("first")
    name = files.keep([page])
    other = tmp_path / "other"
    other.write_text("second")
    other.replace(page)
    assert files.file(name).read_text() == "first"
    files.drop(name)
    with pytest.raises(DataError, match="must be there to be sent"):
        files.file(name)


def test_folders_and_files_are_kept_together(files, tmp_path):
    (tmp_path / "generator").mkdir()
    (tmp_path / "generator/weights").write_text("w")
    (tmp_path / "generator.onnx").write_text("o")
    kept = files.folder(files.keep([tmp_path / "generator", tmp_path / "generator.onnx"]))
    assert (kept / "generator/weights").read_text() == "w"
    assert (kept / "generator.onnx").read_text() == "o"
