"""The project that a command works in, and what its files say for a preset."""

from pathlib import Path

import click
from kedro.config import AbstractConfigLoader
from kedro.framework.project import settings
from kedro.utils import find_kedro_project

for_a_preset = click.option("--env", "-e", default=None, help="Preset: a folder of conf/.")


def project_folder() -> Path:
    """Return the project that the user is in, or else where the user is."""
    return find_kedro_project(Path.cwd()) or Path.cwd()


def configuration(env: str | None) -> AbstractConfigLoader:
    """Return what the files of `conf/` say for a preset."""
    loader: AbstractConfigLoader = settings.CONFIG_LOADER_CLASS(
        str(project_folder() / "conf"), env=env, **settings.CONFIG_LOADER_ARGS
    )
    return loader
