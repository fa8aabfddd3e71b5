"""Attachments: the files of records that are not uploaded yet."""

import pytest

from kedro_dcgan.errors import DataError
from kedro_dcgan.tracking.attachments import Attachments


@pytest.fixture
def attachments(tmp_path):
    return Attachments(tmp_path / "files")


def test_replacing_a_file_does_not_change_the_attachment(attachments, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("first")
    name = attachments.add([page])
    other = tmp_path / "other"
    other.write_text("second")
    other.replace(page)
    assert attachments.file(name).read_text() == "first"
    attachments.remove(name)
    with pytest.raises(DataError, match=name):
        attachments.file(name)


def test_folders_and_files_are_stored_together(attachments, tmp_path):
    (tmp_path / "generator").mkdir()
    (tmp_path / "generator/weights").write_text("w")
    (tmp_path / "generator.onnx").write_text("o")
    folder = attachments.folder(attachments.add([tmp_path / "generator", tmp_path / "generator.onnx"]))
    assert (folder / "generator/weights").read_text() == "w"
    assert (folder / "generator.onnx").read_text() == "o"
