"""The tag `git_dirty`: whether files that can change a run differ from the commit."""

import subprocess

import pytest

from kedro_dcgan.hooks.lineage import code_tags


@pytest.fixture
def project(tmp_path):
    for name in ("src/train.py", "conf/base/parameters.yml", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("committed")
    (tmp_path / ".gitignore").write_text("conf/local/**\n")
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def write(project, name):
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text("new")
    return code_tags(project)["git_dirty"]


@pytest.mark.parametrize("name", ["samples/00000.png", "notes.txt", "conf/local/credentials.yml"])
def test_new_files_that_cannot_change_a_run_leave_it_clean(project, name):
    assert write(project, name) == "false"


@pytest.mark.parametrize("name", ["src/train.py", "README.md", "src/new.py", "conf/mine/parameters.yml"])
def test_changed_files_and_new_code_or_configuration_make_it_dirty(project, name):
    assert code_tags(project)["git_dirty"] == "false"
    assert write(project, name) == "true"


def test_a_deleted_or_staged_file_makes_it_dirty(project):
    (project / "README.md").unlink()
    assert code_tags(project)["git_dirty"] == "true"


def test_a_folder_without_git_has_no_tags(tmp_path):
    assert code_tags(tmp_path) == {}
