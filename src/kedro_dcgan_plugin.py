"""Kedro plugin that acts in every folder: it disables telemetry, and says where `kedro dcgan` works.

This module is not in the package, because Kedro imports it first: the package must then still be imported from the
project of the working directory, which can be a copy of the installed one.
"""

import os
from pathlib import Path

import click


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
