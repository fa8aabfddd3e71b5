"""Entry points of the installed package, for use without the project folder.

`kedro-dcgan` and `python -m kedro_dcgan` run the wheel of `kedro package` with its configuration: a folder or archive
given with `--conf-source`, or the folder `conf` of the working directory. Data and the tracking database are in the
working directory. Kedro imports this module in every folder, so it must import quickly.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click


def main(arguments: Sequence[str] | None = None) -> Any:
    """Run a command of `kedro dcgan`, or `run`. Options alone mean `run`, as in every packaged Kedro project."""
    disable_telemetry()
    if not Path("conf/logging.yml").is_file():
        # Kedro reads it when it is imported. Its own default adds times, levels and its own messages.
        os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(Path(__file__).with_name("logging.yml")))
    from kedro.framework.project import configure_project

    configure_project("kedro_dcgan")
    from kedro_dcgan.cli import run
    from kedro_dcgan.cli.command import dcgan

    dcgan.add_command(run)
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or (words[0].startswith("-") and words[0] not in ("--help", "-h")):
        words.insert(0, "run")
    # In a notebook, return to the caller.
    return dcgan.main(words, prog_name="kedro-dcgan", standalone_mode=not hasattr(sys, "ps1"))


def disable_telemetry() -> None:
    """Disable Kedro's telemetry before any `kedro` command, unless the user enables it. The project also disables it.

    `.telemetry` has an effect only in the project folder.
    """
    os.environ.setdefault("KEDRO_DISABLE_TELEMETRY", "true")


class _OutsideProject(click.Group):
    # Kedro asks global commands first, also inside the project, where they must not hide the project's own.
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from kedro.framework import project

        if cmd_name != "dcgan" or project.PACKAGE_NAME == "kedro_dcgan":
            return None
        raise click.ClickException(
            f"`kedro dcgan` must be run in a kedro-dcgan project (there is no project here: {Path.cwd()}). "
            "Change to the project folder, or use kedro-dcgan with --conf-source."
        )


outside_project = _OutsideProject("kedro")

if __name__ == "__main__":
    main()
