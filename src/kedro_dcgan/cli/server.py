"""Verbs for the tracking server: look at runs in the browser, send what it has missed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from kedro_dcgan.cli.command import config_loader, errors_in_one_line, preset_option
from kedro_dcgan.errors import TrackingError
from kedro_dcgan.progress import track
from kedro_dcgan.tracking.journal import Journal
from kedro_dcgan.tracking.run import mark_killed
from kedro_dcgan.tracking.settings import TrackingSettings, in_one_line, read_settings
from kedro_dcgan.tracking.uploader import journals_left_behind

_HERE = "127.0.0.1"


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=None, help="Else ui_port of tracking.yml.")
@preset_option
@errors_in_one_line
def ui(port: int | None, env: str | None) -> None:
    """Serve MLflow's pages for the project's runs, to this machine alone."""
    from kedro_dcgan.tracking.ui import write_view

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
@click.option("--all", "with_all", is_flag=True, help="Also runs that were sent to another server before.")
@preset_option
@errors_in_one_line
def sync(env: str | None, with_all: bool) -> None:
    """Send what runs have had to tell while the tracking server was away."""
    from kedro_dcgan.tracking.settings import require_answer

    with connected(env) as tracked:
        mark_killed(tracked.journals)
        waiting = journals_left_behind(tracked, with_all)
        if not waiting:
            click.echo(f"{tracked.shown_server} has all that runs had to tell.")
            return
        require_answer()
    failed = [journal for journal in waiting if not _send(journal, tracked)]
    if failed:
        raise TrackingError(f"{len(failed)} of {len(waiting)} runs are not sent whole; what they have to tell is kept.")


def _send(journal: Journal, tracked: TrackingSettings) -> bool:
    from kedro_dcgan.tracking.delivery import send_all

    records, answers = len(list(journal.records(journal.sent(tracked.shown_server).offset))), list[str]()
    try:
        for delivered in track(send_all(journal, tracked), "sync", records, size=lambda one: one.count):
            answers += delivered.answers
    except Exception as error:
        # One that cannot be sent must not stop the others.
        click.echo(f"{journal}: {in_one_line(error)} ({journal.folder})", err=True)
        return False
    for answer in answers:
        click.echo(answer)
    left = "" if journal.is_all_sent(tracked.shown_server) else " (another command is sending it)"
    click.echo(f"{journal}: {records} records -> {tracked.shown_server}{left}")
    return True


def tracking_settings(env: str | None = None) -> TrackingSettings:
    """Return what the project's `tracking.yml` says."""
    return read_settings(config_loader(env)["tracking"])


@contextmanager
def connected(env: str | None = None) -> Iterator[TrackingSettings]:
    """Let MLflow's own functions use the project's server; yield where it is.

    Raises:
        TrackingError: if it does not answer.
    """
    from kedro_dcgan.tracking.settings import connect, reachable

    tracked = tracking_settings(env)
    connect(tracked)
    with reachable(tracked):
        yield tracked
