"""Commands for generators: sample, explore and serve them, and choose the champion of the registry.

torch and MLflow take seconds to import, so each command imports them itself.
"""

import itertools
import os
from contextlib import closing, suppress
from pathlib import Path

import click

from kedro_dcgan.cli.command import OutputPath, dcgan, preset_option, project_folder
from kedro_dcgan.cli.generators import (
    REGISTERED,
    chosen_generator,
    exported_generator,
    generator_option,
    warn_of_copies,
)
from kedro_dcgan.cli.tracking import connected
from kedro_dcgan.progress import Heartbeat, track
from kedro_dcgan.storage import atomic_file

_NAME_HELP = "NAME in the registry. Default: that of the last exported generator."
_model_option = click.option("--model", default=None, help=_NAME_HELP)


@dcgan.command()
@click.option("--count", type=click.IntRange(1, 1_000_000), default=16, show_default=True, help="Number of images.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of the latents.")
@click.option(
    "--output",
    type=OutputPath(file_okay=False, path_type=Path),
    default=None,
    help="Folder, numbered if it has files already (samples-2). Default: data/07_model_output/sampled.",
)
@generator_option
@click.option("--label", default=None, help="Class of the images; `all` for --count images of each class.")
@preset_option
def sample(count: int, seed: int, output: Path | None, model: str | None, label: str | None, env: str | None) -> None:
    """Generate images with a generator as PNG files."""
    from kedro_dcgan.datasets import ImageFolderDataset
    from kedro_dcgan.model.sampling import class_names, class_number, generate, input_batches

    trained, mark = chosen_generator(model, env)
    config, names = trained.config, [label]
    if label == "all" and "all" not in config.classes:
        names = list(config.classes) or [label]
    labels = [name if name is None else class_number(name, config) for name in names]
    place = _claim_folder(output or project_folder() / "data/07_model_output/sampled")
    inputs = itertools.chain.from_iterable(input_batches(count, config, seed, number) for number in labels)
    drawn, named = itertools.tee(inputs)
    batches = track(generate(trained.build(), drawn), "samples", count * len(labels))
    images = (image.numpy() for batch in batches for image in batch)
    classes = (name for batch in named for name in class_names(batch, config))
    numbers = itertools.chain.from_iterable(range(count) for _ in labels)
    marks = (mark.of_image(seed, number, name) for number, name in zip(numbers, classes, strict=True))
    # Without a terminal, there is no bar.
    with closing(Heartbeat()):
        ImageFolderDataset(place).save(zip(images, marks, strict=True))
    of_class = f" of class {label}" if label else ""
    if len(names) > 1:
        of_class = f" of each of {len(names)} classes"
    listed = " (labels.csv has the class of each)" if config.classes else ""
    click.echo(f"{count} images{of_class}, seed {seed} -> {place}{listed}")


def _claim_folder(wanted: Path) -> Path:
    """Return the folder if it is new or empty, else the first new one of `NAME-2`, `NAME-3` and so on.

    Numbered folders of a mount point are in it: beside it, they would be on another disk, that of a container.
    """
    is_usable = wanted.is_dir() and all(file.name == "lost+found" or file.name[0] == "." for file in wanted.iterdir())
    if is_usable:
        return wanted
    parent, name = (wanted, "samples") if wanted.is_mount() else (wanted.parent, Path(os.path.normpath(wanted)).name)
    numbered = (parent / f"{name}-{number}" for number in itertools.count(2))
    for place in itertools.chain([wanted], numbered):
        with suppress(FileExistsError):
            # Another process may sample at the same time.
            place.mkdir(parents=True)
            return place
    raise AssertionError


@dcgan.command()
@click.option(
    "--output",
    type=OutputPath(dir_okay=False, path_type=Path),
    default=None,
    help="HTML file. Default: data/08_reporting/explorer.html.",
)
@generator_option
@preset_option
def explore(output: Path | None, model: str | None, env: str | None) -> None:
    """Write a page that runs the generator in a browser.

    One file for people without Python: it opens from disk and needs no connection.
    """
    from kedro_dcgan.model.export import checked_onnx
    from kedro_dcgan.reports.explorer import write_explorer_page

    file = output or project_folder() / "data/08_reporting/explorer.html"
    trained, mark = chosen_generator(model, env)
    onnx_model, _ = checked_onnx(trained)
    page = write_explorer_page(trained, onnx_model, mark=mark)
    with atomic_file(file) as temporary:
        temporary.write_text(page, encoding="utf-8")
    click.echo(f"explorer, {len(page.encode()) / 1e6:.1f} MB -> {file}")


@dcgan.command()
@click.option("--model", default=None, help=f"{REGISTERED} Default: the champion for the last export.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=5001, show_default=True, help="Port to listen on.")
@preset_option
def serve(model: str | None, host: str, port: int, env: str | None) -> None:
    """Serve a registered generator over HTTP.

    By default, only this machine can reach it. docs/how-to/serve.md has a sample request.
    """
    import torch

    from kedro_dcgan.model import serving
    from kedro_dcgan.model.saved import read_generator
    from kedro_dcgan.model.synthetic_marks import SyntheticMark
    from kedro_dcgan.tracking.versions import describe_version, fetch_generator, find_named, find_served, name_of
    from kedro_dcgan.training.threads import most_threads

    # Bind first: an address that is in use must not cost a download.
    with serving.bind(host, port) as listener:
        with connected(env):
            version, why = (find_named(model), "from --model") if model else find_served(exported_generator(env))
            trained = read_generator(fetch_generator(version))
        # Batches are computed at the same time, each on one thread: an image must not depend on the number of cores.
        workers = most_threads()
        torch.set_num_threads(1)
        facts = {"model": version.name, "version": str(version.version), "images_seen": trained.images_seen}
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"model: {describe_version(version)} · {why}")
        warn_of_copies(trained)
        click.echo(f"http://{shown}:{port}/invocations   (press Ctrl-C to stop)")
        if not serving.is_local(listener):
            click.echo("WARNING: anyone who reaches this address can use it: no login, no encryption.", err=True)
        # uvicorn raises Ctrl-C again after its last request.
        with suppress(KeyboardInterrupt):
            mark = SyntheticMark.of(trained, name_of(version))
            serving.create_server(trained.build(), mark, facts, workers).run(sockets=[listener])


@dcgan.command()
@click.option("--version", "chosen", required=True, help="Version number, or the alias candidate.")
@_model_option
@preset_option
def promote(chosen: str, model: str | None, env: str | None) -> None:
    """Move the alias `champion` to a version.

    Its metrics do not matter.
    """
    from kedro_dcgan.tracking.registry import promote as move
    from kedro_dcgan.tracking.versions import find_exported

    with connected(env):
        name = model or find_exported(exported_generator(env)).name
        version, former = move(name, chosen)
    before = f"was v{former}; undo: kedro dcgan rollback --model {name}" if former else "the first champion"
    click.echo(f"champion of {name} is v{version} ({before})")


@dcgan.command()
@_model_option
@preset_option
def rollback(model: str | None, env: str | None) -> None:
    """Move the alias `champion` back to the previous champion."""
    from kedro_dcgan.tracking.registry import roll_back
    from kedro_dcgan.tracking.versions import find_exported

    with connected(env):
        name = model or find_exported(exported_generator(env)).name
        version, left = roll_back(name)
    click.echo(f"champion of {name} is v{version} again (was v{left})")
