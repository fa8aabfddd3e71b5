"""Commands that measure and compare: two sets of images, or trained generators.

torch and MLflow take seconds to import, so each command imports them itself.
"""

import json
from pathlib import Path

import click

from kedro_dcgan.cli.command import errors_in_one_line, preset_option, project_folder
from kedro_dcgan.cli.server import connected
from kedro_dcgan.errors import ComparisonError


@click.command("evaluate-images")
@click.option("--real", required=True, help="Real images: folder, zip, tar or torchvision:NAME.")
@click.option("--generated", required=True, help="Generated images, in the same forms.")
@click.option(
    "--input-size", type=click.IntRange(32, 512), default=128, show_default=True, help="EfficientNet's input, pixels."
)
@click.option(
    "--inception-weights", default="auto", show_default=True, help="File, auto (torch hub's cache) or none (no FID)."
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
@click.option("--precision", type=click.Choice(["float32", "bfloat16", "auto"]), default="float32", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@errors_in_one_line
def evaluate_images(
    real: str, generated: str, input_size: int, inception_weights: str, device: str, precision: str, as_json: bool
) -> None:
    """Compare generated images with real ones, from any source: metrics with intervals and protocol."""
    from kedro_dcgan.pipelines.evaluation.extractors import choose_extractors, fast_extraction
    from kedro_dcgan.pipelines.evaluation.folders import compare_sources
    from kedro_dcgan.reports.evaluation import write_table
    from kedro_dcgan.training.devices import choose_compute

    chosen = choose_compute(device, "float32", "--device").device
    weights = None if inception_weights == "none" else inception_weights
    extractors = choose_extractors(input_size, weights, chosen, precision)
    with fast_extraction(extractors[0], chosen):
        # Relative paths are relative to the working directory, as in any command.
        result = compare_sources(real, generated, Path.cwd(), extractors)
    click.echo(json.dumps(result, indent=2, ensure_ascii=False) if as_json else write_table(result))


@click.command("fetch-weights")
@click.option("--url", default=None, help="Default: the release of torch-fidelity.")
@errors_in_one_line
def fetch_weights(url: str | None) -> None:
    """Download the Inception-v3 weights for FID (91 MB) into torch hub's cache."""
    from kedro_dcgan.evaluation.inception import fetch_weights as fetch

    click.echo(f"Inception-v3 weights -> {fetch(url)}. Evaluations now report FID.")


@click.command()
@click.argument("runs", nargs=-1)
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), default=None, help="HTML page to write.")
@preset_option
@errors_in_one_line
def compare(runs: tuple[str, ...], report: Path | None, env: str | None) -> None:
    """Compare trained generators in a table, and write one HTML page with their samples and curves.

    RUNS are names of MLflow runs, or prefixes of their ids. Default: the latest ten runs that were evaluated by the
    same protocol as the latest one. RUNS can also be evaluation.json files; these give a table without a page.
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
