"""Shared by all commands: their group, the project and its parameters for a preset, and one-line errors."""

import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from kedro.config import AbstractConfigLoader, MissingConfigException
from kedro.framework.project import settings
from kedro.utils import find_kedro_project
from kedro.validation.exceptions import ParameterValidationError

from kedro_dcgan.config import Parameters, read_parameters
from kedro_dcgan.errors import DcganError, ParameterError


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Print an error that the user can fix as `Error: <one line>` and exit with code 1."""
    try:
        yield
    except Exception as error:
        # Kedro wraps the errors of datasets, so look at the causes, too.
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, (DcganError, MissingConfigException, ParameterValidationError)):
                raise click.ClickException(str(cause)) from error
            # Kedro reports a misspelt pipeline or node as a ValueError that suggests close matches.
            unknown_name = "Failed to find the pipeline", "Pipeline does not"
            if isinstance(cause, ValueError) and str(cause).startswith(unknown_name):
                raise click.ClickException(" ".join(str(cause).split())) from error
            cause = cause.__cause__
        raise


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        with errors_in_one_line():
            return super().invoke(ctx)


@click.group(cls=_Group)
def dcgan() -> None:
    """Inspect networks, evaluate and compare generators, sample and serve them, and use the tracking server."""


def project_folder() -> Path:
    """Return the project that the working directory belongs to, or else the working directory."""
    return find_kedro_project(Path.cwd()) or Path.cwd()


def conf_source() -> Path:
    """Return the folder or archive with the configuration: `conf` of the project, unless `--conf-source` is given."""
    source = project_folder() / settings.CONF_SOURCE
    if not source.exists():
        raise ParameterError(
            f"the configuration must exist (there is no {source}). Change to the project folder, or pass --conf-source."
        )
    is_archive = source.name.endswith(".zip") and zipfile.is_zipfile(source)
    is_archive |= source.name.endswith((".tar", ".tar.gz")) and tarfile.is_tarfile(source)
    if not (source.is_dir() or is_archive):
        raise ParameterError(
            f"`--conf-source` must be a folder, or an archive that ends in .zip, .tar or .tar.gz (got {source}). "
            "kedro package makes one."
        )
    return source


def use_conf_source(source: str | None) -> None:
    """Read the configuration of this command from another folder or archive than `conf`."""
    # Kedro's own setting, so that Kedro and all our commands read the same one.
    settings.set("CONF_SOURCE", str(Path(source).absolute()) if source else "conf")


def config_loader(env: str | None) -> AbstractConfigLoader:
    """Return Kedro's loader of the configuration for a preset."""
    conf = str(conf_source())
    loader: AbstractConfigLoader = settings.CONFIG_LOADER_CLASS(conf, env=env, **settings.CONFIG_LOADER_ARGS)
    return loader


def parameters_of(env: str | None) -> Parameters:
    """Return the parameters of a preset, or raise a `ParameterError` for the first error in its files."""
    return read_parameters(config_loader(env)["parameters"], {})


def existing_preset(env: str | None) -> str | None:
    """Return the name of a preset, or raise a `ParameterError` if it is given and is no folder of the configuration."""
    conf = conf_source()
    # Kedro itself looks for the preset in an archive.
    if env and conf.is_dir() and not (conf / env).is_dir():
        presets = sorted(folder.name for folder in conf.iterdir() if folder.is_dir() and folder.name != "local")
        raise ParameterError(f"`--env` must be a folder of {conf} (got {env}). Presets: {', '.join(presets)}.")
    return env


def preset_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options `--env` and `--conf-source`, which `kedro run` has, too."""
    env = click.option(
        "--env", "-e", default=None, help="Preset: a folder of conf/.", callback=lambda _, __, env: existing_preset(env)
    )
    source = click.option(
        "--conf-source",
        help="Folder or archive with the configuration, instead of conf/.",
        # Before `--env`, wherever it is on the command line.
        is_eager=True,
        expose_value=False,
        callback=lambda _, __, path: use_conf_source(path),
    )
    return env(source(command))
