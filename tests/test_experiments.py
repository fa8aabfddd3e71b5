"""Paths that outlive the copies of the project in which DVC runs experiments, and stages that end with their `dvc`."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kedro_dcgan.experiments import checkpoint_folder, in_project, is_in_copy

CHECKPOINTS = "data/06_models/checkpoints"


@pytest.mark.parametrize("path", [Path("/p") / CHECKPOINTS, Path(CHECKPOINTS), Path("/p/.dvc/tmp/exps")])
def test_paths_outside_of_copies_stay(path):
    assert in_project(path) == checkpoint_folder(path) == path
    assert not is_in_copy(path)


@pytest.mark.parametrize("copies", [".dvc/tmp/exps", ".dvc/tmp/exps/standalone"])
@pytest.mark.parametrize("dvc_root", [".", "sub"])
@pytest.mark.parametrize("project", [".", "sub"])
def test_files_of_copies_have_a_place_in_the_project(tmp_path, copies, dvc_root, project):
    # DVC copies the git repository. `.dvc` may be in a folder of it, and so may the project.
    (tmp_path / ".git").mkdir()
    copy = tmp_path / dvc_root / copies / "tmpx1" / project
    assert in_project(copy) == tmp_path / project
    assert in_project(copy / CHECKPOINTS) == tmp_path / project / CHECKPOINTS
    assert checkpoint_folder(copy / CHECKPOINTS) == tmp_path / project / "data/06_models/experiments"
    assert is_in_copy(copy / CHECKPOINTS)


def test_copies_are_recognised_in_relative_paths(tmp_path, monkeypatch):
    copy = tmp_path / ".dvc/tmp/exps/tmpx1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert in_project(Path(CHECKPOINTS)) == tmp_path / CHECKPOINTS


STAGE = """if True:
    import signal, sys, time
    from kedro_dcgan.experiments import stop_with_dvc
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(open(sys.argv[1], "w").write("stopped")))
    stop_with_dvc(seconds=0.05)
    print("ready", flush=True)
    time.sleep(30)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("launcher", ["dvc", "dvc with a shell", "another program"])
def test_a_stage_stops_when_its_dvc_is_killed(tmp_path, launcher):
    script, ended = tmp_path / ("program" if launcher == "another program" else "dvc"), tmp_path / "ended"
    is_shell = launcher == "dvc with a shell"
    # The second command keeps the shell from replacing itself by the first.
    command = ["sh", "-c", '"$@"; true', "sh"] if is_shell else []
    script.write_text("import subprocess, sys\nsubprocess.run(sys.argv[1:])\n")
    arguments = [sys.executable, script, *command, sys.executable, "-c", STAGE, ended]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as dvc:
        assert dvc.stdout.readline() == "ready\n"
        time.sleep(0.3)
        assert not ended.exists()
        os.kill(dvc.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while not ended.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert ended.exists()
