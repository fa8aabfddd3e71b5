"""The results of a tick: the best generator with facts about its training, the history, and a checkpoint."""

from dataclasses import asdict, fields

import pandas as pd

from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.model.saved import TrainedGenerator
from kedro_dcgan.training.checkpoints import Checkpoint, CheckpointHeader, TrainingStart
from kedro_dcgan.training.fast.execution import Calibration
from kedro_dcgan.training.health import fault, verdict
from kedro_dcgan.training.loop import Tick
from kedro_dcgan.training.state import TickRecord


def snapshot(start: TrainingStart, used: Calibration, tick: Tick, images: PreparedImages) -> TrainedGenerator:
    """Return the best generator so far, with the facts of its training on these images."""
    plan, training = start.plan, start.training
    facts = {
        "dataset": images.name,
        "training_id": plan.training_id,
        "seed": training.seed,
        "precision": used.precision,
        "device": used.device,
        "threads": used.threads,
        "execution": used.execution,
        "trained_images": tick.images_seen,
        "verdict": verdict(tick.records),
        "fault": fault(tick.records, tick.kept),
        "r1": None if training.penalties.r1 == "auto" else training.penalties.r1,
        "budget": training.budget,
    }
    origin = {"data_licence": images.origin.licence, "data_url": images.origin.url}
    facts |= {name: value for name, value in origin.items() if value}
    digest = str(plan.fingerprint["images"])
    return TrainedGenerator(plan.generator, tick.kept.weights, digest, tick.kept.images_seen, facts)


def history_of(tick: Tick, distance: str | None) -> pd.DataFrame:
    """Return the records of all ticks so far; the column of the validation distance has the name `distance`."""
    # A training that was stopped before its first tick has columns, but no rows.
    columns = [column.name for column in fields(TickRecord)]
    history = pd.DataFrame([asdict(record) for record in tick.records], columns=columns)
    return history.rename(columns={"validation": distance or "validation"})


def checkpoints_of(start: TrainingStart, tick: Tick, is_stopped: bool) -> list[Checkpoint]:
    """Return the checkpoint of a tick, or an empty list if none is due."""
    if tick.checkpoint is None:
        return []
    plan, kept, seen = start.plan, tick.kept, tick.images_seen
    is_best = kept.validation is not None and kept.images_seen == seen
    header = CheckpointHeader(
        training_id=plan.training_id,
        images_seen=seen,
        total_images=plan.total_images,
        is_best=is_best,
        fingerprint=plan.fingerprint,
        run_key=start.run_key,
        ended_early=tick.ends_early,
        minutes=start.training.minutes,
        chosen=start.chosen,
    )
    must_be_saved = is_stopped or tick.ends_early or seen >= plan.total_images
    return [Checkpoint(header, tick.checkpoint, start.training.checkpoints_kept, must_be_saved)]
