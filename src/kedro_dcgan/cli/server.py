"""Verbs for the tracking server: look at runs in the browser, send what it has missed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from kedro.framework.project import settings

from kedro_dcgan.cli.endings import errors_in_one_line, project_folder
from kedro_dcgan.progress import track
from kedro_dcgan.tracking.journal import Journal
from kedro_dcgan.tracking.run import mark_killed
from kedro_dcgan.tracking.settings import TrackingSettings, read_settings

_HERE = "127.0.0.1"


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=None, help="Else ui_port of tracking.yml.")
@click.option("--env", "-e", default=None, help="Preset: a folder of conf/.")
@errors_in_one_line
def ui(port: int | None, env: str | None) -> None:
    """Serve MLflow's pages for the project's runs, to this machine alone."""
    from kedro_dcgan.tracking.view import write_view

    with connected(env) as tracked:
        page = write_view(tracked.experiment)
    if tracked.server.startswith("http"):
        click.echo(f"The pages are those of the server: {tracked.shown_server}{page}")
        return
    # Not as arguments: other users of this machine see those.
    addresses = {"MLFLOW_BACKEND_STORE_URI": tracked.server}
    if tracked.artifact_location:
        addresses["MLFLOW_DEFAULT_ARTIFACT_ROOT"] = tracked.artifact_location
    command = [sys.executable, "-m", "mlflow", "server", "--host", _HERE, "--port", str(port or tracked.ui_port)]
    click.echo(f"http://{_HERE}:{port or tracked.ui_port}{page}   (Ctrl-C ends it)")
    sys.exit(subprocess.call(command, env={**os.environ, **addresses}))  # noqa: S603


@click.command()
@click.option("--env", "-e", default=None, help="Preset: a folder of conf/.")
@errors_in_one_line
def sync(env: str | None) -> None:
    """Send what runs have had to tell while the tracking server was away."""
    tracked = tracking_settings(env)
    mark_killed(tracked.journals)
    waiting = [one for one in Journal.all_in(tracked.journals) if not one.is_all_sent(tracked.shown_server)]
    if not waiting:
        click.echo(f"{tracked.shown_server} has all that runs had to tell.")
        return
    for journal in waiting:
        _send(journal, tracked)


def _send(journal: Journal, tracked: TrackingSettings) -> None:
    from kedro_dcgan.tracking.delivery import reachable, send_all

    records = len(list(journal.records(journal.sent(tracked.shown_server).offset)))
    with reachable(tracked):
        for _ in track(send_all(journal, tracked), "sync", records, size=int):
            pass
    for answer in journal.take_answers(tracked.shown_server):
        click.echo(answer)
    left = "" if journal.is_all_sent(tracked.shown_server) else " (another command is sending it)"
    click.echo(f"{journal.identity.name or journal.identity.key}: {records} records -> {tracked.shown_server}{left}")


def tracking_settings(env: str | None = None) -> TrackingSettings:
    """Return what the project's `tracking.yml` says."""
    loader = settings.CONFIG_LOADER_CLASS(str(project_folder() / "conf"), env=env, **settings.CONFIG_LOADER_ARGS)
    return read_settings(loader["tracking"])


@contextmanager
def connected(env: str | None = None) -> Iterator[TrackingSettings]:
    """Let MLflow's own functions use the project's server; yield where it is.

    Raises:
        TrackingError: if it does not answer.
    """
    from kedro_dcgan.tracking.delivery import connect, reachable

    tracked = tracking_settings(env)
    connect(tracked)
    with reachable(tracked):
        yield tracked
