"""The commands of docs/how-to work, in the order of each page, as a reader types them.

All pages share one project, a clone with the smoke preset. `guides.py` lists what is shortened and what is not run.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import numpy as np
import pytest
import yaml
from guides import BEFORE, NOT_RUN, PORTS, RUN_BY_OTHERS, SERVERS, steps_of, steps_to_run
from moto.server import ThreadedMotoServer
from PIL import Image
from projects import ROOT, Project, command_environment, copy_project, forked_kedro, require_program
from servers import wait_until
from sklearn.datasets import load_sample_images

from kedro_dcgan.data.sources.builtin import write_digits

pytestmark = pytest.mark.slow

STEPS = steps_to_run()
PROGRAMS = {"zip -": "zip", "exiftool ": "exiftool"}
# A shell for each command. It starts in the folder and with the variables of MLflow that the one before left.
SHELL = """. ~/exports; cd "$(cat ~/folder)"
{{ {before}; }} || exit
{command}
code=$?; pwd > ~/folder; export -p | grep " MLFLOW_" > ~/exports; exit $code
"""


class Reader:
    """Someone with a clone of the project and photos in a new home, who types the commands one by one."""

    def __init__(self, home):
        self._home, self._results, self._background, self._pages = home, [], None, set()
        write_files(home)
        self.project = Project(clone_project(home))
        self._s3 = ThreadedMotoServer("127.0.0.1", PORTS[9000], verbose=False)
        self._s3.start()
        keys = {"aws_access_key_id": "someone", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=f"http://127.0.0.1:{PORTS[9000]}", **keys).create_bucket(Bucket="my-images")

    def result(self, step):
        """Return the result of a step, after all steps before it have run."""
        while len(self._results) <= step:
            self._results.append(self._run(STEPS[len(self._results)]))
        return self._results[step]

    def stop(self):
        """Stop the servers."""
        self._stop_background()
        self._s3.stop()

    def _run(self, step):
        if step.page not in self._pages:
            self._pages.add(step.page)
            self._stop_background()
            (self._home / "folder").write_text(str(self.project.path))
            (self._home / "exports").write_text("")
        script = SHELL.format(
            before=BEFORE.get((step.page, step.number), "true"), command=step.script.removesuffix(" &")
        )
        variables = {"HOME": str(self._home), "KEDRO_ENV": "smoke", "no_proxy": "127.0.0.1", **forked_kedro()}
        variables |= {"RAY_ADDRESS": f"127.0.0.1:{PORTS[6379]}", "RAY_USAGE_STATS_ENABLED": "0"}
        variables |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        if step.command in SERVERS or step.command.endswith(" &"):
            return self._start(step, script, variables)
        done = self.project.run("bash", "-c", script, cwd=self._home, check=False, **variables)
        if step.command.startswith("torchrun"):
            # The command of the page that waits for it in the background ends, too.
            done.returncode = done.returncode or self._background.wait(60)
        return done

    def _start(self, step, script, variables):
        """Start a command in the background. A server must answer."""
        self._stop_background()
        log = self._home / "background.log"
        with log.open("w") as output:
            self._background = subprocess.Popen(
                ["bash", "-c", script],
                cwd=self._home,
                env={**command_environment(), **variables},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if step.command in SERVERS:
            try:
                wait_until(lambda: self._background.poll() is not None or answers(SERVERS[step.command]), 120)
            except TimeoutError:
                self._stop_background()
        # A server that has ended, even with 0, does not serve.
        has_ended = self._background.poll() is not None
        return subprocess.CompletedProcess(step.command, int(has_ended), log.read_text(), "")

    def _stop_background(self):
        if self._background and self._background.poll() is None:
            os.killpg(self._background.pid, signal.SIGTERM)
            self._background.wait(30)


def answers(address):
    """Whether a server answers; OSError if it is not reachable."""
    server = urlsplit(address)
    if server.scheme == "tcp":
        socket.create_connection((server.hostname, server.port), timeout=1).close()
        return True
    return urllib.request.urlopen(address, timeout=1).status == 200


def write_photos(folder, count, names=("trip", "home")):
    """Write crops of two photos into subfolders."""
    for number, photo in zip(range(count), load_sample_images().images * count, strict=False):
        file = folder / names[number % len(names)] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo[5 * number : 5 * number + 96, 7 * number : 7 * number + 96]).save(file)


def write_files(home):
    """Write the reader's files: photos in folders and archives, CelebA's files, and the name for git."""
    for name in ("photos", "photos, old", "faces"):
        write_photos(home / name, 40)
    for name in ("real/a", "real/b", "samples"):
        write_photos(home / name, 20)
    celeba = home / "celeba"
    for name in ("img_celeba", "img_align_celeba"):
        write_photos(celeba / name, 60, names=(".",))
    files = sorted((celeba / "img_celeba").iterdir())
    boxes = ["60", "image_id x_1 y_1 width height", *(f"{file.name}    8  4  80  90" for file in files)]
    (celeba / "list_bbox_celeba.txt").write_text("\n".join(boxes) + "\n")
    rows = (f"{file.name} -1 {1 if number % 2 else -1} " for number, file in enumerate(files))
    (celeba / "list_attr_celeba.txt").write_text("\n".join(["60", "Bald Smiling ", *rows]) + "\n")
    for archive, folder in (("photos", "photos"), ("samples", "samples"), ("celeba/img_align_celeba",) * 2):
        shutil.make_archive(str(home / archive), "zip", home / folder)
    (home / ".gitconfig").write_text("[user]\n  name = someone\n  email = someone@example.com\n")


def write_fashion_mnist(folder):
    """Write files with the names and the format of FashionMNIST, so that torchvision downloads none."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for part, count in (("train", 60), ("t10k", 20)):
        images, labels = random.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10
        for name, values in ((f"{part}-images-idx3", images), (f"{part}-labels-idx1", labels)):
            sizes = np.array(values.shape, ">i4").tobytes()
            (folder / f"{name}-ubyte").write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes())


def write_some_digits(folder):
    """Write the first 250 of the embedded digits, which the project then takes for all of them."""
    write_digits(folder)
    for file in folder.rglob("*.png"):
        if int(file.stem) >= 250:
            file.unlink()


def clone_project(home):
    """Return a clone of a repository that has one more commit: with presets that train as shortly as smoke."""
    upstream = copy_project(home / "upstream")
    conf = upstream.path / "conf"
    (conf / "local/.gitkeep").touch()
    export = conf / "smoke/parameters_export.yml"
    export.write_text(export.read_text().replace("dcgan-{source}-smoke", "dcgan-{source}"))
    sweep = {"sweep": {"kimg": 0.2, "trials": 2, "validations": 2, "confirmations": 1}}
    for preset in ("smoke", "images64"):
        (conf / preset / "parameters_sweep.yml").write_text(yaml.safe_dump(sweep))
    for preset in ("images64", "faces64", "paper"):
        for name in ("training", "evaluation", "export"):
            shutil.copy(conf / f"smoke/parameters_{name}.yml", conf / preset)
    (upstream.path / "params.yaml").write_text("preset: smoke\n")
    shutil.copytree(
        ROOT / ".dvc", upstream.path / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local")
    )
    git = {"HOME": str(home)}
    upstream.run("git", "init", "-q", "--initial-branch=main", **git)
    upstream.run("git", "add", "--all", **git)
    upstream.run("git", "commit", "-qm", "A version", **git)
    upstream.run("git", "clone", "-q", str(upstream.path), str(home / "kedro-dcgan"), **git)
    upstream.run("git", "commit", "-q", "--allow-empty", "-m", "The next version", **git)
    project = home / "kedro-dcgan"
    (project / "data/01_raw").mkdir(parents=True)
    write_fashion_mnist(project / "data/01_raw/torchvision/FashionMNIST/raw")
    write_some_digits(project / "data/01_raw/digits")
    (project / ".venv").mkdir()
    (project / ".venv/bin").symlink_to(Path(sys.prefix) / "bin")
    return project


def step_parameters():
    """Return a parameter for each step, which is skipped without the programs that it needs."""
    for number, step in enumerate(STEPS):
        needed = [name for start, name in PROGRAMS.items() if start in step.command]
        marks = [require_program(name, bool(shutil.which(name))) for name in needed]
        yield pytest.param(number, marks=marks, id=f"{step.page}: {step.command}")


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    made = Reader(tmp_path_factory.mktemp("guides"))
    yield made
    made.stop()


@pytest.mark.parametrize("number", step_parameters())
def test_command_works(reader, number):
    step, done = STEPS[number], reader.result(number)
    # A page that shows an error documents a command that fails.
    assert bool(done.returncode) == step.fails, f"{step.script}\n{done.stdout}{done.stderr}"
    assert ("ERROR: " in done.stdout + done.stderr) == step.fails


def test_commands_that_are_not_run_are_on_their_pages():
    assert [key for key in NOT_RUN if key[1] not in [step.command for step in steps_of(key[0])]] == []


def test_other_tests_read_their_pages():
    assert [
        page for page, test in RUN_BY_OTHERS.items() if page not in (Path(__file__).parent / test).read_text()
    ] == []
