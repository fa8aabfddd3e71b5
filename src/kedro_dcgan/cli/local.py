"""Commands that need no tracking server: write the digits, describe and profile the networks, examine the machine.

torch takes seconds to import, so each command imports it itself.
"""

import itertools
import json
import os
import sys
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import yaml

import kedro_dcgan
from kedro_dcgan.cli.command import OutputPath, dcgan, parameters_of, preset_option, project_folder
from kedro_dcgan.doctor import DEVICES, PARTS
from kedro_dcgan.progress import Heartbeat, operations
from kedro_dcgan.storage import atomic_file

if TYPE_CHECKING:  # It imports torch.
    from kedro_dcgan.training.fast.profile import StepProfile


@dcgan.command()
def digits() -> None:
    """Write the embedded digits to data/01_raw/digits.

    `kedro run` does it, too, if they are missing.
    """
    from kedro_dcgan.data.sources.builtin import DIGITS, write_digits

    click.echo(f"{write_digits(project_folder() / DIGITS):,} digits -> {DIGITS}")


@dcgan.command()
@preset_option
@click.option(
    "--output", type=OutputPath(dir_okay=False, path_type=Path), help="YAML file to write. Default: the console."
)
def parameters(env: str | None, output: Path | None) -> None:
    """Print all parameters of a preset as YAML."""
    values = yaml.safe_dump(parameters_of(env).model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    if output is None:
        click.echo(values, nl=False)
        return
    with atomic_file(output) as temporary:
        temporary.write_text(values, encoding="utf-8")
    click.echo(f"parameters -> {output}")


@dcgan.command()
@preset_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def describe(env: str | None, as_json: bool) -> None:
    """Print both networks, layer by layer.

    It lists the output shape and the parameters of each layer, and the FLOPs and the memory of the network.
    """
    from kedro_dcgan.model.describe import describe as describe_network
    from kedro_dcgan.model.recipes import network_configs

    parameters = parameters_of(env)
    images = parameters.preprocessing
    configs = network_configs(images.image_size, images.channels, parameters.training)
    descriptions = [asdict(describe_network(config, parameters.training.batch_size)) for config in configs]
    if as_json:
        click.echo(json.dumps({description["name"].lower(): description for description in descriptions}, indent=2))
        return
    for number, description in enumerate(descriptions):
        rows = [
            (layer["name"], layer["kind"], "x".join(map(str, layer["output_shape"])), f"{layer['parameters']:,}")
            for layer in description["layers"]
        ]
        memory = f"{description['training_bytes'] / 1e9:.2f} GB"
        rows += [
            ("parameters", "", "", f"{description['parameters']:,}"),
            ("trainable", "", "", f"{description['trainable_parameters']:,}"),
            ("forward", "per image", "", f"{description['flops'] / 1e9:.3f} GFLOP"),
            ("training", f"batch size {description['batch_size']}", "", memory),
        ]
        click.echo(f"\n{description['name']}" if number else description["name"])
        for name, kind, shape, amount in rows:
            click.echo(f"  {name:<12} {kind:<17} {shape:>12} {amount:>14}")


@dcgan.command()
@preset_option
@click.option(
    "--batch-size", type=click.IntRange(min=2), default=None, help="Images per step. Default: training.batch_size."
)
@click.option("--steps", type=click.IntRange(min=1), default=10, show_default=True, help="Steps to profile.")
@click.option("--trace", type=OutputPath(dir_okay=False, path_type=Path), default=None, help="JSON trace to write.")
def profile(env: str | None, batch_size: int | None, steps: int, trace: Path | None) -> None:
    """Profile the parts of training steps, on random images."""
    # Silence the log of torch's profiler, which reads this when it is imported.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    import torch

    from kedro_dcgan.model.recipes import network_configs
    from kedro_dcgan.training.devices import keep_freed_memory
    from kedro_dcgan.training.fast.calibration import calibrate_steps
    from kedro_dcgan.training.fast.execution import set_up
    from kedro_dcgan.training.fast.profile import profile_step
    from kedro_dcgan.training.plan import compute_of
    from kedro_dcgan.training.state import create_state

    # Choose precision, threads and execution as a training does.
    parameters = parameters_of(env)
    size, channels = parameters.preprocessing.image_size, parameters.preprocessing.channels
    training = parameters.training.model_copy(update={"batch_size": batch_size} if batch_size else {})
    compute = compute_of(training)
    if compute.device.type == "cpu":
        keep_freed_memory()
    configs = network_configs(size, channels, training)
    calibration = calibrate_steps(*configs, training, compute)
    compute = replace(compute, precision=calibration.precision)
    torch.set_num_threads(calibration.threads)
    state = create_state(*configs, training, compute)
    set_up(state, calibration)

    # Profile steps on random images.
    shape = (training.batch_size, channels, size, size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8).to(compute.device)
    step_profile = profile_step(state, training, compute, iter(lambda: images, None), steps)
    click.echo(f"{size}x{size}x{channels} · batch size {training.batch_size} · {calibration} · {steps} steps")
    _print_profile(step_profile)
    if trace:
        with atomic_file(trace) as file:
            step_profile.trace.export_chrome_trace(str(file))
        click.echo(f"trace -> {trace}   (open it in ui.perfetto.dev or chrome://tracing)")


def _print_profile(step: "StepProfile") -> None:
    total = sum(step.milliseconds.values())
    for part, value in step.milliseconds.items():
        click.echo(f"  {part:<16} {value:9.2f} ms {value / total:6.1%}")
    click.echo(f"  {'profiled step':<16} {total:9.2f} ms")
    share = step.flops_per_second / step.matrix_flops_per_second
    click.echo(
        f"{step.images_per_second:,.0f} images/s · {operations(step.flops_per_second)}, {share:.0%} of the roofline "
        f"(matrix products: {operations(step.matrix_flops_per_second)})"
    )


@dcgan.command("evaluate-images")
@click.option("--real", required=True, help="Real images: folder, zip, tar or torchvision:NAME.")
@click.option("--generated", required=True, help="Generated images, in the same forms.")
@click.option(
    "--input-size",
    type=click.IntRange(32, 512),
    default=128,
    show_default=True,
    help="Input size of EfficientNet-Lite0, pixels.",
)
@click.option(
    "--inception-weights", default="auto", show_default=True, help="File, auto (torch hub's cache) or none (no FID)."
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Device of the extractors. auto: the fastest one available.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "auto"]),
    default="float32",
    show_default=True,
    help="Precision of the extractors. bfloat16 changes the metrics and their names; auto: the faster one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate_images(
    real: str, generated: str, input_size: int, inception_weights: str, device: str, precision: str, as_json: bool
) -> None:
    """Compare generated images with real ones, from any source.

    It prints metrics with intervals and their protocol.
    """
    from kedro_dcgan.pipelines.evaluation.folders import compare_sources
    from kedro_dcgan.pipelines.evaluation.nodes import choose_extractors, fast_extraction
    from kedro_dcgan.reports.evaluation import write_table
    from kedro_dcgan.training.devices import choose_compute

    chosen = choose_compute(device, "float32", "--device").device
    weights = None if inception_weights == "none" else inception_weights
    extractors = choose_extractors(input_size, weights, chosen, precision)
    with closing(Heartbeat()), fast_extraction(extractors[0], chosen):
        # Relative paths are relative to the working directory, as in any command.
        result = compare_sources(real, generated, Path.cwd(), extractors)
    click.echo(json.dumps(result, indent=2, ensure_ascii=False) if as_json else write_table(result))


@dcgan.command("fetch-weights")
@click.option("--url", default=None, help="Address of the file. Default: the release of torch-fidelity.")
def fetch_weights(url: str | None) -> None:
    """Download the Inception-v3 weights for FID (91 MB).

    They are stored in torch hub's cache.
    """
    from kedro_dcgan.evaluation.inception import fetch_weights as fetch

    click.echo(f"Inception-v3 weights -> {fetch(url)}. Evaluations now report FID.")


@dcgan.command()
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Device to examine.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Time limit; measurements that would exceed it are skipped. Default: 2 on a CPU, 10 on a GPU.",
)
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Part to run, one for each `--only`.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--output",
    type=OutputPath(file_okay=False, path_type=Path),
    help="Folder for the report, as text and JSON.",
)
def doctor(device: str, minutes: float | None, only: tuple[str, ...], as_json: bool, output: Path | None) -> None:
    """Check this machine, and measure its speed.

    It prints what the machine has, what a training would choose and why, checks, and speeds beside pytorch/examples.
    Exit code 1: a check has failed.
    """
    options = ["--device", device, *itertools.chain.from_iterable(("--only", part) for part in only)]
    options += [*(["--minutes", str(minutes)] if minutes else []), *(["--json"] if as_json else [])]
    options += ["--output", str(output)] if output else []
    # Instead of this process: the checks start others, which would import its command line.
    folders = [str(Path(kedro_dcgan.__file__).parents[1]), os.environ.get("PYTHONPATH")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}
    os.execve(sys.executable, [sys.executable, "-m", "kedro_dcgan.doctor", *options], environment)  # noqa: S606
