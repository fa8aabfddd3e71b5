"""The commands in the README work. `make run` uses the smoke preset and this environment."""

import re
import sys

import pytest
from PIL import Image
from preloaded_kedro import preloaded_kedro
from projects import ROOT, copy_project, forked_kedro
from sklearn.datasets import load_sample_images

pytestmark = pytest.mark.slow

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line.removeprefix("$ ") for block in BLOCKS for line in block.splitlines() if line.startswith("$ ")]
# The tests would start themselves and the UI would not end, so make only prints these commands.
REPLACED = {"make test": "make --dry-run test", "make ui": "make --dry-run ui"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Run all commands in order, in one fresh copy, with a folder of photos in the home directory."""
    folder = tmp_path_factory.mktemp("readme")
    project = copy_project(folder / "kedro-dcgan")
    photos = folder / "photos"
    photos.mkdir()
    for number, photo in enumerate(load_sample_images().images * 30):
        Image.fromarray(photo[number : number + 300, number : number + 300]).save(photos / f"{number}.jpg")
    # The smoke preset registers the model under the name that the README uses.
    export = project.path / "conf/smoke/parameters_export.yml"
    export.write_text(export.read_text().replace("dcgan-{source}-smoke", "dcgan-{source}"))
    # Photos are trained with their own preset: keep its format, but train as shortly as the smoke preset.
    for name in ("training", "evaluation", "export"):
        settings = (project.path / f"conf/smoke/parameters_{name}.yml").read_text()
        (project.path / f"conf/images64/parameters_{name}.yml").write_text(settings)
    # Use the environment of this test, even if the lock file is newer.
    (project.path / ".venv").symlink_to(sys.prefix)
    (project.path / "ready").touch()
    # `.ci/run` tests `make run` with the real `kedro`.
    make = f"READY=ready PRESET=smoke BIN={preloaded_kedro().folder}"
    variables = {"HOME": str(folder), "KEDRO_ENV": "smoke", "MAKEFLAGS": make, **forked_kedro()}
    outputs = {}
    for command in COMMANDS:
        if not command.startswith("git clone"):
            outputs[command] = project.run("bash", "-c", REPLACED.get(command, command), **variables)
    return outputs


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_command_works(results, command):
    if not command.startswith("git clone"):
        assert results[command].returncode == 0


def test_readme_shows_the_output_lines_of_make_run(results):
    block = next(block for block in BLOCKS if "$ make run" in block)
    shown = block.split("$ make run\n")[1].split("\n$ ")[0]
    labels = [line.split()[0] for line in shown.splitlines() if line and line[0] not in " .…"]
    real = [line.split()[0] for line in results["make run"].stdout.splitlines() if line and line[0] != " "]
    assert [label for label in labels if label != "environment"] == real


def test_evaluate_images_compares_digits_with_digits():
    commands = [command for command in COMMANDS if "evaluate-images" in command]
    assert [command.split()[-4:] for command in commands] == [
        ["--real", "data/01_raw/digits", "--generated", "data/07_model_output/digits"]
    ]
    # The samples are those of the digits: own images are trained later.
    own = next(index for index, command in enumerate(COMMANDS) if "~/photos" in command)
    assert COMMANDS.index(commands[0]) < own
    assert [index for index, command in enumerate(COMMANDS) if command.startswith("kedro dcgan sample")] < [own]


def test_own_photos_are_trained_in_colour():
    commands = [command for command in COMMANDS if command.startswith("kedro run") and "~/photos" in command]
    assert commands
    assert [command for command in commands if "--env=images64" not in command] == []


def test_files_linked_in_the_readme_exist():
    links = re.findall(r"\]\(([^)#]+)", README) + re.findall(r'src="([^"]+)"', README)
    assert links
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []
