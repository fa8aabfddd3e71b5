"""The command line: `kedro run` with one-line errors, and the project's own commands, `kedro dcgan …`."""

import copy

import click
from kedro.framework.cli.project import run as kedro_run

from kedro_dcgan.cli import local, tracking  # noqa: F401  They add their commands to the group `dcgan`.
from kedro_dcgan.cli.command import dcgan, errors_in_one_line, interruptible


@click.group()
def cli() -> None:
    """Commands of this project."""


run = copy.copy(kedro_run)
run.callback = interruptible(errors_in_one_line(kedro_run.callback))  # type: ignore[arg-type]  # never None
cli.add_command(run)
cli.add_command(dcgan)
