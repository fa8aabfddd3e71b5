"""Shared by all commands: their group, the project and its parameters for a preset, and one-line errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from kedro.config import AbstractConfigLoader
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
            if isinstance(cause, (DcganError, ParameterValidationError)):
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


def config_loader(env: str | None) -> AbstractConfigLoader:
    """Return Kedro's loader of the files in `conf/` for a preset."""
    conf = str(project_folder() / "conf")
    loader: AbstractConfigLoader = settings.CONFIG_LOADER_CLASS(conf, env=env, **settings.CONFIG_LOADER_ARGS)
    return loader


def parameters_of(env: str | None) -> Parameters:
    """Return the parameters of a preset, or raise a `ParameterError` for the first error in its files."""
    return read_parameters(config_loader(env)["parameters"], {})


def existing_preset(env: str | None) -> str | None:
    """Return the name of a preset, or raise a `ParameterError` if it is given and is no folder of `conf/`."""
    conf = project_folder() / "conf"
    if env and not (conf / env).is_dir():
        presets = sorted(folder.name for folder in conf.iterdir() if folder.is_dir() and folder.name != "local")
        raise ParameterError(f"`--env` must be a folder of conf/ (got {env}). Presets: {', '.join(presets)}.")
    return env


preset_option = click.option(
    "--env", "-e", default=None, help="Preset: a folder of conf/.", callback=lambda _, __, env: existing_preset(env)
)
