"""Locales and consoles that are not UTF-8, and outputs that nobody reads."""

import locale
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from kedro.io import AbstractDataset
from PIL import Image
from projects import ROOT, command_environment, copy_project

LABEL = "猫 · ½"


@pytest.fixture(scope="module")
def latin_1(tmp_path_factory):
    """The environment of a locale whose encoding is Latin-1."""
    folder = tmp_path_factory.mktemp("locales")
    if not shutil.which("localedef"):
        pytest.skip("localedef is not installed")
    made = subprocess.run(["localedef", "-i", "en_US", "-f", "ISO-8859-1", folder / "en_US.ISO-8859-1"], check=False)
    if made.returncode:
        pytest.skip("the sources of the locales are not installed")
    return {"LOCPATH": str(folder), "LC_ALL": "en_US.ISO-8859-1"}


@pytest.fixture
def in_latin_1(latin_1, monkeypatch):
    """Use Latin-1 for all files that are opened without an encoding."""
    monkeypatch.setenv("LOCPATH", latin_1["LOCPATH"])
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, latin_1["LC_ALL"])
    yield
    locale.setlocale(locale.LC_CTYPE, before)


CATALOG = yaml.safe_load((ROOT / "conf/base/catalog.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["dataset_report", "evaluation_page", "evaluation_table", "evaluation"])
def test_texts_of_the_catalog_are_utf_8_in_every_locale(tmp_path, in_latin_1, name):
    assert locale.getencoding() == "ISO-8859-1"
    path = tmp_path / Path(CATALOG[name]["filepath"]).name
    dataset = AbstractDataset.from_config(name, {**CATALOG[name], "filepath": str(path)})
    required = {"generator": "g", "images_seen": 1, "primary_metric": "fd", "metrics": {"fd": 1.0}}
    required |= {"numbers": [{}], "protocols": [{}]}
    value = {**required, "verdict": LABEL} if name == "evaluation" else f"<p>{LABEL}</p>"
    dataset.save(value)
    assert LABEL in path.read_text(encoding="utf-8")
    assert dataset.load() == value

    # A file name may contain bytes that are not UTF-8.
    dataset.save({"source": "\udcff"} if name == "evaluation" else "\udcff")
    assert "\\udcff" in path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_run_in_a_latin_1_locale_takes_japanese_names_and_outlives_its_reader(tmp_path, latin_1):
    project = copy_project(tmp_path / "kedro-dcgan")
    folder = project.path / "日本 写真" / LABEL
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(3):
        pixels = generator.integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"é{number}.png")
    (folder / "ž.png").write_text("no image")
    # The page is written after the first line of the console.
    command = 'kedro run --pipelines=ingestion --params "ingestion.source=日本 写真" | head -n 1'
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=project.path,
        env={**command_environment(), **latin_1},
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.startswith("ingestion     4 images scanned · 3 accepted".encode("latin-1"))
    page = (project.path / "data/08_reporting/dataset.html").read_text(encoding="utf-8")
    assert "日本 写真" in page
    assert f"{LABEL}/ž.png" in page


def console(code, redirect="", **environment):
    """Run code after the set-up of the console in a shell, with its outputs redirected; return the process."""
    program = f"import logging, sys, os\nlogging.basicConfig(stream=sys.stdout, format='%(message)s')\n{SET_UP}\n{code}"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"$0" -c "$1" {redirect}', sys.executable, program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
        capture_output=True,
        check=False,
    )


SET_UP = "from kedro_dcgan.console import set_up_console\nset_up_console()"
LOG = "for number in range(3): logging.warning('%s 3 · 4 → %s', number, os.fsdecode(b'\\xff'))"


def test_a_console_of_ascii_replaces_signs():
    result = console(f"{LOG}\nprint('½', flush=True); sys.stderr.write('½')", PYTHONIOENCODING="ascii", PYTHONUTF8="1")
    assert result.stdout == b"0 3 ? 4 ? ?\n1 3 ? 4 ? ?\n2 3 ? 4 ? ?\n?\n"
    assert result.stderr == b"\\xbd"


def test_signs_of_a_utf_8_console_stay():
    assert console(LOG, PYTHONIOENCODING="utf-8", PYTHONUTF8="1").stdout.decode() == "".join(
        f"{n} 3 · 4 → ?\n" for n in range(3)
    )


@pytest.mark.parametrize(
    ("redirect", "unbuffered"),
    [("| true", ""), ("| head -n 1", ""), ("| head -n 1", "1"), (">/dev/full", ""), (">&-", "")],
)
def test_an_output_that_cannot_be_written_does_not_stop_the_work(redirect, unbuffered):
    # `true` ends before anything is written, and a line that is larger than a pipe waits for its reader.
    code = f"import time; time.sleep(0.1); print('x' * 200_000); print('y', flush=True)\n{LOG}\nos.write(2, b'worked')"
    result = console(code, redirect, PYTHONUNBUFFERED=unbuffered)
    assert result.returncode == 0
    # Without a standard output, logging uses standard error.
    assert result.stderr.endswith(b"worked")
    assert b"Error" not in result.stderr


def test_standard_error_may_be_closed():
    code = "from kedro_dcgan.progress import track; sys.stderr.write('x'); print(list(track('a', 'b', 1)))"
    result = console(code, "2>&-")
    assert (result.returncode, result.stdout) == (0, b"['a']\n")


def test_streams_of_notebooks_and_tests_are_left_alone(capsys):
    from kedro_dcgan.console import set_up_console

    streams = sys.stdout, sys.stderr
    set_up_console()
    assert (sys.stdout, sys.stderr) == streams
    assert logging.getLogger().handlers


@pytest.mark.parametrize("case", ["Latin-1", "ASCII"])
def test_a_command_restarts_in_utf_8_mode_with_the_same_arguments_and_console(tmp_path, request, case):
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    if case == "Latin-1":
        environment = {**request.getfixturevalue("latin_1"), "PYTHONUTF8": "0"}
    script = tmp_path / "command.py"
    script.write_text(
        "import sys\nfrom kedro_dcgan.console import restart_in_utf8_mode, set_up_console\n"
        "restart_in_utf8_mode()\nset_up_console()\n"
        "open(sys.argv[1], 'w').write('ü')\nprint(sys.argv[2], sys.flags.utf8_mode, 'ü')\n",
        encoding="utf-8",
    )
    command = [sys.executable, script, tmp_path / "日本.txt", "--params=a b"]
    inherited = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    result = subprocess.run(command, env={**inherited, **environment}, capture_output=True, check=False)
    assert result.stderr == b""
    assert result.stdout == {"Latin-1": b"--params=a b 1 \xfc\n", "ASCII": b"--params=a b 1 ?\n"}[case]
    assert (tmp_path / "日本.txt").read_bytes() == "ü".encode()
