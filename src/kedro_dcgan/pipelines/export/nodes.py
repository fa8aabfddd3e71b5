"""Export samples, animations, training curves, and the generator with its metrics and in other formats."""

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
from kedro_dcgan.evaluation.verdict import COPIES_NOTICE
from kedro_dcgan.model.export import checked_onnx, to_pt2
from kedro_dcgan.model.sampling import class_names, generate, sample_inputs
from kedro_dcgan.model.saved import TrainedGenerator
from kedro_dcgan.model.synthetic_marks import MarkedPicture, SyntheticMark
from kedro_dcgan.progress import track
from kedro_dcgan.reports.pictures import Animation, SampleGrid, make_grid
from kedro_dcgan.training.threads import fast_threads

logger = logging.getLogger(__name__)

_BATCH, _GRID = 64, 400
_UNKNOWN_LICENCE = (
    "the licence of the images is unknown. Set `ingestion.licence`, then kedro run "
    "--pipelines=preprocessing,training,evaluation,export (a finished training ends at once if its checkpoints exist)"
)


def export_samples(
    generator: TrainedGenerator, export: ExportParameters
) -> tuple[list[tuple[np.ndarray, SyntheticMark]], MarkedPicture]:
    """Return samples, uint8 `(C, H, W)`, with their marks, and a grid of the first 400."""
    inputs = sample_inputs(export.samples, generator.config, export.seed)
    network = generator.build()
    # Choosing the number of threads takes about 12 batches.
    is_long = export.samples > 20 * _BATCH
    with fast_threads(lambda: list(generate(network, [inputs[:_BATCH]]))) if is_long else nullcontext():
        batches = list(track(generate(network, inputs.split(_BATCH)), "export", export.samples))
    samples = torch.cat(batches).numpy()
    # Enlarge small images.
    scale = max(1, 64 // generator.config.image_size)
    grid = Image.fromarray(make_grid(samples[:_GRID], scale=scale))
    mark, labels = SyntheticMark.of(generator), class_names(inputs, generator.config)
    marks = [mark.of_image(export.seed, number, label) for number, label in enumerate(labels)]
    return list(zip(samples, marks, strict=True)), MarkedPicture(grid, mark.of_image(export.seed))


def export_progress(sample_frames: list[SampleGrid], export: ExportParameters) -> tuple[Animation, Animation]:
    """Return the sample grids over the course of the training, for a GIF and for a video."""
    progress = Animation([frame.picture for frame in sample_frames], export.frames_per_second)
    return progress, progress


def draw_training_curves(training_history: pd.DataFrame) -> tuple[Figure, pd.DataFrame, pd.DataFrame]:
    """Plot the losses and the mean output of the discriminator over the images seen.

    The tables are for `dvc plots`: the curves, and the distances to the validation split where there are any.
    """
    figure = Figure(figsize=(8, 6), layout="constrained")
    losses, outputs = figure.subplots(2, 1, sharex=True)
    kimg = training_history["images_seen"] / 1000
    losses.plot(kimg, training_history["discriminator_loss"], label="discriminator", color="tab:blue")
    losses.plot(kimg, training_history["generator_loss"], label="generator", color="tab:orange")
    losses.set_ylabel("loss")
    outputs.plot(kimg, training_history["real_probability"], label="D(real)", color="tab:green")
    outputs.plot(kimg, training_history["fake_probability"], label="D(fake)", color="tab:red")
    outputs.set(xlabel="kimg (thousands of real images seen)", ylabel="probability of being real", ylim=(0, 1))
    for axes in (losses, outputs):
        axes.grid(alpha=0.3)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    columns = ["discriminator_loss", "generator_loss", "real_probability", "fake_probability", "diversity"]
    curves = training_history[columns]
    curves.insert(0, "kimg", kimg)
    (name,) = (column for column in map(str, training_history.columns) if column.endswith("validation"))
    distances = pd.DataFrame({"kimg": kimg, "distance": training_history[name]}).dropna()
    return figure, curves, distances


def export_generator(generator: TrainedGenerator, evaluation: dict[str, Any]) -> TrainedGenerator:
    """Return the generator with its metrics and their protocol among its facts.

    Raises:
        ModelError: if the evaluation is of another generator.
    """
    if evaluation["generator"] != generator.fingerprint():
        raise ModelError(
            "the evaluation must be of the current generator (it is of another one). "
            "Evaluate again: kedro run --pipelines=evaluation,export."
        )
    logger.info("export        samples, progress, curves, generator -> data/07_model_output, data/08_reporting")
    measured = {key: evaluation[key] for key in ("metrics", "primary_metric", "numbers", "protocols")}
    # The first protocol is that of the primary metric.
    measured |= {"protocol": evaluation["protocols"][0], "quality": evaluation["verdict"]}
    # The evaluation may have found a fault that the training did not. (Evaluations of older versions lack these.)
    judged = {"fault": "fault", "copies": "copies", "training": "verdict", "advice": "advice"}
    measured |= {fact: evaluation[key] for key, fact in judged.items() if key in evaluation}
    if measured.get("copies"):
        logger.warning("WARNING       %s", COPIES_NOTICE)
    if not generator.facts.get("data_licence"):
        logger.info("              %s", _UNKNOWN_LICENCE)
    return replace(generator, facts={**generator.facts, **measured})


def export_runtimes(generator: TrainedGenerator) -> tuple[bytes, bytes]:
    """Return the generator as an ONNX model and as a program of torch.export.

    Raises:
        ModelError: if the images of ONNX Runtime differ from those of PyTorch.
    """
    onnx_model, program = checked_onnx(generator)
    return onnx_model, to_pt2(program)
