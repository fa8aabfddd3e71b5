"""The command line: `kedro run` with one-line errors, and the project's own commands, `kedro dcgan …`."""

import copy
import sys
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import settings

from kedro_dcgan.cli import local, tracking  # noqa: F401  They add their commands to the group `dcgan`.
from kedro_dcgan.cli.command import dcgan, errors_in_one_line, existing_preset
from kedro_dcgan.errors import Interrupted, stop_on_signal
from kedro_dcgan.hooks import TrackingHooks
from kedro_dcgan.progress import restart_in_utf8_mode

# Before the arguments are parsed: they may contain paths.
restart_in_utf8_mode()


def _run(**arguments: Any) -> Any:
    # On Ctrl-C or SIGTERM, end the MLflow run as KILLED, print one line and exit with 128 + the signal's number.
    try:
        with errors_in_one_line(), stop_on_signal(immediately=True):
            existing_preset(arguments["env"])
            return kedro_run.callback(**arguments)  # type: ignore[misc]  # never None
    except Interrupted as interruption:
        for hook in settings.HOOKS:
            if isinstance(hook, TrackingHooks):
                hook.interrupt()
        click.echo(str(interruption) or "stopped", err=True)
        sys.exit(interruption.exit_code)


@click.group()
def cli() -> None:
    """Commands of this project."""


run = copy.copy(kedro_run)
run.callback = _run
cli.add_command(run)
cli.add_command(dcgan)
