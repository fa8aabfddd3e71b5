"""Verb for speed: where the time of a training step goes."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kedro_dcgan.cli.errors import errors_in_one_line
from kedro_dcgan.cli.project import configuration, for_a_preset

if TYPE_CHECKING:
    from kedro_dcgan.training.fast.profile import StepProfile


@click.command()
@for_a_preset
@click.option("--batch-size", type=click.IntRange(min=2), default=None, help="Images; else training.batch_size.")
@click.option("--steps", type=click.IntRange(min=1), default=10, show_default=True, help="Steps that are watched.")
@click.option("--trace", type=click.Path(dir_okay=False, path_type=Path), default=None, help="JSON file for it.")
@errors_in_one_line
def profile(env: str | None, batch_size: int | None, steps: int, trace: Path | None) -> None:
    """Print where a training step's time goes, on noise in the place of images; write a trace of every operation."""
    # Torch's profiler tells of itself what concerns nobody.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    import torch

    from kedro_dcgan.config import read_parameters
    from kedro_dcgan.model.recipes import network_configs
    from kedro_dcgan.storage import atomic_file
    from kedro_dcgan.training.devices import keep_freed_memory
    from kedro_dcgan.training.fast.calibration import calibrate_steps
    from kedro_dcgan.training.fast.execution import set_up
    from kedro_dcgan.training.fast.profile import profile_step
    from kedro_dcgan.training.plan import compute_of
    from kedro_dcgan.training.state import create_state

    parameters = read_parameters(configuration(env)["parameters"], {})
    sizes = parameters.preprocessing.image_size, parameters.preprocessing.channels
    training = parameters.training.model_copy(update={"batch_size": batch_size} if batch_size else {})
    compute = compute_of(training)
    if compute.device.type == "cpu":
        keep_freed_memory()
    configs = network_configs(*sizes, training)
    calibration = calibrate_steps(*configs, training, compute)
    compute = replace(compute, precision=calibration.precision)
    torch.set_num_threads(calibration.threads)
    shape = (training.batch_size, sizes[1], sizes[0], sizes[0])
    noise = torch.randint(0, 256, shape, dtype=torch.uint8).to(compute.device)
    state = create_state(*configs, training, compute)
    set_up(state, calibration)
    found = profile_step(state, training, compute, iter(lambda: noise, None), steps)
    click.echo(f"{sizes[0]}x{sizes[0]}x{sizes[1]} · batches of {training.batch_size} · {calibration} · {steps} steps")
    click.echo("\n".join(_lines(found)))
    if trace:
        with atomic_file(trace) as file:
            found.trace.export_chrome_trace(str(file))
        click.echo(f"trace -> {trace}   (open it in ui.perfetto.dev or chrome://tracing)")


def _lines(found: "StepProfile") -> list[str]:
    from kedro_dcgan.progress import operations

    whole = sum(found.milliseconds.values())
    lines = [f"  {part:<16} {value:9.2f} ms {value / whole:6.1%}" for part, value in found.milliseconds.items()]
    share = found.flops_per_second / found.matrix_flops_per_second
    return [
        *lines,
        f"  {'a watched step':<16} {whole:9.2f} ms",
        f"{found.images_per_second:,.0f} images/s · {operations(found.flops_per_second)}, {share:.0%} of what matrix "
        f"products reach here ({operations(found.matrix_flops_per_second)})",
    ]
