"""The commands of the README and of the tutorial work, in their order, as a reader types them.

`make run` uses the smoke preset and this environment, and budgets last seconds.
"""

import json
import os
import re
import signal
import sys

import pytest
from PIL import Image
from preloaded_kedro import preloaded_kedro
from projects import ROOT, copy_project, forked_kedro
from servers import free_port
from sklearn.datasets import load_sample_images

pytestmark = pytest.mark.slow

PAGES = ("README.md", "docs/tutorial/first-run.md", "docs/tutorial/your-own-images.md")
README = (ROOT / "README.md").read_text()


def console_blocks(page):
    return re.findall(r"```console\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


def commands_of(page):
    lines = [line for block in console_blocks(page) for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ") and "git clone" not in line]


# The pages one after another; the README's `make run` is the tutorial's, too.
STEPS = [(page, command) for page in PAGES for command in commands_of(page)]
STEPS.remove(("docs/tutorial/first-run.md", "make run"))
COMMANDS = [command for _, command in STEPS]
PORT = free_port()
# The tests would start themselves and the servers would not end: make only prints its commands, and `serve` runs in
# the background until it answers.
REPLACED = {
    "make test": "make --dry-run test",
    "make ui": "make --dry-run ui",
    "kedro dcgan serve": f"""
        kedro dcgan serve --port {PORT} > serve.log 2>&1 & echo $! > serve.pid
        for attempt in $(seq 200); do curl -sf http://127.0.0.1:{PORT}/ping > served.json && exit; sleep 0.2; done
        cat serve.log; exit 1""",
}


def shortened(command):
    """Return what the tests run instead of a command: a budget of minutes becomes one of seconds."""
    command = re.sub(r"budget=(\d+)m", r"budget=\1s", command).replace(":5001/", f":{PORT}/")
    return REPLACED.get(command, command)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A fresh copy, with a folder of photos in the home directory beside it."""
    folder = tmp_path_factory.mktemp("tutorial")
    project = copy_project(folder / "kedro-dcgan")
    photos = folder / "photos"
    photos.mkdir()
    for number, photo in enumerate(load_sample_images().images * 30):
        Image.fromarray(photo[number : number + 300, number : number + 300]).save(photos / f"{number}.jpg")
    # The smoke preset registers the model under the name that the pages use.
    export = project.path / "conf/smoke/parameters_export.yml"
    export.write_text(export.read_text().replace("dcgan-{source}-smoke", "dcgan-{source}"))
    # Photos are trained with their own preset: keep its format, but evaluate and export as shortly as the smoke preset.
    for name in ("training", "evaluation", "export"):
        settings = (project.path / f"conf/smoke/parameters_{name}.yml").read_text()
        (project.path / f"conf/images64/parameters_{name}.yml").write_text(settings)
    # Use the environment of this test, even if the lock file is newer.
    (project.path / ".venv").symlink_to(sys.prefix)
    (project.path / "ready").touch()
    yield project
    if (project.path / "serve.pid").exists():
        os.kill(int((project.path / "serve.pid").read_text()), signal.SIGTERM)


@pytest.fixture(scope="module")
def results(project):
    """The results of all steps, in order."""
    # `.ci/run` tests `make run` with the real `kedro`.
    make = f"READY=ready PRESET=smoke BIN={preloaded_kedro().folder}"
    variables = {"HOME": str(project.path.parent), "KEDRO_ENV": "smoke", "MAKEFLAGS": make, **forked_kedro()}
    return [project.run("bash", "-c", shortened(command), check=False, **variables) for command in COMMANDS]


@pytest.mark.parametrize("step", range(len(STEPS)), ids=lambda step: ": ".join(STEPS[step]))
def test_command_works(results, step):
    assert results[step].returncode == 0, results[step].stdout + results[step].stderr


def test_readme_shows_the_output_lines_of_make_run(results):
    block = next(block for block in console_blocks("README.md") if "$ make run" in block)
    shown = block.split("$ make run\n")[1].split("\n$ ")[0]
    labels = [line.split()[0] for line in shown.splitlines() if line and line[0] not in " .…"]
    real = [
        line.split()[0] for line in results[COMMANDS.index("make run")].stdout.splitlines() if line and line[0] != " "
    ]
    assert [label for label in labels if label != "environment"] == real


def test_the_tutorial_ends_with_two_compared_models_and_a_served_one(results, project):
    last = max(step for step, command in enumerate(COMMANDS) if command == "kedro dcgan compare")
    assert {"images64-2s", "images64-15s"} <= set(re.findall(r"images64-\w+", results[last].stdout))
    assert json.loads((project.path / "served.json").read_text())["model"] == "dcgan-photos"
    with Image.open(project.path / "data/07_model_output/image.png") as image:
        assert (image.size, image.mode) == ((64, 64), "RGB")


def test_own_photos_are_trained_in_colour():
    commands = [command for command in COMMANDS if command.startswith("kedro run") and "~/photos" in command]
    assert commands
    assert [command for command in commands if "--env=images64" not in command] == []


def test_files_linked_in_the_readme_exist():
    links = re.findall(r"\]\(([^)#]+)", README) + re.findall(r'src="([^"]+)"', README)
    assert links
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []
