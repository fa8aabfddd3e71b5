"""The command line: `kedro run` with errors in one line, and the product's own verbs, `kedro dcgan …`."""

import copy

import click
from kedro.framework.cli.project import run as kedro_run

from kedro_dcgan.cli.errors import errors_in_one_line, interruptible
from kedro_dcgan.cli.images import digits, evaluate_images, fetch_weights
from kedro_dcgan.cli.models import compare, describe, promote, rollback, sample, serve
from kedro_dcgan.cli.server import sync, ui
from kedro_dcgan.cli.speed import profile


@click.group()
def cli() -> None:
    """Commands of this project."""


run = copy.copy(kedro_run)
run.callback = interruptible(errors_in_one_line(kedro_run.callback))  # type: ignore[arg-type]  # a command of click has one
cli.add_command(run)


@cli.group()
def dcgan() -> None:
    """Compare, promote, serve and sample generators; look at networks, their speed, and images."""


_VERBS = (
    ui,
    sync,
    compare,
    promote,
    rollback,
    serve,
    sample,
    describe,
    profile,
    digits,
    evaluate_images,
    fetch_weights,
)
for verb in _VERBS:
    dcgan.add_command(verb)
