"""Train the DCGAN and hand over, tick by tick, what is to be kept."""

import logging
from collections.abc import Iterator

import pandas as pd

from kedro_dcgan.gan.architectures import network_specs
from kedro_dcgan.gan.batches import batches_on
from kedro_dcgan.gan.devices import choose_compute
from kedro_dcgan.gan.sampling import sample_latents
from kedro_dcgan.gan.trained import TrainedGenerator, snapshot_weights
from kedro_dcgan.gan.training import TickRecord, batch_indices, start, train
from kedro_dcgan.images.grid import SampleGrid, make_grid
from kedro_dcgan.images.shards import PreparedImages
from kedro_dcgan.parameters import TrainingParameters
from kedro_dcgan.progress import track

logger = logging.getLogger(__name__)


def train_generator(
    images: PreparedImages, training: TrainingParameters
) -> Iterator[tuple[TrainedGenerator, pd.DataFrame, list[SampleGrid]]]:
    """Yield at each tick the generator as it is, the history so far and the new samples of the fixed latents.

    Raises:
        DataError: before the first tick, if the train split holds fewer images than a batch.
        TrainingError: if a loss is not finite.
    """
    size = training.batch_size
    images.require("train", size, f"one batch of `training.batch_size` {size}", "Lower it, or add images.")
    count = images.count("train")
    total_batches = max(1, round(training.epochs * (count // size)))
    compute = choose_compute(training.device, training.precision)
    logger.info("training      %s · %.1f kimg, %g epochs", compute, total_batches * size / 1000, training.epochs)

    state = start(*network_specs(images.image_size, images.channels, training), training, compute)
    indices = batch_indices(count, size, total_batches, training.seed)
    batches = batches_on(compute.device, images, "train")(track(indices, "training", total_batches * size))
    fixed_latents = sample_latents(training.grid_images, state.generator.spec, training.seed)
    records: list[TickRecord] = []
    frames: list[SampleGrid] = []
    for tick in train(state, batches, training.images_per_tick, fixed_latents, compute):
        frames.append(SampleGrid(tick.images_seen, make_grid(tick.fixed_samples)))
        # The untrained generator is only looked at: it must not replace a good one.
        if tick.record is None:
            continue
        records.append(tick.record)
        logger.info("  %s", _line(tick.record))
        facts = {"seed": training.seed, "precision": compute.precision, "device": compute.device.type}
        yield (
            TrainedGenerator(
                state.generator.spec, snapshot_weights(state.generator), images.digest, tick.images_seen, facts
            ),
            pd.DataFrame([record.as_dict() for record in records]),
            frames,
        )
        frames = []


def _line(record: TickRecord) -> str:
    return (
        f"{record.images_seen / 1000:6.1f} kimg  D {record.discriminator_loss:.2f}  G {record.generator_loss:.2f}  "
        f"D(real) {record.real_probability:.2f}  D(fake) {record.fake_probability:.2f}  "
        f"{record.images_per_second:,.0f} images/s"
    )
