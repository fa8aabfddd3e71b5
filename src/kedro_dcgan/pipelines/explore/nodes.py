"""Show what the generator and the discriminator have learned."""

import logging
from typing import Any

from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.model.directions import UNITS, Direction, find_directions, strips_along
from kedro_dcgan.model.discriminator_features import convolution_blocks, random_blocks
from kedro_dcgan.model.export import checked_onnx
from kedro_dcgan.model.saved import TrainedGenerator
from kedro_dcgan.model.synthetic_marks import MarkedPicture, SyntheticMark
from kedro_dcgan.pipelines.explore.measurement import (
    classify,
    describe_with_classes,
    inspect_network,
    use_real_statistics,
)
from kedro_dcgan.reports.discriminator import Inspection, Origin, write_discriminator_page
from kedro_dcgan.reports.explorer import DIRECTIONS, write_explorer_page
from kedro_dcgan.reports.pictures import draw_strips
from kedro_dcgan.training.checkpoints import CheckpointFolder
from kedro_dcgan.training.discriminators import read_discriminator

logger = logging.getLogger(__name__)


def name_directions(exported_generator: TrainedGenerator, images: PreparedImages) -> list[Direction]:
    """Return the directions of the latent space that change images most, named after what they change.

    With labels, that can be the class, unless the generator is conditional: then the class is an input.
    """
    images.require_digest(exported_generator.dataset_digest)
    describe = None if exported_generator.config.classes else describe_with_classes(images)
    found = find_directions(exported_generator.build(), DIRECTIONS, describe=describe)
    logger.info("explore       directions: %s", ", ".join(one.name for one in found))
    return found


def write_explorer(exported_generator: TrainedGenerator, latent_directions: list[Direction]) -> str:
    """Return a page that runs the generator in a browser, as `kedro dcgan explore` does.

    Raises:
        ModelError: if the images of ONNX Runtime differ from those of PyTorch, or the page is too large.
    """
    onnx_model, _ = checked_onnx(exported_generator)
    page = write_explorer_page(exported_generator, onnx_model, latent_directions)
    logger.info("explore       generator in the browser, %.1f MB", len(page.encode()) / 1e6)
    return page


def draw_directions(exported_generator: TrainedGenerator, latent_directions: list[Direction]) -> MarkedPicture:
    """Draw images along directions of the latent space, as `kedro dcgan directions` does."""
    picture = draw_strips(strips_along(exported_generator.build(), latent_directions), len(UNITS))
    return MarkedPicture(picture, SyntheticMark.of(exported_generator).of_image(seed=0))


def inspect_discriminator(
    exported_generator: TrainedGenerator, resume_checkpoint: CheckpointFolder, images: PreparedImages
) -> tuple[dict[str, Any], str]:
    """Return what the discriminator's features are worth, beside those of random weights and raw pixels, and a page.

    Raises:
        TrainingError: if there is no checkpoint of the training of this generator.
        DataError: if the generator was trained on other images, or the test split has none.
    """
    images.require_digest(exported_generator.dataset_digest)
    images.require_classes(exported_generator.config.classes)
    images.require("test", 1, "the pictures", "Add images, or give it a larger share of `ingestion.splits`.")
    discriminator, header = read_discriminator(resume_checkpoint, exported_generator)
    initialisation = header.fingerprint.get("training.discriminator.initialisation", "normal")
    networks = {
        "trained": convolution_blocks(discriminator),
        "random": random_blocks(discriminator.config, initialisation),
    }
    for name, blocks in networks.items():
        use_real_statistics(blocks, images, name)
    is_conditional = bool(discriminator.config.classes)
    inspection = Inspection(
        Origin(header.training_id, header.images_seen, exported_generator.fingerprint(), images.digest, is_conditional),
        classify(networks, images),
        {name: inspect_network(blocks, images, name) for name, blocks in networks.items()},
    )
    logger.info("explore       %s", inspection.headline())
    return inspection.record(), write_discriminator_page(inspection)
