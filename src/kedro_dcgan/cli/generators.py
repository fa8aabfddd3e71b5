"""The generator that a command uses: that of `--model` in the registry, or one in the project's folders."""

import contextlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kedro_dcgan.cli.command import conf_source, config_loader, project_folder
from kedro_dcgan.cli.tracking import connected
from kedro_dcgan.errors import ModelError
from kedro_dcgan.hooks.summary import as_typed

if TYPE_CHECKING:  # It imports torch, which takes seconds.
    from kedro_dcgan.model.saved import TrainedGenerator
    from kedro_dcgan.model.synthetic_marks import SyntheticMark


# The forms of `--model`, for `tracking.versions.find_named`.
REGISTERED = "NAME@ALIAS, NAME@VERSION or NAME (champion)."
generator_option = click.option("--model", default=None, help=f"{REGISTERED} Default: the last exported generator.")


def chosen_generator(model: str | None, env: str | None) -> "tuple[TrainedGenerator, SyntheticMark]":
    """Print which generator a command uses, and return it with the mark of its images.

    It is a registered one, or the last one of the project.
    """
    from kedro_dcgan.model.synthetic_marks import SyntheticMark

    registered = ""
    if model:
        from kedro_dcgan.model.saved import read_generator
        from kedro_dcgan.tracking.versions import describe_version, fetch_generator, find_named, name_of

        with connected(env):
            version = find_named(model)
            trained, description = read_generator(fetch_generator(version)), describe_version(version)
            registered = name_of(version)
    else:
        # Without the registry: the server may be away, or the registration pending.
        trained, description = current_generator(env)
    click.echo(f"model: {description}")
    warn_of_copies(trained)
    return trained, SyntheticMark.of(trained, registered)


def warn_of_copies(trained: "TrainedGenerator") -> None:
    """Print a warning if the evaluation of a generator has found that it copies training images."""
    from kedro_dcgan.evaluation.verdict import COPIES_NOTICE

    if trained.facts.get("copies"):
        click.echo(f"WARNING: {COPIES_NOTICE}", err=True)


def exported_generator(env: str | None) -> "TrainedGenerator":
    """Return the last exported generator; raise ModelError if nothing has been exported."""
    from kedro_dcgan.model.saved import read_generator

    folder = _folder_of("exported_generator", env)
    if not folder.is_dir():
        raise ModelError(
            f"`--model` must be given until a generator is exported ({folder} does not exist). "
            f"Train one with kedro run, or export the one of a stopped training: {_export_command(env)}."
        )
    return read_generator(folder)


def current_generator(env: str | None) -> "tuple[TrainedGenerator, str]":
    """Return the last exported generator, with a line that says which one it is and why.

    If none is exported, it is the generator of the stopped training. Without any: ModelError.
    """
    from kedro_dcgan.model.saved import CONFIG, read_generator

    folder, trained_folder = _folder_of("exported_generator", env), _folder_of("generator", env)
    note, is_exported = "last exported generator", folder.is_dir() or not trained_folder.is_dir()
    if is_exported:
        trained = exported_generator(env)
        # Each tick of a training writes it; a damaged one does not matter here.
        with contextlib.suppress(ModelError):
            if read_generator(trained_folder).fingerprint() != trained.fingerprint():
                note += f" (a later training is not exported: {_export_command(env)})"
    else:
        folder, trained = trained_folder, read_generator(trained_folder)
        note = f"from a training that is not exported; to evaluate and register it: {_export_command(env)}"
    written = datetime.fromtimestamp((folder / CONFIG).stat().st_mtime).astimezone()
    images = f"{trained.facts.get('dataset', '')} {trained.dataset_digest}".strip()
    line = f"images {images} · {trained.images_seen / 1000:.1f} kimg · {written:%Y-%m-%d %H:%M}"
    return trained, f"{folder} · {line} · {note}"


def _folder_of(dataset: str, env: str | None) -> Path:
    return project_folder() / str(config_loader(env)["catalog"][dataset]["path"])


def _export_command(env: str | None) -> str:
    preset = f" --env={env}" if env else ""
    command = f"kedro run{preset} --pipelines=evaluation,export"
    return as_typed(command, project_folder(), conf_source())
