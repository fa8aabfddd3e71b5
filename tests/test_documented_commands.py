"""Every command in the documentation is one that exists: its options, preset, pipelines, parameters and values.

Some of these commands are also run, by the tests of the README, of the experiments and of single commands.
"""

import importlib
import re
import shlex
import sys
from pathlib import Path

import click
import pytest
from kedro.framework.startup import bootstrap_project

from kedro_dcgan.cli import cli
from kedro_dcgan.config import read_parameters
from kedro_dcgan.config_loader import OneLineConfigLoader
from kedro_dcgan.errors import ParameterError
from kedro_dcgan.pipeline_registry import register_pipelines
from kedro_dcgan.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
OURS = ("kedro run ", "kedro dcgan ", "kedro-dcgan ", "python benchmarks/", "make ", "pytest ")
TARGETS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def commands_of(text):
    """Yield our commands in blocks of code and in code within sentences."""
    # Blocks in lists are indented.
    blocks = re.findall(r"^ *```(?:console|bash)?\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`((?:\$ )?(?:kedro|kedro-dcgan|python|make|pytest) [^`\n]+)`", text)
    for line in lines:
        for part in re.split(r" (?:\||·|&&?|;)(?: |$)", line.strip().removeprefix("$ ")):
            if f"{part} ".startswith(OURS):
                yield part


def is_literal(command):
    # `…` and words in capitals stand for something, and a sweep writes the preset `sweep`.
    return not re.search(r"…|\.\.\.|\b[A-Z]{3,}(_[A-Z]+)*\b|--env=sweep", command)


COMMANDS = sorted({command for page in PAGES for command in commands_of(page.read_text()) if is_literal(command)})


PARAMETERS = sorted(
    {
        given
        for page in PAGES
        for given in re.findall(
            r"`((?:ingestion|preprocessing|training|evaluation|export|sweep)\.[^`\n]+=[^`\n]+)`", page.read_text()
        )
        if is_literal(given)
    }
)


def check_kedro_run(words):
    context = cli.commands["run"].make_context("run", words)
    options = context.params
    loader = OneLineConfigLoader(
        str(ROOT / "conf"), options["env"], runtime_params=options["params"], **CONFIG_LOADER_ARGS
    )
    read_parameters(loader["parameters"], options["params"])
    known = register_pipelines()
    assert [name for name in options["pipelines"] or () if name not in known] == []


def check_dcgan(words):
    if not words:
        return
    name, *rest = words
    command = cli.commands["dcgan"].commands[name]
    context = command.make_context(name, rest)
    if env := context.params.get("env"):
        assert (ROOT / "conf" / env).is_dir()


def check_make(words):
    for word in words:
        name, _, value = word.partition("=")
        if name == "PRESET":
            assert (ROOT / "conf" / value).is_dir()
        elif not value:
            assert word in TARGETS


def check_pytest(words):
    assert [word for word in words if not word.startswith("-") and not (ROOT / word).exists()] == []


def check_benchmark(words, monkeypatch):
    script, *rest = words
    assert (ROOT / script).is_file()
    module = importlib.import_module(Path(script).stem)
    if hasattr(module, "read_arguments"):
        monkeypatch.setattr(sys, "argv", [script, *rest])
        module.read_arguments()


@pytest.fixture(scope="module", autouse=True)
def project():
    bootstrap_project(ROOT)


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_command_exists(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    program, *words = shlex.split(command, comments=True)
    # Archives of `conf` exist only where the package is installed.
    words = [word for word in words if not word.startswith("--conf-source")]
    if program == "make":
        check_make(words)
    elif program == "pytest":
        check_pytest(words)
    elif program == "python":
        check_benchmark(words, monkeypatch)
    elif words[:1] == ["dcgan"]:
        check_dcgan(words[1:])
    elif words[:1] and words[0] in cli.commands["dcgan"].commands:
        check_dcgan(words)
    else:
        check_kedro_run(words[1:] if words[:1] == ["run"] else words)


@pytest.mark.parametrize("words", [["tests"], ["run", "PRESET=smokes"]])
def test_mistakes_in_documented_make_commands_are_found(words):
    with pytest.raises(AssertionError):
        check_make(words)


@pytest.mark.parametrize("given", PARAMETERS)
def test_documented_parameter_exists(given, monkeypatch):
    monkeypatch.chdir(ROOT)
    check_kedro_run(["--params", given])


@pytest.mark.parametrize(
    "words",
    [
        ["--params", "training.epoch=10"],
        ["--params", "training.epochs=-1"],
        ["--env=images65"],
        ["--pipelines=sweeps"],
        ["--nods=train_generator"],
    ],
)
def test_mistakes_in_documented_commands_are_found(words, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises((ParameterError, click.ClickException, AssertionError)):
        check_kedro_run(words)
