"""The installed package without the project: the wheel, its commands, and what `kedro` does in other folders."""

import contextlib
import socket
import subprocess
import sys
import sysconfig
import tarfile
import threading

import pytest
import yaml
from preloaded_kedro import preloaded_kedro
from projects import ROOT, Project, command_environment

# More real images only take longer.
QUICK = "evaluation.real_images=100"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The configuration as `kedro package` stores it."""
    path = tmp_path_factory.mktemp("archive") / "conf-kedro_dcgan.tar.gz"
    with tarfile.open(path, "w:gz") as members:
        members.add(ROOT / "conf", "conf", filter=lambda one: None if "/local/" in one.name else one)
    return path


def package(folder, *arguments, check=True):
    """Run the package as a module in a folder that is no project."""
    outside = {"PYTHONPATH": str(ROOT / "src")}
    return Project(folder).run(sys.executable, "-m", "kedro_dcgan", *arguments, check=check, **outside)


def test_conf_of_the_working_directory_is_used(tmp_path):
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    values = yaml.safe_load(package(tmp_path, "parameters", "--env=smoke").stdout)
    assert values["training"]["epochs"] == 1
    assert values["ingestion"]["source"] == "data/01_raw/digits"


def test_archive_of_the_configuration_is_used_with_its_presets(tmp_path, archive):
    result = package(tmp_path, "parameters", "--env=faces64", "--conf-source", str(archive))
    assert yaml.safe_load(result.stdout)["preprocessing"]["image_size"] == 64


def test_installed_package_logs_like_the_project():
    own, project = (
        yaml.safe_load((ROOT / path).read_text()) for path in ("src/kedro_dcgan/logging.yml", "conf/logging.yml")
    )
    assert own == project


def test_options_alone_mean_run_and_need_a_configuration(tmp_path):
    result = package(tmp_path, "--env=smoke", check=False)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert f"{tmp_path}/conf" in result.stderr
    assert "--conf-source" in result.stderr


@pytest.mark.parametrize("command", ["run", "dcgan parameters"])
def test_faults_of_the_conf_source_are_one_line(tmp_path, archive, command):
    (broken := tmp_path / "broken.tar.gz").write_bytes(b"no archive")
    (folder := tmp_path / "conf").mkdir()
    for options, fact in (
        ([f"--conf-source={archive}", "--env=faces46"], "faces46"),
        ([f"--conf-source={broken}", "--env=smoke"], str(broken)),
        (["--env=smoke", f"--conf-source={folder}"], str(folder)),
    ):
        result = Project(ROOT).kedro(*command.split(), *options, check=False)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert fact in result.stderr


@pytest.fixture
def proxy():
    """The address of a proxy for all protocols, and the requests that it has received."""
    requests = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection = listener.accept()[0]
                requests.append(connection.recv(1000))
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests


def outside(folder, *arguments, **environment):
    return Project(folder).run(str(preloaded_kedro().program), *arguments, check=False, HOME=str(folder), **environment)


def test_kedro_sends_nothing_outside_of_the_project(tmp_path, proxy):
    address, requests = proxy
    variables = {"HTTPS_PROXY": address, "HTTP_PROXY": address, "NO_PROXY": "", "no_proxy": ""}
    assert outside(tmp_path, "info", **variables).returncode == 0
    assert requests == []
    # Without our entry point, it would send: an empty value counts as enabled by the user.
    outside(tmp_path, "info", KEDRO_DISABLE_TELEMETRY="", DO_NOT_TRACK="", **variables)
    assert b"heapanalytics" in requests[0]


@pytest.mark.parametrize("arguments", [["describe"], ["sample", "--help"], []])
def test_dcgan_outside_of_the_project_says_so_in_one_line(tmp_path, arguments):
    result = outside(tmp_path, "dcgan", *arguments)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert str(tmp_path) in result.stderr
    assert "project" in result.stderr


def test_unknown_command_and_help_outside_of_the_project_are_those_of_kedro(tmp_path):
    assert outside(tmp_path, "nothing").returncode == 2
    listed = outside(tmp_path, "--help")
    assert listed.returncode == 0
    assert "dcgan" not in listed.stdout


def test_copy_of_the_project_runs_its_own_code(empty_project):
    # Kedro loads our entry points before it finds the project.
    file = empty_project.path / "src/kedro_dcgan/cli/local.py"
    file.write_text(file.read_text().replace("Print both networks", "Of the copy: print both networks"))
    assert "Of the copy" in empty_project.kedro("dcgan", "--help").stdout


@pytest.mark.slow
def test_wheel_runs_in_an_empty_environment_with_the_archive(tmp_path, empty_project, archive):
    empty_project.run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path))
    (wheel,) = tmp_path.glob("*.whl")
    empty_project.run(sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv"))
    # The dependencies of this environment, without its editable install, which the wheel hides.
    place = tmp_path / "venv" / sysconfig.get_path("purelib").removeprefix(f"{sys.prefix}/")
    (place / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    installed = {"VIRTUAL_ENV": str(tmp_path / "venv")}
    empty_project.run("uv", "pip", "install", "--offline", "--no-deps", str(wheel), **installed)
    folder = tmp_path / "empty"
    folder.mkdir()
    environment = {key: value for key, value in command_environment().items() if key != "PYTHONPATH"}

    def run(*command):
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    bin_folder, conf = tmp_path / "venv/bin", f"--conf-source={archive}"
    location = run(str(bin_folder / "python"), "-c", "import kedro_dcgan; print(kedro_dcgan.__file__)")
    assert location.startswith(str(place))
    output = run(str(bin_folder / "python"), "-m", "kedro_dcgan", conf, "--env=smoke", "--params", QUICK)
    assert output.startswith("ingestion     1,797 images")
    assert "registered    " in output
    assert f"kedro-dcgan ui {conf}" in output
    for made in ("data/08_reporting/evaluation.html", "data/07_model_output/generator.onnx", "mlflow.db"):
        assert (folder / made).is_file()
    program = str(bin_folder / "kedro-dcgan")
    # The package and its metadata have one version.
    assert run(program, "--version").split() == ["kedro-dcgan", wheel.name.split("-")[1]]
    run(program, "sample", conf, "--env=smoke", "--model=dcgan-digits-smoke@candidate", "--output=drawn")
    assert len(list((folder / "drawn").iterdir())) == 16
    run(program, "explore", conf, "--env=smoke", "--output=explorer.html")
    assert (folder / "explorer.html").stat().st_size > 4_000_000
    assert "Generator" in run(program, "describe", conf)
