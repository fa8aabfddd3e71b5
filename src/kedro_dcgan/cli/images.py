"""Verbs for images: the embedded digits, how two folders of images compare, and what that takes."""

import json
from pathlib import Path

import click

from kedro_dcgan.cli.errors import errors_in_one_line
from kedro_dcgan.cli.project import project_folder


@click.command()
@errors_in_one_line
def digits() -> None:
    """Write the embedded digits to data/01_raw/digits, as `kedro run` does when they are not there."""
    from kedro_dcgan.data.sources.digits import DIGITS, write_digits

    click.echo(f"{write_digits(project_folder() / DIGITS):,} digits -> {DIGITS}")


@click.command("evaluate-images")
@click.option("--real", required=True, help="Folder, zip, tar or torchvision dataset of real images.")
@click.option("--generated", required=True, help="The same of generated images.")
@click.option("--input-size", type=click.IntRange(32, 512), default=128, show_default=True, help="For EfficientNet.")
@click.option("--inception-weights", default="auto", show_default=True, help="File, auto (torch hub's) or none.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
@click.option("--precision", type=click.Choice(["float32", "bfloat16", "auto"]), default="float32", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@errors_in_one_line
def evaluate_images(
    real: str, generated: str, input_size: int, inception_weights: str, device: str, precision: str, as_json: bool
) -> None:
    """Print how far generated images are from real ones, of any origin, with intervals and protocol."""
    from kedro_dcgan.pipelines.evaluation.extractors import choose_extractors, fast_extraction
    from kedro_dcgan.pipelines.evaluation.folders import compare_sources
    from kedro_dcgan.reports.evaluation import write_table
    from kedro_dcgan.training.devices import choose_compute

    where = choose_compute(device, "float32", "--device").device
    weights = None if inception_weights == "none" else inception_weights
    extractors = choose_extractors(input_size, weights, where, precision)
    with fast_extraction(extractors[0], where):
        # As everywhere on a command line, relative paths begin where the user is.
        result = compare_sources(real, generated, Path.cwd(), extractors)
    click.echo(json.dumps(result, indent=2, ensure_ascii=False) if as_json else write_table(result))


@click.command("fetch-weights")
@click.option("--url", default=None, help="Where from; by default from torch-fidelity's releases.")
@errors_in_one_line
def fetch_weights(url: str | None) -> None:
    """Fetch Inception's weights for FID (91 MB) to where torch hub keeps such files."""
    from kedro_dcgan.evaluation.inception import fetch_weights as fetch

    click.echo(f"{fetch(url)} is there: evaluations report FID from now on.")
