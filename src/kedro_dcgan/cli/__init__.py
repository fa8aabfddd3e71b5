"""The command line: `kedro run` with one-line errors, and the project's own commands, `kedro dcgan …`."""

import copy
import sys
from collections.abc import Sequence
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import pipelines, settings

from kedro_dcgan.cli import local, tracking  # noqa: F401  They add their commands to the group `dcgan`.
from kedro_dcgan.cli.command import dcgan, errors_in_one_line, existing_preset, use_conf_source
from kedro_dcgan.errors import Interrupted, stop_on_signal
from kedro_dcgan.hooks import TrackingHooks


def _run(**arguments: Any) -> Any:
    # On Ctrl-C or SIGTERM, end the MLflow run as KILLED, print one line and exit with 128 + the signal's number.
    try:
        with errors_in_one_line(), stop_on_signal(immediately=True):
            use_conf_source(arguments["conf_source"])
            if existing_preset(arguments["env"]) == "local":
                # Kedro's default, which is no preset.
                arguments["env"] = None
            for option in ("node_names", "from_nodes", "to_nodes"):
                arguments[option] = _with_stages(arguments[option])
            return kedro_run.callback(**arguments)  # type: ignore[misc]  # never None
    except Interrupted as interruption:
        for hook in settings.HOOKS:
            if isinstance(hook, TrackingHooks):
                hook.interrupt()
        click.echo(str(interruption) or "stopped", err=True)
        sys.exit(interruption.exit_code)


def _with_stages(names: Sequence[str]) -> list[str]:
    # Kedro only knows a node by its stage and name: `training.train_generator`. The name is enough for ours.
    if all("." in name for name in names):
        return list(names)
    known = {node.name.rpartition(".")[2]: node.name for node in pipelines["__default__"].nodes}
    return [known.get(name, name) for name in names]


@click.group()
def cli() -> None:
    """Commands of this project."""


run = copy.copy(kedro_run)
run.callback = _run
cli.add_command(run)
cli.add_command(dcgan)
