"""`kedro dcgan interpolate`, `directions`, `invert` and `explore` in this process, with a small generator."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from networks import generator_config
from PIL import Image
from projects import ROOT

from kedro_dcgan.cli import cli, generators, latents, models
from kedro_dcgan.config import PreprocessingParameters
from kedro_dcgan.evaluation.verdict import COPIES_NOTICE
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.sampling import generate_all, sample_inputs
from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights
from kedro_dcgan.model.synthetic_marks import SyntheticMark, read_mark


@pytest.fixture
def generator():
    network = build_generator(generator_config("dcgan", 16, 1, 3, 2))
    for weight in network.parameters():
        torch.nn.init.normal_(weight, 0, 0.5, generator=torch.Generator().manual_seed(0))
    return network


@pytest.fixture
def trained(generator):
    return TrainedGenerator(generator.config, snapshot_weights(generator), "0123", 64, {"training_id": "fedcba987654"})


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    """A function that runs a command in a folder that is the project, and returns its output."""
    monkeypatch.setattr(generators, "current_generator", lambda env: (trained, "the last one"))
    for module in (latents, models):
        monkeypatch.setattr(module, "project_folder", lambda: tmp_path)
    values = yaml.safe_load((ROOT / "conf/base/parameters_preprocessing.yml").read_text())["preprocessing"]
    preprocessing = PreprocessingParameters.model_validate(values)
    monkeypatch.setattr(latents, "parameters_of", lambda env: SimpleNamespace(preprocessing=preprocessing))
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        result = CliRunner().invoke(cli.commands["dcgan"], arguments)
        assert result.exit_code == 0, result.output
        return result.output

    return invoke


def test_walk_passes_through_the_samples_and_returns(run, generator, tmp_path):
    assert "data/07_model_output/walk.gif" in run("interpolate", "--samples", "4,0,2", "--steps", "3")
    walk = Image.open(tmp_path / "data/07_model_output/walk.gif")
    assert walk.n_frames == 9
    durations = []
    for frame in range(9):
        walk.seek(frame)
        durations.append(walk.info["duration"])
    # It does not rest anywhere.
    assert len(set(durations)) == 1
    samples = generate_all(generator, sample_inputs(5, generator.config, 0)).numpy()
    for frame, number in ((0, 4), (3, 0), (6, 2)):
        walk.seek(frame)
        pixels = np.asarray(walk.convert("L").resize((16, 16), Image.Resampling.NEAREST)).astype(int)
        # GIF has 256 colours.
        assert np.abs(pixels - samples[number, 0]).max() <= 2


def test_generators_that_copy_come_with_a_warning(run, generator, monkeypatch):
    assert COPIES_NOTICE not in run("interpolate")
    copier = TrainedGenerator(generator.config, snapshot_weights(generator), "0123", 64, {"copies": True})
    monkeypatch.setattr(generators, "current_generator", lambda env: (copier, "the last one"))
    assert f"WARNING: {COPIES_NOTICE}" in run("interpolate")


def test_walk_is_a_video_or_a_picture_by_its_name(run, tmp_path):
    run("interpolate", "--samples", "0,1", "--steps", "2", "--output", "walk.mp4")
    assert (tmp_path / "walk.mp4").read_bytes()[4:8] == b"ftyp"
    run("interpolate", "--samples", "0,1,2", "--steps", "4", "--straight", "--output", "walk.png")
    assert Image.open(tmp_path / "walk.png").width > 5 * 48


def test_options_of_a_walk_change_it(run, tmp_path):
    given = [[], ["--straight"], ["--seed", "1"], ["--fps", "4"], ["--steps", "5"]]
    for number, options in enumerate(given):
        run("interpolate", "--samples", "0,1", "--steps", "4", *options, "--output", f"{number}.gif")
    assert len({(tmp_path / f"{number}.gif").read_bytes() for number in range(len(given))}) == len(given)
    assert Image.open(tmp_path / "3.gif").info["duration"] == 250


def test_directions_are_drawn_and_written(run, generator, tmp_path):
    output = run("directions", "--count", "2", "--output", "found.png")
    assert "2 directions" in output
    assert Image.open(tmp_path / "found.png").width > 7 * 48
    written = json.loads((tmp_path / "found.json").read_text())
    assert written["method"] == "first-layer"
    assert [len(one["vector"]) for one in written["directions"]] == [3, 3]
    assert all(one["name"] in output for one in written["directions"])
    run("directions", "--count", "2", "--method", "features", "--output", "found.png")
    other = json.loads((tmp_path / "found.json").read_text())
    assert other["method"] == "features"
    assert other["directions"] != written["directions"]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_picture_of_another_size_and_mode_is_prepared_and_inverted(run, generator, tmp_path, mode):
    sample = generate_all(generator, sample_inputs(1, generator.config, 3))[0, 0].numpy()
    picture = Image.fromarray(sample).resize((64, 64), Image.Resampling.NEAREST).convert(mode)
    picture.save(tmp_path / "picture.png")
    output = run("invert", "picture.png", "--steps", "200")
    written = json.loads((tmp_path / "data/07_model_output/inverted.json").read_text())
    assert f"error of the image: {written['error']:.1f} grey levels" in output
    # Preparing the picture has smoothed it a little.
    assert written["error"] < 25
    assert len(written["latent"]) == 3
    assert Image.open(tmp_path / "data/07_model_output/inverted.png").height > 2 * 48


def test_explorer_is_written(run, tmp_path):
    # tests/project/test_explorer_page.py opens such pages in a browser.
    (tmp_path / "data/08_reporting").mkdir(parents=True)
    assert "MB -> " in run("explore")
    page = (tmp_path / "data/08_reporting/explorer.html").read_text("utf-8")
    assert 'id="model"' in page
    run("explore", "--output", "other/page.html")
    assert (tmp_path / "other/page.html").read_text("utf-8") == page


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["interpolate", "--samples", "7"], ["--samples", "got 7"]),
        (["interpolate", "--samples", "0,100000"], ["--samples", "99,999", "got 0,100000"]),
        (["interpolate", "--samples", "0,-1"], ["--samples", "got 0,-1"]),
        (["interpolate", "--output", "walk.avi"], ["--output", ".gif, .mp4 or .png", "walk.avi"]),
        (["interpolate", "--label", "7"], ["`label`", "got 7"]),
        (["directions", "--output", "found.txt"], ["--output", ".png", "found.txt"]),
        (["invert", "text.png"], ["text.png", "not_an_image"]),
        (["invert", "missing.png"], ["missing.png", "does not exist"]),
    ],
)
@pytest.mark.usefixtures("run")
def test_bad_input_is_named_in_one_line(tmp_path, arguments, parts):
    (tmp_path / "text.png").write_text("no picture")
    result = CliRunner().invoke(cli.commands["dcgan"], arguments)
    assert result.exit_code in (1, 2)
    assert [part for part in parts if part not in result.output] == []
    assert len([line for line in result.output.splitlines() if line.startswith("Error: ")]) == 1


def test_pictures_of_generated_images_are_marked(run, trained, tmp_path):
    run("interpolate", "--samples", "0,1", "--steps", "2", "--seed", "3", "--output", "walk.png")
    run("directions", "--count", "2", "--seed", "4", "--output", "found.png")
    mark = SyntheticMark.of(trained)
    assert read_mark(tmp_path / "walk.png") == mark.of_image(seed=3)
    assert read_mark(tmp_path / "found.png") == mark.of_image(seed=4)
    # This picture also shows the given one.
    run("invert", "found.png", "--steps", "1", "--output", "inverted.png")
    assert read_mark(tmp_path / "inverted.png") is None
