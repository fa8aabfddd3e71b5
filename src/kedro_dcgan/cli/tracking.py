"""Commands that use the tracking server: its UI, its pending records, and the comparison of runs.

torch and MLflow take seconds to import, so each command imports them itself.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from kedro_dcgan.cli.command import OutputPath, config_loader, dcgan, preset_option, project_folder
from kedro_dcgan.errors import ComparisonError, TrackingError, stop_on_signal
from kedro_dcgan.progress import track
from kedro_dcgan.storage import atomic_file
from kedro_dcgan.tracking.connection import TrackingSettings, connect, in_one_line, ping, reachable, read_settings
from kedro_dcgan.tracking.journal import Journal
from kedro_dcgan.tracking.relocation import relocate
from kedro_dcgan.tracking.run import mark_killed_runs
from kedro_dcgan.tracking.uploader import pending_journals, upload_journal

_HOST = "127.0.0.1"


@contextmanager
def connected(env: str | None = None) -> Iterator[TrackingSettings]:
    """Connect MLflow to the project's server and yield the settings; TrackingError if it does not answer."""
    tracking = read_settings(config_loader(env)["tracking"])
    relocate(tracking)
    connect(tracking)
    with reachable(tracking):
        yield tracking


@dcgan.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), default=None, help="Port to listen on. Default: ui_port of tracking.yml."
)
@preset_option
def ui(port: int | None, env: str | None) -> None:
    """Start the MLflow UI with the runs of this project.

    It listens on this machine only.
    """
    from kedro_dcgan.tracking.experiment import write_view

    with connected(env) as tracking:
        page = write_view(tracking)
    if tracking.server.startswith("http"):
        click.echo(f"The UI is served by the tracking server: {tracking.shown_server}{page}")
        return
    # MLflow imports a deprecated module, and warns in each worker. The warning is no subclass of DeprecationWarning.
    variables = {
        "MLFLOW_BACKEND_STORE_URI": tracking.server,
        "PYTHONWARNINGS": "ignore:starlette.middleware.wsgi is deprecated",
    }
    if tracking.artifact_location:
        variables["MLFLOW_DEFAULT_ARTIFACT_ROOT"] = tracking.artifact_location
    port = port or tracking.ui_port
    address = f"http://{_HOST}:{port}{page}"
    with socket.socket() as probe:
        if probe.connect_ex((_HOST, port)) == 0:
            raise TrackingError(
                f"`--port` must be free (another program uses {port}). If that is this UI, open {address}; "
                f"if not, pass --port {port + 1}."
            )
    click.echo(f"{address}   (ready in up to half a minute)")
    click.echo("Ctrl-C stops it. Until then, use another terminal for other commands, or start it with & at the end.")
    # One worker is enough for one user, and four take four times as long to start. Only warnings are worth a line.
    options = ("--workers", "1", "--uvicorn-opts", "--log-level warning")
    # Other users of this machine can see arguments, but not environment variables.
    command = [sys.executable, "-m", "mlflow", "server", "--host", _HOST, "--port", str(port), *options]
    # `make ui` must not report Ctrl-C as an error.
    with suppress(KeyboardInterrupt):
        sys.exit(_run_server(command, {**os.environ, **variables}))


def _run_server(command: list[str], environment: Mapping[str, str] | None) -> int:
    """Run a server in a process group, and end all of its processes with this one: MLflow leaves its worker behind."""
    with subprocess.Popen(command, env=environment, start_new_session=True) as server:  # noqa: S603
        try:
            with stop_on_signal(immediately=True):
                return server.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)


@dcgan.command()
@click.option("--all", "with_all", is_flag=True, help="Include runs that were uploaded to another server before.")
@preset_option
def sync(env: str | None, with_all: bool) -> None:
    """Upload pending records to the tracking server.

    Records are pending if the server was down during a run.
    """
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
        for _, new_messages in track(upload_journal(journal, tracking), "sync", count, size=lambda step: step[0]):
            messages += new_messages
    except Exception as error:
        # A journal that fails must not block the others.
        click.echo(f"{journal}: {in_one_line(error)} ({journal.folder})", err=True)
        return False
    for message in messages:
        click.echo(message)
    note = "" if journal.is_uploaded(tracking.shown_server) else " (another process is uploading them)"
    click.echo(f"{journal}: {count} records -> {tracking.shown_server}{note}")
    return True


@dcgan.command()
@click.argument("runs", nargs=-1)
@click.option(
    "--report",
    type=OutputPath(dir_okay=False, path_type=Path),
    default=None,
    help="HTML page to write. Default: data/08_reporting/comparison.html.",
)
@preset_option
def compare(runs: tuple[str, ...], report: Path | None, env: str | None) -> None:
    """Compare trained generators in a table and an HTML page.

    The page shows their samples and curves. RUNS are names of MLflow runs or of experiments in DVC, or prefixes of
    ids. Default: the latest ten runs that were evaluated with the same protocol as the latest one. RUNS can also be
    evaluation.json files; these give a table without a page.
    """
    if len(set(runs)) == 1:
        raise ComparisonError("there must be at least two different runs or files to compare (got one). Name another.")
    if runs and all(Path(run).is_file() for run in runs):
        from kedro_dcgan.reports.comparison import compare as compare_evaluations
        from kedro_dcgan.reports.comparison import read_evaluation

        click.echo(compare_evaluations({str(file): read_evaluation(file) for file in map(Path, runs)}))
        return
    from kedro_dcgan.reports.comparison import write_runs_page, write_runs_table
    from kedro_dcgan.tracking.experiment import read_runs

    with connected(env) as tracked:
        compared = read_runs(tracked.experiment, runs)
    click.echo(write_runs_table(compared))
    page = report or project_folder() / "data/08_reporting/comparison.html"
    with atomic_file(page) as temporary:
        temporary.write_text(write_runs_page(compared), encoding="utf-8")
    click.echo(f"\nsamples and curves -> {page}")
