"""Commands for registered generators: sample from one, serve one over HTTP, choose the champion.

torch and MLflow take seconds to import, so each command imports them itself.
"""

import os
import subprocess
import sys
from pathlib import Path

import click

from kedro_dcgan.cli.command import errors_in_one_line, preset_option
from kedro_dcgan.cli.server import connected
from kedro_dcgan.errors import ParameterError

_model_option = click.option("--model", default="dcgan-generator", show_default=True, help="Name in the registry.")
_HOST = "127.0.0.1"


@click.command()
@click.option("--count", type=click.IntRange(min=1), default=16, show_default=True, help="Number of images.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of the latents.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="New or empty folder.")
@click.option("--model", default="dcgan-generator@candidate", show_default=True, help="NAME@ALIAS in the registry.")
@preset_option
@errors_in_one_line
def sample(count: int, seed: int, output: Path, model: str, env: str | None) -> None:
    """Generate images with a registered generator and write them as PNG files."""
    import torch

    from kedro_dcgan.datasets import ImageFolderDataset
    from kedro_dcgan.model.sampling import generate, sample_latents
    from kedro_dcgan.model.saved import read_generator
    from kedro_dcgan.progress import track
    from kedro_dcgan.tracking.registry import fetch_generator

    if output.exists() and any(output.iterdir()):
        raise ParameterError(f"`--output` must be a new or an empty folder (got {output}, with files). Name another.")
    with connected(env):
        folder = fetch_generator(model)
    trained = read_generator(folder)
    latents = sample_latents(count, trained.config, seed)
    batches = track(generate(trained.build(), latents), "samples", count)
    ImageFolderDataset(output).save(torch.cat(list(batches)).numpy())
    click.echo(f"{count} images of {model}, seed {seed} -> {output}")


@click.command()
@click.option("--model", default="dcgan-generator@champion", show_default=True, help="NAME@ALIAS in the registry.")
@click.option("--port", type=click.IntRange(1, 65535), default=5001, show_default=True)
@preset_option
@errors_in_one_line
def serve(model: str, port: int, env: str | None) -> None:
    """Serve a registered generator over HTTP on this machine (docs/operations.md has a sample request)."""
    from kedro_dcgan.tracking.registry import find_version

    name, _, alias = model.partition("@")
    with connected(env) as tracked:
        version = find_version(name, alias or "champion").version
    click.echo(f"http://{_HOST}:{port}/invocations   (Ctrl-C stops it)")
    arguments = ["models", "serve", "--model-uri", f"models:/{name}/{version}", "--env-manager", "local"]
    address = ["--host", _HOST, "--port", str(port)]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": tracked.server}
    sys.exit(subprocess.call([sys.executable, "-m", "mlflow", *arguments, *address], env=environment))  # noqa: S603


@click.command()
@click.option("--version", "chosen", required=True, help="Version number, or the alias candidate.")
@_model_option
@preset_option
@errors_in_one_line
def promote(chosen: str, model: str, env: str | None) -> None:
    """Move the alias `champion` to a version, whatever its metrics."""
    from kedro_dcgan.tracking.registry import promote as move

    with connected(env):
        version, former = move(model, chosen)
    before = f"was v{former}; undo: kedro dcgan rollback" if former else "the first champion"
    click.echo(f"champion of {model} is v{version.version} ({before})")


@click.command()
@_model_option
@preset_option
@errors_in_one_line
def rollback(model: str, env: str | None) -> None:
    """Move the alias `champion` back to the previous champion."""
    from kedro_dcgan.tracking.registry import roll_back

    with connected(env):
        version, left = roll_back(model)
    click.echo(f"champion of {model} is v{version.version} again (was v{left})")
