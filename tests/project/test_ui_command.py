"""`kedro dcgan ui`: what it prints, how it starts MLflow, and a port that is in use."""

import socket
import subprocess
import sys

import mlflow
import psutil
import pytest
from click.testing import CliRunner
from kedro.framework.project import settings
from projects import copy_project
from servers import free_port, wait_until

from kedro_dcgan.cli import dcgan, tracking
from kedro_dcgan.tracking import experiment


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("ui") / "kedro-dcgan")


@pytest.fixture
def ui(project, monkeypatch):
    """Run the command in a project without its server; return the result and the server's arguments and variables."""
    started = []

    def call(command, env):
        started.append((command, env))
        raise KeyboardInterrupt

    monkeypatch.setattr(tracking, "_run_server", call)
    # tests/tracking/test_experiment.py tests the view.
    monkeypatch.setattr(experiment, "write_view", lambda tracking: f"/#/{tracking.experiment}")
    monkeypatch.chdir(project.path)
    settings.configure("kedro_dcgan.settings")
    yield lambda *arguments: (CliRunner().invoke(dcgan, ["ui", *arguments]), started)
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


def test_address_and_the_way_to_stop_are_printed_and_one_quiet_worker_starts(ui):
    port = free_port()
    result, [(command, variables)] = ui("--port", str(port))
    # Ctrl-C is the way to stop it, not a failure.
    assert (result.exit_code, result.stderr) == (0, "")
    address, stop = result.stdout.splitlines()
    assert address.startswith(f"http://127.0.0.1:{port}/#/dcgan ")
    assert "Ctrl-C" in stop
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--workers") + 1] == "1"
    assert "deprecated" in variables["PYTHONWARNINGS"]


def test_port_in_use_is_an_error_with_the_address_and_another_port(ui):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result, started = ui("--port", str(port))
    assert (result.exit_code, started) == (1, [])
    assert f"http://127.0.0.1:{port}/#/dcgan" in result.stderr
    assert f"--port {port + 1}" in result.stderr


def test_a_killed_command_ends_all_processes_of_its_server():
    worker = "import subprocess; p = subprocess.Popen(['sleep', '300']); print(p.pid, flush=True); p.wait()"
    code = "import sys; from kedro_dcgan.cli import tracking; tracking._run_server(sys.argv[1:], None)"
    words = [sys.executable, "-c", code, sys.executable, "-c", worker]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as command:
        process = psutil.Process(int(command.stdout.readline()))
        command.terminate()
        command.wait(30)
        wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 10)
