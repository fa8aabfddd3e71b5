"""The verb that puts trained generators side by side."""

from pathlib import Path

import click

from kedro_dcgan.cli.errors import errors_in_one_line
from kedro_dcgan.cli.project import for_a_preset, project_folder
from kedro_dcgan.cli.server import connected
from kedro_dcgan.errors import ComparisonError


@click.command()
@click.argument("runs", nargs=-1)
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), default=None, help="HTML page for it.")
@for_a_preset
@errors_in_one_line
def compare(runs: tuple[str, ...], report: Path | None, env: str | None) -> None:
    """Print trained generators side by side, and write a page with their samples and curves that can be mailed.

    RUNS are names of runs, or how their ids begin; without any the newest ten that were measured as the newest one was.
    Or they are the JSON files that evaluations leave: no page is made of these.
    """
    if len(set(runs)) == 1:
        raise ComparisonError("there must be at least two different runs or files to compare (got one). Name another.")
    if runs and all(Path(run).is_file() for run in runs):
        click.echo(_table_of_files([Path(run) for run in runs]))
        return
    from kedro_dcgan.reports.runs import write_runs_page, write_runs_table
    from kedro_dcgan.storage import atomic_file
    from kedro_dcgan.tracking.reading import read_runs

    with connected(env) as tracked:
        found = read_runs(tracked.experiment, runs)
    click.echo(write_runs_table(found))
    page = report or project_folder() / "data/08_reporting/comparison.html"
    with atomic_file(page) as temporary:
        temporary.write_text(write_runs_page(found), encoding="utf-8")
    click.echo(f"\nsamples and curves -> {page}")


def _table_of_files(files: list[Path]) -> str:
    from kedro_dcgan.reports.comparison import compare as compare_evaluations
    from kedro_dcgan.reports.comparison import read_evaluation

    return compare_evaluations({str(path): read_evaluation(path) for path in files})
