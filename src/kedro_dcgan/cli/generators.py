"""Verbs for generators: look at the networks, draw samples."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from kedro_dcgan.cli.errors import errors_in_one_line
from kedro_dcgan.cli.project import configuration, for_a_preset
from kedro_dcgan.cli.server import connected
from kedro_dcgan.errors import ParameterError


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
    from kedro_dcgan.generator_files import read_generator
    from kedro_dcgan.model.sampling import generate, sample_latents
    from kedro_dcgan.progress import track
    from kedro_dcgan.tracking.registry import fetch_generator

    if output.exists() and any(output.iterdir()):
        raise ParameterError(
            f"`--output` must be a new or an empty folder (got {output}, which has files). Name another."
        )
    with connected(env):
        folder = fetch_generator(model)
    trained = read_generator(folder)
    latents = sample_latents(count, trained.spec, seed)
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
    from kedro_dcgan.model.recipes import network_specs

    parameters = read_parameters(configuration(env)["parameters"], {})
    images = parameters.preprocessing
    specs = network_specs(images.image_size, images.channels, parameters.training)
    descriptions = [asdict(describe_network(spec, parameters.training.batch_size)) for spec in specs]
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
