"""Commands for the tracking server: open the UI, and upload pending records."""

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
from kedro_dcgan.tracking.run import mark_killed_runs
from kedro_dcgan.tracking.settings import TrackingSettings, connect, in_one_line, ping, reachable, read_settings
from kedro_dcgan.tracking.uploader import pending_journals, upload_journal

_LOCALHOST = "127.0.0.1"


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=None, help="Default: ui_port of tracking.yml.")
@preset_option
@errors_in_one_line
def ui(port: int | None, env: str | None) -> None:
    """Start the MLflow UI with the runs of this project, on this machine only."""
    from kedro_dcgan.tracking.ui import write_view

    with connected(env) as tracking:
        page = write_view(tracking.experiment)
    if tracking.server.startswith("http"):
        click.echo(f"The UI is served by the tracking server: {tracking.shown_server}{page}")
        return
    # Other users of this machine can see arguments, but not environment variables.
    variables = {"MLFLOW_BACKEND_STORE_URI": tracking.server}
    if tracking.artifact_location:
        variables["MLFLOW_DEFAULT_ARTIFACT_ROOT"] = tracking.artifact_location
    port = port or tracking.ui_port
    command = [sys.executable, "-m", "mlflow", "server", "--host", _LOCALHOST, "--port", str(port)]
    click.echo(f"http://{_LOCALHOST}:{port}{page}   (press Ctrl-C to stop)")
    sys.exit(subprocess.call(command, env={**os.environ, **variables}))  # noqa: S603


@click.command()
@click.option("--all", "with_all", is_flag=True, help="Include runs that were uploaded to another server before.")
@preset_option
@errors_in_one_line
def sync(env: str | None, with_all: bool) -> None:
    """Upload pending records, for example of runs during which the tracking server was down."""
    with connected(env) as tracking:
        mark_killed_runs(tracking.journals)
        pending = pending_journals(tracking, with_all)
        if not pending:
            click.echo(f"No pending records: {tracking.shown_server} is up to date.")
            return
        ping()
    failed = [journal for journal in pending if not _upload(journal, tracking)]
    if failed:
        raise TrackingError(
            f"all {len(pending)} journals must be uploaded ({len(failed)} failed; their records are kept). "
            "Fix the errors above and run kedro dcgan sync again."
        )


def _upload(journal: Journal, tracking: TrackingSettings) -> bool:
    count = len(list(journal.records(journal.upload_state(tracking.shown_server).offset)))
    messages: list[str] = []
    try:
        for uploaded in track(upload_journal(journal, tracking), "sync", count, size=lambda step: step.count):
            messages += uploaded.messages
    except Exception as error:
        # A journal that fails must not block the others.
        click.echo(f"{journal}: {in_one_line(error)} ({journal.folder})", err=True)
        return False
    for message in messages:
        click.echo(message)
    note = "" if journal.is_uploaded(tracking.shown_server) else " (another process is uploading them)"
    click.echo(f"{journal}: {count} records -> {tracking.shown_server}{note}")
    return True


@contextmanager
def connected(env: str | None = None) -> Iterator[TrackingSettings]:
    """Connect MLflow to the server of the project and yield the tracking settings.

    Raises:
        TrackingError: if the server does not answer.
    """
    tracking = read_settings(config_loader(env)["tracking"])
    connect(tracking)
    with reachable(tracking):
        yield tracking
