"""Write what people look at and what other programs load."""

import logging
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image

from kedro_dcgan.config import ExportParameters
from kedro_dcgan.errors import ModelError
from kedro_dcgan.model.export import exported_program, require_same_images, to_onnx, to_pt2
from kedro_dcgan.model.sampling import generate, sample_latents
from kedro_dcgan.model.saved import TrainedGenerator
from kedro_dcgan.progress import track
from kedro_dcgan.reports.pictures import Animation, SampleGrid, make_grid
from kedro_dcgan.training.threads import fast_threads

logger = logging.getLogger(__name__)

_BATCH = 64


def export_samples(generator: TrainedGenerator, export: ExportParameters) -> tuple[np.ndarray, Image.Image]:
    """Return samples, uint8 `(N, C, H, W)`, and all of them in one picture."""
    latents = sample_latents(export.samples, generator.config, export.seed)
    network = generator.build()
    # A sample for the timing takes a dozen batches.
    is_long = export.samples > 20 * _BATCH
    with fast_threads(lambda: list(generate(network, latents[:_BATCH], _BATCH))) if is_long else nullcontext():
        batches = list(track(generate(network, latents, _BATCH), "export", export.samples))
    samples = torch.cat(batches).numpy()
    # Small images are enlarged to a size that people can see.
    scale = max(1, 64 // generator.config.image_size)
    return samples, Image.fromarray(make_grid(samples, scale=scale))


def export_progress(sample_frames: list[SampleGrid], export: ExportParameters) -> tuple[Animation, Animation]:
    """Return the samples of the fixed latents over time, for an animated picture and for a video."""
    progress = Animation([frame.picture for frame in sample_frames], export.frames_per_second)
    return progress, progress


def draw_training_curves(training_history: pd.DataFrame) -> Figure:
    """Draw losses and the discriminator's opinion over the images seen."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    losses, opinions = figure.subplots(2, 1, sharex=True)
    kimg = training_history["images_seen"] / 1000
    losses.plot(kimg, training_history["discriminator_loss"], label="discriminator", color="tab:blue")
    losses.plot(kimg, training_history["generator_loss"], label="generator", color="tab:orange")
    losses.set_ylabel("loss")
    opinions.plot(kimg, training_history["real_probability"], label="D(real)", color="tab:green")
    opinions.plot(kimg, training_history["fake_probability"], label="D(fake)", color="tab:red")
    opinions.set(xlabel="real images shown, thousands", ylabel="probability of real", ylim=(0, 1))
    for axes in (losses, opinions):
        axes.grid(alpha=0.3)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def export_generator(generator: TrainedGenerator, evaluation: dict[str, Any]) -> TrainedGenerator:
    """Return the generator with its metrics and their protocol written into it.

    Raises:
        ModelError: if the metrics are those of another generator.
    """
    if evaluation["generator"] != generator.fingerprint():
        raise ModelError(
            "the evaluation must be that of the generator at hand (it is another's). "
            "Evaluate again: kedro run --pipelines=evaluation,export."
        )
    logger.info("export        samples, progress, curves, generator -> data/07_model_output, data/08_reporting")
    measured = {key: evaluation[key] for key in ("metrics", "primary_metric", "numbers", "protocols")}
    of_primary = next(one for one in evaluation["numbers"] if one["name"] == evaluation["primary_metric"])
    protocols = {protocol["name"]: protocol for protocol in evaluation["protocols"]}
    measured |= {"protocol": protocols[of_primary["protocol"]], "quality": evaluation["verdict"]}
    return replace(generator, facts={**generator.facts, **measured})


def export_runtimes(generator: TrainedGenerator) -> tuple[bytes, bytes]:
    """Return the generator as ONNX, checked against PyTorch, and as a program of torch.export.

    Raises:
        ModelError: if ONNX Runtime draws other images.
    """
    network = generator.build()
    program = exported_program(network)
    onnx_model = to_onnx(program, generator)
    require_same_images(network, onnx_model)
    return onnx_model, to_pt2(program)
