"""A copy of a trained project, which is how a project on another disk or machine begins."""

import shutil

import pytest
from PIL import Image
from projects import Project

pytestmark = pytest.mark.slow


def files_of(project):
    """Return the files with the time of their last change, except compiled code."""
    files = [path for path in project.path.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return {path: path.stat().st_mtime_ns for path in files}


def test_commands_in_a_copy_use_its_own_files_and_leave_the_original_as_it_is(trained_project, tmp_path):
    copy = Project(tmp_path / "copy")
    shutil.copytree(trained_project.path, copy.path)
    before = files_of(trained_project)
    copy.path.rename(tmp_path / "copy, moved")
    copy = Project(tmp_path / "copy, moved")
    registered = copy.kedro("dcgan", "sample", "--model=dcgan-digits-smoke@candidate", "--output=registered")
    assert "model: dcgan-digits-smoke v1 (candidate, champion)" in registered.stdout
    copy.kedro("dcgan", "sample", "--output=exported")
    # Equal pixels: the marks differ, because only one of the generators has a registered version.
    images = [
        {path.name: Image.open(path).tobytes() for path in (copy.path / name).glob("*.png")}
        for name in ("registered", "exported")
    ]
    assert images[0]
    assert images[0] == images[1]
    # The same generator is not registered again; its files go to the run's folder in the copy. Another test may have
    # evaluated it with another protocol.
    exported = copy.kedro("run", "--env=smoke", "--pipelines=evaluation,export")
    assert "registered    dcgan-digits-smoke v1 (candidate, champion): " in exported.stdout
    assert "kedro dcgan sample --count 16" in exported.stdout
    started = (copy.path / "exported").stat().st_mtime_ns
    written = [path for path, changed in files_of(copy).items() if changed > started]
    assert any(path.is_relative_to(copy.path / "mlartifacts") for path in written)
    assert files_of(trained_project) == before
