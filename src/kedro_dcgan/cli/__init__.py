"""The command line: `kedro run` with one-line errors, and the project's own commands, `kedro dcgan …`."""

import copy

import click
from kedro.framework.cli.project import run as kedro_run

from kedro_dcgan.cli.before_training import describe, digits, profile
from kedro_dcgan.cli.command import errors_in_one_line, interruptible
from kedro_dcgan.cli.evaluation import compare, evaluate_images, fetch_weights
from kedro_dcgan.cli.generators import promote, rollback, sample, serve
from kedro_dcgan.cli.server import sync, ui


@click.group()
def cli() -> None:
    """Commands of this project."""


run = copy.copy(kedro_run)
run.callback = interruptible(errors_in_one_line(kedro_run.callback))  # type: ignore[arg-type]  # never None
cli.add_command(run)


@cli.group()
def dcgan() -> None:
    """Inspect networks, evaluate and compare generators, sample and serve them, and use the tracking server."""


for subcommand in (
    digits,
    describe,
    profile,
    evaluate_images,
    fetch_weights,
    compare,
    sample,
    serve,
    promote,
    rollback,
    ui,
    sync,
):
    dcgan.add_command(subcommand)
