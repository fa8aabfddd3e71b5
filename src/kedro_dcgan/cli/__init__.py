"""The command line: `kedro run`, and the project's own commands, `kedro dcgan …`, all with one-line errors."""

import click

from kedro_dcgan.cli import local, models, tracking  # noqa: F401  They add their commands to the group `dcgan`.
from kedro_dcgan.cli.command import dcgan
from kedro_dcgan.cli.kedro_run import run


@click.group()
def cli() -> None:
    """Commands of this project."""


cli.add_command(run)
cli.add_command(dcgan)
