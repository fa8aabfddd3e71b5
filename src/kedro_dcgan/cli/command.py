"""Shared by all commands: one-line errors, the project and its parameters for a preset, and types of options."""

import os
import tarfile
import tempfile
import traceback
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from kedro.config import AbstractConfigLoader, MissingConfigException
from kedro.framework.cli.utils import KedroCliError
from kedro.framework.project import settings
from kedro.io import DatasetError
from kedro.utils import find_kedro_project
from kedro.validation.exceptions import ParameterValidationError

from kedro_dcgan import __version__
from kedro_dcgan.config import Parameters, read_parameters
from kedro_dcgan.errors import DcganError, ParameterError
from kedro_dcgan.hooks.summary import as_typed

# These explain themselves.
_EXPLAINED = DcganError, ParameterValidationError, MissingConfigException
# The first words of Kedro's errors about a misspelt pipeline, with close matches, and about an entry of the catalog.
_EXPLAINED_BY_KEDRO = "Failed to find the pipeline", "An exception occurred when parsing config", "Catalog entry"


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Print any error as `Error: <one line>` and exit with code 1; with `--verbose`, print its traceback first.

    The traceback of an error that nobody has foreseen is saved to a file, which the line names.
    """
    try:
        yield
    except KedroCliError as error:
        raise _in_one_line(error.message, error) from error
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        # click handles these: usage errors with code 2, and a reader of stdout that has gone, such as `head`.
        raise
    except Exception as error:
        raise _in_one_line(_message_of(error), error) from error


def _in_one_line(message: str, error: Exception) -> click.ClickException:
    context = click.get_current_context(silent=True)
    if context and context.meta.get("verbose"):
        click.echo("".join(traceback.format_exception(error)), err=True)
    line = " ".join(line.strip() for line in message.splitlines())
    return click.ClickException(as_typed(line, project_folder(), project_folder() / settings.CONF_SOURCE))


def _message_of(error: Exception) -> str:
    # Kedro wraps the errors of datasets, so look at the causes, too.
    causes: list[BaseException] = [error]
    while causes[-1].__cause__:
        causes.append(causes[-1].__cause__)
    for cause in causes:
        is_known = isinstance(cause, ValueError | DatasetError) and str(cause).startswith(_EXPLAINED_BY_KEDRO)
        if is_known or isinstance(cause, _EXPLAINED):
            return str(cause)
        if isinstance(cause, OSError) and cause.filename is not None and cause.strerror:
            return f"`{cause.filename}` must be usable ({cause.strerror}). Check that it exists and its permissions."
    report = "Run the command again with --verbose to see where it happened."
    with suppress(OSError):
        trace = "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace")
        with tempfile.NamedTemporaryFile(prefix="kedro-dcgan-", suffix=".txt", delete=False) as file:
            file.write(trace)
        report = f"Please report it with its traceback, {file.name} (or use --verbose)."
    return f"unexpected {type(error).__name__}: {error}. {report}"


def _set_verbose(context: click.Context, _: click.Parameter, is_set: bool) -> None:
    context.meta["verbose"] = is_set


# Eager: it also applies to errors in the options after it.
verbose_option = click.Option(
    ["--verbose"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_verbose,
    help="Print the traceback of an error, too.",
)


class _Group(click.Group):
    """Commands with one-line errors and `--verbose`."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        if verbose_option not in cmd.params:
            cmd.params.append(verbose_option)
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        with errors_in_one_line():
            return super().invoke(ctx)


@click.group(cls=_Group)
@click.version_option(__version__, prog_name="kedro-dcgan", message="%(prog)s %(version)s")
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
    """Read the configuration of this command from another folder or archive than `conf`; ParameterError for a URL."""
    if source and "://" in source:
        raise ParameterError(
            f"`--conf-source` must be a folder or archive on this machine (got {source}). Copy it here."
        )
    # Kedro's own setting, so that Kedro and all our commands read the same one.
    settings.set("CONF_SOURCE", str(Path(source).absolute()) if source else "conf")


def config_loader(env: str | None) -> AbstractConfigLoader:
    """Return Kedro's loader of the configuration for a preset (default: $KEDRO_ENV).

    Raises:
        ParameterError: the preset is not a folder there.
    """
    preset = env or os.environ.get("KEDRO_ENV")
    # Kedro's default, which is no preset.
    preset = None if preset == "local" else preset
    source = str(conf_source())
    loader: AbstractConfigLoader = settings.CONFIG_LOADER_CLASS(source, env=preset, **settings.CONFIG_LOADER_ARGS)
    return loader


def parameters_of(env: str | None) -> Parameters:
    """Return the parameters of a preset, or raise a `ParameterError` for the first error in its files."""
    return read_parameters(config_loader(env)["parameters"], {})


def preset_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options `--env` and `--conf-source`, which `kedro run` has, too."""
    env = click.option("--env", "-e", default=None, help="Preset: a folder of conf/.")
    source = click.option(
        "--conf-source",
        help="Folder or archive with the configuration, instead of conf/.",
        expose_value=False,
        callback=lambda _, __, path: use_conf_source(path),
    )
    return env(source(command))


class OutputPath(click.Path):
    """A file or folder to write. It is refused before any work if it cannot be written."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path, or raise a `ParameterError`."""
        super().convert(value, param, ctx)
        path, option = Path(value), param.opts[0] if param else "path"
        try:
            existing = next(place for place in (path, *path.absolute().parents) if place.exists())
            folder = existing.parent if existing == path and path.is_file() else existing
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise ParameterError(
                f"`{option}` must be writable (got {value}: {error.strerror}). Name another."
            ) from error
        return path
