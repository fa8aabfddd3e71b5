"""`kedro dcgan inspect` prints the marks of PNG files; and the commands that generate PNG files mark them."""

import json

import pytest
from click.testing import CliRunner
from PIL import Image

from kedro_dcgan.cli import cli, marks
from kedro_dcgan.model.synthetic_marks import MarkedPicture, SyntheticMark

MARK = SyntheticMark("kedro-dcgan 1.2", "0123456789abcdef", "dcgan-digits v3", "fedcba987654", "0011", 0, 0, "3")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(marks, "project_folder", lambda: tmp_path)
    picture = Image.new("L", (4, 4))
    picture.save("plain.png")
    (tmp_path / "marked.png").write_bytes(MarkedPicture(picture, MARK).png())
    (tmp_path / "damaged.png").write_bytes((tmp_path / "marked.png").read_bytes()[:-5])
    (tmp_path / "other.png").write_bytes(b"GIF89a")
    return tmp_path


def inspect(*arguments):
    result = CliRunner().invoke(cli.commands["dcgan"], ["inspect", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_every_fact_of_a_mark_has_a_line():
    result = inspect("marked.png")
    assert result.exit_code == 0
    first, *lines = result.stdout.splitlines()
    assert first == "marked.png"
    # The values are aligned.
    assert [line[13:] for line in lines[1:]] == [str(value) for value in vars(MARK).values()]
    assert "trainedAlgorithmicMedia" in lines[0]
    # Without a seed, there is no line of it.
    assert len(lines) == 9


@pytest.mark.parametrize("name", ["plain.png", "damaged.png", "other.png", "missing.png"])
def test_a_file_without_a_mark_ends_with_code_1(name):
    result = inspect("marked.png", name, "marked.png")
    assert result.exit_code == 1
    # The others are shown all the same.
    assert result.stdout.count(MARK.weights) == 2
    if name == "plain.png":
        # Other metadata can say so, too.
        assert "no mark" in result.stdout
        assert "XMP" in result.stdout
    else:
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"Error: `{name}` must ")


def test_json_has_the_mark_or_the_fault_of_each_file():
    result = inspect("--json", "marked.png", "plain.png", "damaged.png")
    assert result.exit_code == 1
    marked, plain, damaged = json.loads(result.stdout)
    assert marked == {"file": "marked.png", "mark": vars(MARK)}
    assert plain == {"file": "plain.png", "mark": None}
    assert "damaged.png" in damaged["error"]
    assert inspect("--json", "marked.png").exit_code == 0


def test_the_generator_of_this_project_is_recognised(folder):
    assert "this project" not in inspect("marked.png").stdout
    evaluation = folder / "data/08_reporting/evaluation.json"
    evaluation.parent.mkdir(parents=True)
    for content, is_known in (('{"generator": "0123456789abcdef"}', True), ("[]", False), ("{", False)):
        evaluation.write_text(content)
        assert ("this project" in inspect("marked.png").stdout) == is_known
    for content in ("{}", '{"generator": 3}', '{"generator": null}'):
        evaluation.write_text(content)
        assert marks._evaluated_generator() is None


def test_a_file_cannot_write_to_the_terminal(folder):
    (folder / "evil.png").write_bytes(MarkedPicture(Image.new("L", (4, 4)), SyntheticMark(label="a\x9b31m\nb")).png())
    result = inspect("evil.png")
    assert result.stdout.splitlines()[-1].endswith("a\\x9b31m\\nb")
