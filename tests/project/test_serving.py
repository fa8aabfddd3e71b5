"""The champion is served over HTTP, and its model loads without Kedro."""

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request

import psutil
import pytest
from image_server import show_images
from PIL import Image
from projects import ROOT, command_environment
from servers import free_port, wait_until

from kedro_dcgan.datasets import TrainedGeneratorDataset
from kedro_dcgan.model.image_requests import answer_requests, read_requests
from kedro_dcgan.model.sampling import generate_all, sample_inputs
from kedro_dcgan.model.synthetic_marks import SyntheticMark

pytestmark = pytest.mark.slow

MODEL = "dcgan-digits-smoke@champion"
PAGE = (ROOT / "docs/how-to/serve.md").read_text()


@pytest.fixture(scope="module")
def server(trained_project):
    """The address and process id of `kedro dcgan serve`."""
    port = free_port()
    with subprocess.Popen(
        ["kedro", "dcgan", "serve", "--model", MODEL, "--port", str(port)],
        cwd=trained_project.path,
        env=command_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        wait_until(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1).status == 200, 90)
        yield f"http://127.0.0.1:{port}/invocations", process.pid
        os.killpg(process.pid, signal.SIGTERM)


def ask(server, body):
    """Return the status and the JSON answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(server[0], data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_served_model_generates_the_same_images(server, trained_project):
    trained = TrainedGeneratorDataset(trained_project.path / "data/07_model_output/generator").load()
    latents = sample_inputs(3, trained.config, 5)
    generator = trained.build()
    mark = SyntheticMark.of(trained, f"{MODEL.partition('@')[0]} v1")
    for rows in ([{"seed": 5, "count": 3}], [{"latents": one} for one in latents.tolist()]):
        status, answer = ask(server, {"dataframe_records": rows})
        assert status == 200
        # Bit for bit, in another process.
        expected = list(answer_requests(generator, read_requests(rows, trained.config), mark))
        assert [tuple(row.values()) for row in answer["predictions"]] == expected
        assert show_images([png for _, _, png in expected], generate_all(generator, latents))


@pytest.mark.parametrize(
    ("body", "fact"), [({"dataframe_records": [{"seed": -1}]}, "`seed` of row 0"), (b"no JSON", "valid JSON")]
)
def test_bad_request_gets_status_400_and_a_message(server, body, fact):
    # tests/model/test_image_requests.py has the others.
    status, answer = ask(server, body)
    assert status == 400
    assert fact in answer["message"]


def test_documented_curl_command_writes_an_image(server, tmp_path):
    (line,) = [line for line in PAGE.splitlines() if line.startswith("$ curl -s http://127.0.0.1:5001/invocations")]
    command = line.removeprefix("$ ").replace("http://127.0.0.1:5001/invocations", server[0])
    subprocess.run(["bash", "-c", command], cwd=tmp_path, env=command_environment(), check=True)
    assert Image.open(tmp_path / "image.png").size == (32, 32)


def test_server_listens_only_on_localhost(server):
    processes = [psutil.Process(server[1]), *psutil.Process(server[1]).children(recursive=True)]
    listening = [one for process in processes for one in process.net_connections() if one.status == "LISTEN"]
    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}


def test_registered_model_loads_without_kedro_and_the_installed_package(trained_project):
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('kedro', 'kedro_datasets', 'dvc', 'click_default_group', 'psutil'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import mlflow, pandas\n"
        f"mlflow.set_tracking_uri('sqlite:///{trained_project.path}/mlflow.db')\n"
        f"model = mlflow.pyfunc.load_model('models:/{MODEL}')\n"
        "assert len(model.predict(pandas.DataFrame({'seed': [1], 'count': [2]}))) == 2\n"
        "import kedro_dcgan\n"
        "print(kedro_dcgan.__file__)\n"
    )
    quiet = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "PYTHONWARNINGS": "ignore"}
    loaded_from = trained_project.run("python", "-c", code, **quiet).stdout.strip()
    # The code logged with the model is used, not the installed package.
    assert "/mlartifacts/" in loaded_from
