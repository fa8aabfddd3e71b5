"""Verbs for registered generators: which one is the champion, and let one answer over HTTP."""

import os
import subprocess
import sys

import click

from kedro_dcgan.cli.errors import errors_in_one_line
from kedro_dcgan.cli.project import for_a_preset
from kedro_dcgan.cli.server import connected

_MODEL = click.option("--model", default="dcgan-generator", show_default=True, help="Registered name.")
_HERE = "127.0.0.1"


@click.command()
@click.option("--version", "chosen", required=True, help="Number, or alias: candidate.")
@_MODEL
@for_a_preset
@errors_in_one_line
def promote(chosen: str, model: str, env: str | None) -> None:
    """Let `champion` point to a version, whatever its metric."""
    from kedro_dcgan.tracking.registry import promote as move

    with connected(env):
        version, former = move(model, chosen)
    before = f"was v{former}; kedro dcgan rollback goes back" if former else "there was none before"
    click.echo(f"champion of {model} is v{version.version} ({before})")


@click.command()
@_MODEL
@for_a_preset
@errors_in_one_line
def rollback(model: str, env: str | None) -> None:
    """Let `champion` point to the version that it pointed to before."""
    from kedro_dcgan.tracking.registry import roll_back

    with connected(env):
        version, left = roll_back(model)
    click.echo(f"champion of {model} is v{version.version} again (was v{left})")


@click.command()
@click.option("--model", default="dcgan-generator@champion", show_default=True, help="Registered NAME@ALIAS.")
@click.option("--port", type=click.IntRange(1, 65535), default=5001, show_default=True)
@for_a_preset
@errors_in_one_line
def serve(model: str, port: int, env: str | None) -> None:
    """Answer requests for images over HTTP, to this machine alone (docs/operations.md has one to try)."""
    from kedro_dcgan.tracking.registry import find_version

    name, _, alias = model.partition("@")
    with connected(env) as tracked:
        version = find_version(name, alias or "champion").version
    command = ["models", "serve", "--model-uri", f"models:/{name}/{version}", "--env-manager", "local"]
    where = ["--host", _HERE, "--port", str(port)]
    click.echo(f"http://{_HERE}:{port}/invocations   (Ctrl-C ends it)")
    environment = {**os.environ, "MLFLOW_TRACKING_URI": tracked.server}
    sys.exit(subprocess.call([sys.executable, "-m", "mlflow", *command, *where], env=environment))  # noqa: S603
