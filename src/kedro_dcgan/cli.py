"""The command line: `kedro run` with errors in one line, and the product's own verbs, `kedro dcgan …`."""

import copy
import functools
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import settings
from kedro.framework.session import KedroSession
from kedro.utils import find_kedro_project
from kedro.validation.exceptions import ParameterValidationError

from kedro_dcgan import tracking
from kedro_dcgan.errors import DcganError, ParameterError
from kedro_dcgan.interrupts import Interrupted, interrupted_by_signal


def errors_in_one_line(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command end with `Error: <one line>` and exit code 1 where the user can mend the cause."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            _check_environment(kwargs.get("env"))
            return command(*args, **kwargs)
        except Exception as error:
            message = _for_the_user(error)
            if message is None:
                raise
            raise click.ClickException(message) from error

    return wrapped


def interruptible(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let Ctrl-C and SIGTERM end a run as killed, in one line, with the exit code that a shell expects."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            with interrupted_by_signal():
                return command(*args, **kwargs)
        except Interrupted as interruption:
            tracking.close_run("KILLED")
            click.echo(str(interruption) or "stopped", err=True)
            sys.exit(interruption.exit_code)

    return wrapped


def _for_the_user(error: BaseException | None) -> str | None:
    # Kedro wraps what a dataset raises: the cause may lie some levels down.
    while error is not None:
        if isinstance(error, (DcganError, ParameterValidationError)):
            return str(error)
        # Kedro's own answers to a misspelt pipeline or node, which name the close matches.
        if isinstance(error, ValueError) and str(error).startswith(
            ("Failed to find the pipeline", "Pipeline does not")
        ):
            return " ".join(str(error).split())
        error = error.__cause__
    return None


@click.group()
def cli() -> None:
    """Commands of this project."""


run = copy.copy(kedro_run)
run.callback = interruptible(errors_in_one_line(kedro_run.callback))  # type: ignore[arg-type]  # a command of click has one
cli.add_command(run)


@cli.group()
def dcgan() -> None:
    """Sample from generators and look at networks."""


@dcgan.command()
@click.option("--count", type=click.IntRange(min=1), default=16, show_default=True, help="How many images.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Same seed, same images.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="New folder for them.")
@click.option("--model", default="dcgan-generator@candidate", show_default=True, help="Registered NAME@ALIAS.")
@errors_in_one_line
def sample(count: int, seed: int, output: Path, model: str) -> None:
    """Write PNG images from a registered generator."""
    import torch

    from kedro_dcgan.datasets import ImageFolderDataset
    from kedro_dcgan.gan.sampling import generate, sample_latents
    from kedro_dcgan.generator_files import read_generator
    from kedro_dcgan.progress import track

    if output.exists() and any(output.iterdir()):
        raise ParameterError(
            f"`--output` must be a new or an empty folder (got {output}, which has files). Name another."
        )
    with KedroSession.create(project_path=_project()) as session:
        session.load_context()  # type: ignore[attr-defined]  # kedro-mlflow connects MLflow to the project's database.
    trained = read_generator(tracking.fetch_generator(model))
    latents = sample_latents(count, trained.spec, seed)
    batches = track(generate(trained.build(), latents), "samples", count)
    ImageFolderDataset(output).save(torch.cat(list(batches)).numpy())
    click.echo(f"{count} images of {model}, seed {seed} -> {output}")


@dcgan.command()
@click.option("--env", "-e", default=None, help="Preset: a folder of conf/.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@errors_in_one_line
def describe(env: str | None, as_json: bool) -> None:
    """Print both networks: layers, parameters, shapes, arithmetic and memory."""
    from kedro_dcgan.gan.architectures import network_specs
    from kedro_dcgan.gan.describe import describe as describe_network
    from kedro_dcgan.parameters import read_parameters

    loader = settings.CONFIG_LOADER_CLASS(str(_project() / "conf"), env=env, **settings.CONFIG_LOADER_ARGS)
    parameters = read_parameters(loader["parameters"], {})
    images = parameters.preprocessing
    specs = network_specs(images.image_size, images.channels, parameters.training)
    descriptions = [asdict(describe_network(spec, parameters.training.batch_size)) for spec in specs]
    if as_json:
        click.echo(json.dumps({description["name"].lower(): description for description in descriptions}, indent=2))
    else:
        click.echo("\n\n".join(_table(description) for description in descriptions))


@dcgan.command()
@errors_in_one_line
def digits() -> None:
    """Write the embedded digits to data/01_raw/digits, as `kedro run` does when they are not there."""
    from kedro_dcgan.sources.digits import DIGITS, write_digits

    click.echo(f"{write_digits(_project() / DIGITS):,} digits -> {DIGITS}")


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


def _check_environment(env: str | None) -> None:
    conf = _project() / "conf"
    if env and not (conf / env).is_dir():
        presets = sorted(folder.name for folder in conf.iterdir() if folder.is_dir() and folder.name != "local")
        raise ParameterError(f"`--env` must be a folder of conf/ (got {env}). There are: {', '.join(presets)}.")


def _project() -> Path:
    return find_kedro_project(Path.cwd()) or Path.cwd()
