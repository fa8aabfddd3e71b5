"""DVC versions datasets (a folder or an archive); clones pull them from a folder or from S3."""

import hashlib
import json
import shutil
import zipfile

import boto3
import numpy as np
import pytest
import yaml
from moto.server import ThreadedMotoServer
from PIL import Image
from projects import ROOT, Project, copy_project, forked_kedro

from kedro_dcgan.config import IngestionParameters, PreprocessingParameters
from kedro_dcgan.datasets import ImageShardsDataset, ImageSourceDataset
from kedro_dcgan.hooks.lineage import dvc_hash
from kedro_dcgan.pipelines.ingestion.nodes import scan_images

pytestmark = pytest.mark.slow

FACES, SHARDS, IMAGES = "data/01_raw/faces", "data/03_primary/shards", "data/03_primary/images"
FIRST, SECOND = 24, 30  # images
SECRET = "secret-of-the-bucket"
UP_TO_DATE = "Data and pipelines are up to date."


def repro(project, *stages):
    return project.run("dvc", "repro", *stages, **forked_kedro())


def stages_run(result):
    return [line.split("'")[1] for line in result.stdout.splitlines() if line.startswith("Running stage")]


def write_images(folder, first, last):
    """Write distinct images: noise over gradients."""
    folder.mkdir(exist_ok=True)
    rows, columns = np.mgrid[:48, :48][..., None]
    for number in range(first, last):
        random = np.random.default_rng(number)
        pixels = 3 * random.random() * rows + 3 * random.random() * columns + random.integers(0, 60, (48, 48, 3))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{number:03d}.png")


def pack(folder, archive, count):
    with zipfile.ZipFile(archive, "w") as members:
        for file in sorted(folder.iterdir())[:count]:
            members.write(file, file.name)


def file_names(project, folder):
    return {file.name for file in (project.path / folder).iterdir()}


def commit(project, tag):
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", tag)
    project.run("git", "tag", tag)


def switch(project, tag):
    project.run("git", "checkout", "--quiet", tag)
    project.run("dvc", "checkout", "--quiet")


def set_source(project, source):
    file = project.path / "conf/base/parameters_ingestion.yml"
    parameters = yaml.safe_load(file.read_text())
    parameters["ingestion"]["source"] = source
    file.write_text(yaml.safe_dump(parameters))


def write_placeholders(project):
    """Write placeholders for the outputs of the other stages, which would take long to run."""
    stages = yaml.safe_load((project.path / "dvc.yaml").read_text())["stages"]
    for name in stages.keys() - {"parameters", "ingestion", "preprocessing"}:
        for out in stages[name].get("outs", []) + stages[name].get("metrics", []):
            out = out if isinstance(out, str) else next(iter(out))
            path = project.path / out
            path = path if path.suffix else path / "placeholder.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{{}} {out}")
    project.run("dvc", "commit", "--force")


def clone(project, path, tag):
    project.run("git", "clone", "--quiet", "--branch", tag, str(project.path), str(path))
    return Project(path)


def cached_names(project, hash_of_folder):
    """Return the names of the files in DVC's cache for the hash of a folder."""
    stored = project.path / ".dvc/cache/files/md5" / hash_of_folder[:2] / hash_of_folder[2:]
    return {entry["relpath"] for entry in json.loads(stored.read_text())}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with two tags: `v1` has images and the outputs of all stages, `v2` has more images, prepared."""
    project = copy_project(tmp_path_factory.mktemp("versions") / "kedro-dcgan")
    (project.path / "conf/local/.gitkeep").touch()  # Kedro needs this folder, and git does not store empty ones
    (project.path / "data/01_raw").mkdir(parents=True)
    set_source(project, FACES)
    project.run("git", "init", "--quiet")
    project.run("git", "config", "user.name", "Someone")
    project.run("git", "config", "user.email", "someone@example.com")
    shutil.copytree(ROOT / ".dvc", project.path / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    # Add the remotes first, so that every commit has them.
    project.run("dvc", "remote", "add", "--default", "storage", str(project.path.parent / "storage"))
    project.run("dvc", "remote", "add", "bucket", "s3://faces/versions")

    write_images(project.path / FACES, 0, FIRST)
    project.run("dvc", "add", FACES)
    assert stages_run(repro(project, "preprocessing")) == ["parameters", "ingestion", "preprocessing"]
    write_placeholders(project)
    commit(project, "v1")

    write_images(project.path / FACES, FIRST, SECOND)
    project.run("dvc", "add", FACES)
    assert stages_run(repro(project, "preprocessing")) == ["ingestion", "preprocessing"]
    commit(project, "v2")
    return project


def test_git_tracks_dvc_files_and_no_data(project):
    tracked = project.run("git", "ls-files", "data").stdout.split()
    assert f"{FACES}.dvc" in tracked
    assert all(file.endswith((".dvc", ".gitignore", ".gitkeep")) for file in tracked)


def test_new_dataset_version_reruns_training_and_the_old_one_is_cached(project):
    switch(project, "v2")
    assert len(file_names(project, FACES)) == SECOND
    assert stages_run(project.run("dvc", "repro", "--dry", "training")) == ["training"]

    switch(project, "v1")
    assert len(file_names(project, FACES)) == FIRST
    result = project.run("dvc", "repro")
    assert stages_run(result) == []
    assert UP_TO_DATE in result.stdout
    assert project.run("git", "status", "--porcelain").stdout == ""

    # Without the lock file, everything comes from DVC's run cache.
    (project.path / "dvc.lock").unlink()
    shutil.rmtree(project.path / IMAGES)
    result = project.run("dvc", "repro", "preprocessing")
    assert stages_run(result) == []
    assert all(f"Stage '{stage}' is cached" in result.stdout for stage in ("ingestion", "preprocessing"))
    assert "index.json" in file_names(project, IMAGES)
    project.run("git", "checkout", "--quiet", "dvc.lock")


def test_dvc_hash_identifies_the_cached_data(project):
    hashes = {}
    for tag, count in (("v1", FIRST), ("v2", SECOND)):
        switch(project, tag)
        hashes[tag] = [dvc_hash(project.path, path) for path in (FACES, SHARDS)]
        assert cached_names(project, hashes[tag][0]) == {f"{number:03d}.png" for number in range(count)}
        assert cached_names(project, hashes[tag][1]) == {"index.json", "00000.npy", "00000.parquet"}
        assert dvc_hash(project.path, project.path / FACES) == hashes[tag][0]
    assert not set(hashes["v1"]) & set(hashes["v2"])


def test_dvc_hash_of_modified_data_is_none(project):
    switch(project, "v1")
    assert dvc_hash(project.path, IMAGES)
    picture, selection = project.path / FACES / "003.png", project.path / IMAGES / "train.npy"
    for file in (picture, selection):
        data = file.read_bytes()
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert dvc_hash(project.path, FACES) is None
    assert dvc_hash(project.path, IMAGES) is None
    project.run("dvc", "checkout", "--force", "--quiet")


@pytest.mark.parametrize("path", ["data/01_raw", f"{FACES}/000.png", "data/01_raw/nothing", "torchvision:MNIST"])
def test_dvc_hash_of_untracked_data_is_none(project, path):
    assert dvc_hash(project.path, path) is None


def test_clone_pulls_both_versions_from_a_folder_and_is_up_to_date(project, tmp_path):
    project.run("dvc", "push", "--all-tags")

    fresh = clone(project, tmp_path / "clone", "v1")
    fresh.run("dvc", "pull")
    assert len(file_names(fresh, FACES)) == FIRST
    result = fresh.run("dvc", "repro")
    assert stages_run(result) == []
    assert UP_TO_DATE in result.stdout

    fresh.run("git", "checkout", "--quiet", "v2")
    fresh.run("dvc", "pull")
    assert len(file_names(fresh, FACES)) == SECOND
    assert stages_run(fresh.run("dvc", "repro", "ingestion")) == []


@pytest.fixture
def s3(tmp_path, monkeypatch):
    """An S3 server with an empty bucket `faces`, without the user's AWS settings and proxy."""
    (tmp_path / "empty").touch()
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "empty"))
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="someone", aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    client.create_bucket(Bucket="faces")
    yield endpoint, client
    server.stop()


def test_clone_pulls_from_s3_and_git_has_no_secret(project, tmp_path, s3):
    endpoint, client = s3
    settings = {"endpointurl": endpoint, "access_key_id": "someone", "secret_access_key": SECRET}
    project.run("git", "checkout", "--quiet", "v1")
    for name, value in settings.items():
        project.run("dvc", "remote", "modify", "--local", "bucket", name, value)
    project.run("dvc", "push", "--remote", "bucket", "--with-deps", "preprocessing")
    images = dvc_hash(project.path, FACES)
    stored = {entry["Key"] for entry in client.list_objects_v2(Bucket="faces")["Contents"]}
    assert f"versions/files/md5/{images[:2]}/{images[2:]}" in stored
    assert SECRET in (project.path / ".dvc/config.local").read_text()
    assert project.run("git", "status", "--porcelain").stdout == ""

    fresh = clone(project, tmp_path / "clone", "v1")
    shutil.copy(project.path / ".dvc/config.local", fresh.path / ".dvc/config.local")
    fresh.run("dvc", "pull", "--remote", "bucket", "--with-deps", "preprocessing")
    for folder in (FACES, SHARDS, IMAGES):
        assert file_names(fresh, folder) == cached_names(project, dvc_hash(project.path, folder))
    assert UP_TO_DATE in fresh.run("dvc", "status", "--with-deps", "preprocessing").stdout


def test_archive_is_versioned(project, tmp_path):
    archive, contents = f"{FACES}.zip", {}
    set_source(project, archive)
    write_images(tmp_path, 0, SECOND)
    for tag, count in (("archive-v1", FIRST), ("archive-v2", SECOND)):
        pack(tmp_path, project.path / archive, count)
        contents[tag] = (project.path / archive).read_bytes()
        project.run("dvc", "add", archive)
        commit(project, tag)
        assert dvc_hash(project.path, archive) == hashlib.md5(contents[tag]).hexdigest()
    assert stages_run(project.run("dvc", "repro", "--dry", "ingestion")) == ["parameters", "ingestion"]

    switch(project, "archive-v1")
    assert (project.path / archive).read_bytes() == contents["archive-v1"]


def test_equal_images_give_equal_shards_for_any_path_time_and_container(tmp_path):
    # Other bytes would make DVC run the training again.
    base = {}
    for name in ("ingestion", "preprocessing"):
        base |= yaml.safe_load((ROOT / f"conf/base/parameters_{name}.yml").read_text())
    preprocessing = PreprocessingParameters(**base["preprocessing"])
    write_images(tmp_path / "faces", 0, 5)
    pack(tmp_path / "faces", tmp_path / "faces.zip", 5)
    shutil.copytree(tmp_path / "faces", tmp_path / "faces later", copy_function=shutil.copyfile)
    made = {}
    for source in ("faces", "faces later", "faces.zip"):
        ingestion = IngestionParameters(**{**base["ingestion"], "source": source, "workers": 1})
        scan = scan_images(ImageSourceDataset(tmp_path).load(), ingestion, preprocessing)
        ImageShardsDataset(tmp_path / "shards").save(scan)
        made[source] = {file.name: file.read_bytes() for file in (tmp_path / "shards").iterdir()}
        # Only the name of the source differs, which error messages about damaged shards contain.
        index = json.loads(made[source].pop("index.json"))
        assert index.pop("source") == source
        made[source]["index"] = index
    assert made["faces"] == made["faces later"]
    assert made["faces"] == made["faces.zip"]
