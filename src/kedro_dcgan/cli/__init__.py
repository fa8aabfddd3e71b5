"""The command line: `kedro run`, and the project's own commands, `kedro dcgan …`, all with one-line errors."""

import sys
from pathlib import Path
from types import TracebackType

import click

# They add their commands to the group `dcgan`.
from kedro_dcgan.cli import latents, local, marks, models, tracking  # noqa: F401
from kedro_dcgan.cli.command import dcgan
from kedro_dcgan.cli.kedro_run import run
from kedro_dcgan.console import restart_in_utf8_mode
from kedro_dcgan.errors import DcganError


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # Commands of Kedro itself, such as `kedro catalog`, read the project's files, too.
    if isinstance(error, DcganError):
        click.echo(f"Error: {error}", err=True)
    else:
        sys.__excepthook__(kind, error, trace)


# Other programs may import this, too.
if Path(sys.argv[0]).stem in ("kedro", "python -m kedro", "kedro-dcgan", "__main__"):
    # Before the arguments are parsed: they may contain paths.
    restart_in_utf8_mode()
    sys.excepthook = _report


@click.group()
def cli() -> None:
    """Commands of this project."""


cli.add_command(run)
cli.add_command(dcgan)
