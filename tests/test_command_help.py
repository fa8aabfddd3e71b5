"""The commands of `kedro dcgan` in this process: their help, and where `sample` writes."""

import click
import pytest
from click.testing import CliRunner
from networks import generator_config

from kedro_dcgan.cli import cli, generators, models
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.saved import TrainedGenerator, read_generator, snapshot_weights, write_generator
from kedro_dcgan.model.synthetic_marks import SyntheticMark, read_mark


def test_no_line_of_the_list_of_commands_is_cut():
    group = cli.commands["dcgan"]
    shown = CliRunner().invoke(group, ["--help"], terminal_width=80).output
    lines = shown.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == sorted(group.commands)
    assert [line for line in lines if line.endswith(("...", "…")) or not line.endswith(".")] == []


@pytest.mark.parametrize("name", sorted(cli.commands["dcgan"].commands))
def test_every_command_describes_itself_and_its_options(name):
    command = cli.commands["dcgan"].commands[name]
    assert command.help
    assert [option.name for option in command.params if isinstance(option, click.Option) and not option.help] == []
    assert CliRunner().invoke(command, ["--help"]).exit_code == 0


@pytest.fixture
def sample(tmp_path, monkeypatch):
    """A function that runs `kedro dcgan sample` in a project with a registered generator."""
    generator = build_generator(generator_config("dcgan", 16, 1, 3, 1))
    (tmp_path / "model").mkdir()
    write_generator(tmp_path / "model", TrainedGenerator(generator.config, snapshot_weights(generator), "0123", 64, {}))
    monkeypatch.setattr(
        generators, "current_generator", lambda env: (read_generator(tmp_path / "model"), "the last one")
    )
    monkeypatch.setattr(models, "project_folder", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(cli.commands["dcgan"], ["sample", "--count", "2", *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    return run


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_samples_go_to_the_data_folder_and_then_to_numbered_ones(sample, tmp_path):
    outputs = [sample() for _ in range(3)]
    folders = [tmp_path / "data/07_model_output" / name for name in ("sampled", "sampled-2", "sampled-3")]
    assert [str(folder) in output for folder, output in zip(folders, outputs, strict=True)] == [True] * 3
    assert [names(folder) for folder in folders] == [["00000.png", "00001.png"]] * 3


@pytest.mark.parametrize("given", ["samples", "samples/", "./samples", "samples.d/a b"])
def test_a_folder_with_files_is_never_changed(sample, tmp_path, given):
    folder = tmp_path / given
    folder.mkdir(parents=True)
    (folder / "00000.png").write_text("mine")
    sample("--output", given)
    assert names(folder) == ["00000.png"]
    assert (folder / "00000.png").read_text() == "mine"
    assert names(folder.with_name(f"{folder.name}-2")) == ["00000.png", "00001.png"]


def test_a_file_in_the_way_of_a_numbered_folder_is_skipped(sample, tmp_path):
    sample("--output", "samples")
    (tmp_path / "samples-2").write_text("mine")
    sample("--output", "samples")
    assert (tmp_path / "samples-2").read_text() == "mine"
    assert names(tmp_path / "samples-3") == ["00000.png", "00001.png"]


def test_an_empty_folder_is_used(sample, tmp_path):
    (tmp_path / "samples").mkdir()
    sample("--output", "samples")
    assert names(tmp_path / "samples") == ["00000.png", "00001.png"]


def test_samples_name_the_seed_and_number_from_which_they_are_made(sample, tmp_path):
    sample("--seed", "5", "--output", "samples")
    mark = SyntheticMark.of(read_generator(tmp_path / "model"))
    marks = [read_mark(tmp_path / "samples" / name) for name in names(tmp_path / "samples")]
    assert marks == [mark.of_image(5, 0), mark.of_image(5, 1)]
