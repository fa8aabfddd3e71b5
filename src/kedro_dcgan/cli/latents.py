"""Commands for the latent space of a generator: walks, directions, and the latent of a picture.

torch takes seconds to import, so each command imports it itself.
"""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kedro_dcgan.cli.command import OutputPath, dcgan, parameters_of, preset_option, project_folder
from kedro_dcgan.cli.generators import chosen_generator, generator_option
from kedro_dcgan.errors import DataError, ParameterError
from kedro_dcgan.progress import Heartbeat, track
from kedro_dcgan.storage import atomic_file

if TYPE_CHECKING:  # They import torch or numpy.
    import numpy as np

    from kedro_dcgan.config import PreprocessingParameters
    from kedro_dcgan.model.directions import Method
    from kedro_dcgan.model.networks import GeneratorConfig

_MOST_SAMPLES, _MOST_POINTS, _MOST_PIXELS = 100_000, 100, 200_000_000
_label_option = click.option("--label", default=None, help="Class of the images of a conditional generator.")


def _output_option(default: str, what: str) -> Callable[..., Any]:
    return click.option(
        "--output",
        type=OutputPath(dir_okay=False, path_type=Path),
        default=None,
        help=f"{what} Default: data/07_model_output/{default}.",
    )


def _read_numbers(context: click.Context, option: click.Parameter, text: str) -> list[int]:
    numbers = [part.strip() for part in text.split(",")]
    if not 2 <= len(numbers) <= _MOST_POINTS or any(
        not part.isdecimal() or int(part) >= _MOST_SAMPLES for part in numbers
    ):
        raise click.BadParameter(
            f"must be 2 to {_MOST_POINTS} numbers of samples from 0 to {_MOST_SAMPLES - 1:,}, with commas between them "
            f"(got {text}). For example: 0,3,7"
        )
    return [int(part) for part in numbers]


@dcgan.command()
@click.option(
    "--samples",
    "numbers",
    default="0,1,2,3",
    show_default=True,
    callback=_read_numbers,
    help="Numbers of the samples to pass through, as `kedro dcgan sample` numbers its files.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of these samples.")
@click.option("--steps", type=click.IntRange(1, 1000), default=16, show_default=True, help="Steps between two samples.")
@click.option("--straight", is_flag=True, help="Go along straight lines, not along arcs.")
@click.option("--fps", type=click.FloatRange(0.1, 100), default=16, show_default=True, help="Frames per second.")
@_output_option("walk.gif", "File: .gif or .mp4 for a looping animation, .png for a strip of rows.")
@generator_option
@_label_option
@preset_option
def interpolate(
    numbers: list[int],
    seed: int,
    steps: int,
    straight: bool,
    fps: float,
    output: Path | None,
    model: str | None,
    label: str | None,
    env: str | None,
) -> None:
    """Walk through the latent space, from sample to sample."""
    file = output or project_folder() / "data/07_model_output/walk.gif"
    if file.suffix not in (".gif", ".mp4", ".png"):
        raise ParameterError(f"`--output` must end in .gif, .mp4 or .png (got {file}). Rename it.")
    from kedro_dcgan.datasets import AnimationDataset, VideoDataset
    from kedro_dcgan.model import latents
    from kedro_dcgan.model.sampling import generate_all
    from kedro_dcgan.model.synthetic_marks import MarkedPicture
    from kedro_dcgan.reports.pictures import Animation, draw_strips, make_grid

    trained, mark = chosen_generator(model, env)
    config, network = trained.config, trained.build()
    points = latents.inputs_of_samples(numbers, config, seed, _number_of(label, config))
    if file.suffix == ".png":
        legs = [
            (f"{a} to {b}", latents.interpolate(start, end, steps + 1, config, not straight))
            for a, b, start, end in zip(numbers, numbers[1:], points, points[1:], strict=False)
        ]
        strips = [(caption, generate_all(network, inputs).numpy()) for caption, inputs in legs]
        picture = MarkedPicture(draw_strips(strips, steps + 1), mark.of_image(seed, label=label or ""))
        with atomic_file(file) as temporary:
            temporary.write_bytes(picture.png())
    else:
        images = generate_all(network, latents.walk(points, steps, config, not straight, closed=True)).numpy()
        dataset = VideoDataset if file.suffix == ".mp4" else AnimationDataset
        scale = max(1, 128 // config.image_size)
        pictures = [make_grid(image[None], scale=scale) for image in images]
        dataset(str(file)).save(Animation(pictures, fps, rest_seconds=0))
    click.echo(f"samples {', '.join(map(str, numbers))} of seed {seed} -> {file}")


@dcgan.command()
@click.option("--count", type=click.IntRange(1, 100), default=8, show_default=True, help="Number of directions.")
@click.option(
    "--method",
    type=click.Choice(["first-layer", "features"]),
    default="first-layer",
    show_default=True,
    help="Weights of the first layer (SeFa), or components of its features (GANSpace).",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of the samples.")
@_output_option("directions.png", "Picture; a JSON file with the directions is written beside it.")
@generator_option
@preset_option
def directions(
    count: int, method: "Method", seed: int, output: Path | None, model: str | None, env: str | None
) -> None:
    """Draw directions of the latent space.

    They change images in one way, such as their slant, and are found without labels.
    """
    from kedro_dcgan.model.directions import UNITS, find_directions, strips_along
    from kedro_dcgan.model.synthetic_marks import MarkedPicture
    from kedro_dcgan.reports.pictures import draw_strips

    file = _as_png(output or project_folder() / "data/07_model_output/directions.png")
    trained, mark = chosen_generator(model, env)
    network = trained.build()
    found = find_directions(network, count, method, seed)
    for direction in found:
        effects = " · ".join(f"{name} {value:+.1f}" for name, value in direction.effects.items())
        click.echo(f"  {direction.name:<13} {effects}")
    picture = MarkedPicture(draw_strips(strips_along(network, found, seed), len(UNITS)), mark.of_image(seed))
    with atomic_file(file) as temporary:
        temporary.write_bytes(picture.png())
    content = [{"name": one.name, "vector": one.vector.tolist(), "effects": dict(one.effects)} for one in found]
    _write_json(file.with_suffix(".json"), {"method": method, "directions": content})
    click.echo(f"{len(found)} directions -> {file} and {file.with_suffix('.json').name}")


@dcgan.command()
@click.argument("picture", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--steps", type=click.IntRange(1, 100_000), default=300, show_default=True, help="Steps of the descent.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of its start.")
@_output_option("inverted.png", "Picture of both; a JSON file with the latent is written beside it.")
@generator_option
@_label_option
@preset_option
def invert(
    picture: Path, steps: int, seed: int, output: Path | None, model: str | None, label: str | None, env: str | None
) -> None:
    """Find the latent whose image is closest to a picture."""
    import torch

    from kedro_dcgan.model import latents
    from kedro_dcgan.reports.pictures import draw_strips

    file = _as_png(output or project_folder() / "data/07_model_output/inverted.png")
    trained, _ = chosen_generator(model, env)
    config = trained.config
    pixels = _read_picture(picture, config, parameters_of(env).preprocessing)
    with closing(Heartbeat()):
        found = latents.invert(
            trained.build(),
            torch.from_numpy(pixels),
            _number_of(label, config),
            steps,
            seed=seed,
            follow=lambda numbers: track(numbers, "search", len(numbers), size=lambda _: 1),
        )
    with atomic_file(file) as temporary:
        draw_strips([("picture", pixels[None]), ("generated", found.image[None].numpy())], 1).save(temporary, "PNG")
    of_class = config.classes[int(found.inputs[config.latent_dim :].argmax())] if config.classes else None
    content = {"latent": found.inputs[: config.latent_dim].tolist(), "label": of_class, "error": found.error}
    _write_json(file.with_suffix(".json"), content)
    shown = f" of class {of_class}" if of_class else ""
    click.echo(
        f"error of the image{shown}: {found.error:.1f} grey levels (root mean square); the closest of "
        f"{latents.STARTING_SAMPLES} samples: "
        f"{found.error_of_samples:.1f} -> {file} and {file.with_suffix('.json').name}"
    )


def _number_of(label: str | None, config: "GeneratorConfig") -> int | None:
    from kedro_dcgan.model.sampling import class_number

    return None if label is None else class_number(label, config)


def _as_png(file: Path) -> Path:
    if file.suffix != ".png":
        raise ParameterError(f"`--output` must end in .png (got {file}). Rename it.")
    return file


def _write_json(file: Path, content: dict[str, Any]) -> None:
    with atomic_file(file) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _read_picture(file: Path, config: "GeneratorConfig", preprocessing: "PreprocessingParameters") -> "np.ndarray":
    """Return a picture as uint8 `(channels, size, size)` of the generator's images, cropped like those of a preset."""
    from kedro_dcgan.data.decode import open_image, strict_pillow
    from kedro_dcgan.data.scan import prepare
    from kedro_dcgan.data.transforms import Crop, Preparation
    from kedro_dcgan.errors import UnusableImageError

    preparation = Preparation(
        image_size=config.image_size,
        channels=config.channels,
        resample=preprocessing.resample,
        crop=Crop(preprocessing.crop.mode),
        background=preprocessing.background,
        min_size=1,
        max_pixels=_MOST_PIXELS,
        max_file_bytes=_MOST_PIXELS,
    )
    try:
        with strict_pillow():
            return prepare(open_image(file.read_bytes(), _MOST_PIXELS), preparation).copy()
    except UnusableImageError as error:
        fault = f"{error.reason}: {error.detail}" if error.detail else str(error.reason)
        raise DataError(f"`{file}` must be a picture that can be used (got {fault}). Name another.") from None
