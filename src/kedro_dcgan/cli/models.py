"""Verbs for registered generators: which one is the champion, and let one answer over HTTP."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from kedro_dcgan.cli.errors import errors_in_one_line
from kedro_dcgan.cli.project import configuration, for_a_preset, project_folder
from kedro_dcgan.cli.server import connected
from kedro_dcgan.errors import ComparisonError, ParameterError

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


# TODO(merge) cli.comparing


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


# TODO(merge) cli.generators


@click.command()
@click.option("--count", type=click.IntRange(min=1), default=16, show_default=True, help="How many images.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Same seed, same images.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="New folder for them.")
@click.option("--model", default="dcgan-generator@candidate", show_default=True, help="Registered NAME@ALIAS.")
@for_a_preset
@errors_in_one_line
def sample(count: int, seed: int, output: Path, model: str, env: str | None) -> None:
    """Write PNG images from a registered generator."""
    import torch

    from kedro_dcgan.datasets import ImageFolderDataset
    from kedro_dcgan.model.sampling import generate, sample_latents
    from kedro_dcgan.model.saved import read_generator
    from kedro_dcgan.progress import track
    from kedro_dcgan.tracking.registry import fetch_generator

    if output.exists() and any(output.iterdir()):
        raise ParameterError(
            f"`--output` must be a new or an empty folder (got {output}, which has files). Name another."
        )
    with connected(env):
        folder = fetch_generator(model)
    trained = read_generator(folder)
    latents = sample_latents(count, trained.config, seed)
    batches = track(generate(trained.build(), latents), "samples", count)
    ImageFolderDataset(output).save(torch.cat(list(batches)).numpy())
    click.echo(f"{count} images of {model}, seed {seed} -> {output}")


@click.command()
@for_a_preset
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@errors_in_one_line
def describe(env: str | None, as_json: bool) -> None:
    """Print both networks: layers, parameters, shapes, arithmetic and memory."""
    from kedro_dcgan.config import read_parameters
    from kedro_dcgan.model.describe import describe as describe_network
    from kedro_dcgan.model.recipes import network_configs

    parameters = read_parameters(configuration(env)["parameters"], {})
    images = parameters.preprocessing
    configs = network_configs(images.image_size, images.channels, parameters.training)
    descriptions = [asdict(describe_network(config, parameters.training.batch_size)) for config in configs]
    if as_json:
        click.echo(json.dumps({description["name"].lower(): description for description in descriptions}, indent=2))
    else:
        click.echo("\n\n".join(_table(description) for description in descriptions))


def _table(description: dict[str, Any]) -> str:
    rows = [
        (layer["name"], layer["kind"], "x".join(map(str, layer["output_shape"])), f"{layer['parameters']:,}")
        for layer in description["layers"]
    ]
    rows += [
        ("parameters", "", "", f"{description['parameters']:,}"),
        ("trainable", "", "", f"{description['trainable_parameters']:,}"),
        ("an image", "", "", f"{description['flops'] / 1e9:.3f} GFLOP"),
        ("training", f"batches of {description['batch_size']}", "", f"{description['training_bytes'] / 1e9:.2f} GB"),
    ]
    lines = [f"  {name:<12} {kind:<17} {shape:>12} {amount:>14}" for name, kind, shape, amount in rows]
    return "\n".join([description["name"], *lines])
