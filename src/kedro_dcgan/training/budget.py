"""The recipe for a budget of time or of images (`training.budget`).

`recipe_for` is a rule fitted to sweeps of equal time on four datasets (docs/explanation/budget.md has their data). A
wider network learns more from each image, but sees fewer of them in the same time. So the rule takes the widest
networks that still see enough images: it measures the speed of a few steps with each width on this machine.

What was chosen is stored in the checkpoints: a resumed training does not choose again.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from kedro_dcgan.config import TrainingParameters, read_budget, rule_of
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.errors import ParameterError
from kedro_dcgan.training.checkpoints import CheckpointFolder, CheckpointHeader, not_resumable
from kedro_dcgan.training.costs import free_bytes, is_lack_of_memory, training_bytes
from kedro_dcgan.training.devices import hardware_of, has_bfloat16, keep_freed_memory
from kedro_dcgan.training.fast.calibration import free_memory
from kedro_dcgan.training.fast.execution import Calibration, Precision, Trial
from kedro_dcgan.training.plan import Plan, differences, plan_training
from kedro_dcgan.training.state import Execution
from kedro_dcgan.training.threads import idle_threads, torch_threads

logger = logging.getLogger(__name__)

Values = Mapping[str, Any]

WIDTHS = (16, 24, 32, 48, 64, 96, 128)
# The measured speed may be too low, next to a busy program. The time limit then ends training, not the length.
_MOST_SPEEDUP = 4
# A tick each minute, or each 10,000 images, but not fewer or more than this in all. Every second one validates.
_LEAST_TICKS, _MOST_TICKS = 20, 100


def recipe_for(image_size: int, width: int, kimg: float) -> dict[str, Any]:
    """Return the parameters for images of a size, networks of a width, and a length, by dotted name."""
    is_small, is_narrow = image_size < 48, width < 48
    rate = round_to(2e-3 * (24 / width) ** 0.7)
    betas = [0.5, 0.999 if is_small else 0.99]
    return {
        # Small batches make more steps of the same images, but take longer, most of all with narrow networks.
        "batch_size": 16 if is_small or is_narrow else 8,
        **{f"{network}.width": width for network in ("generator", "discriminator")},
        **{f"{network}.learning_rate": rate for network in ("generator", "discriminator")},
        **{f"{network}.betas": betas for network in ("generator", "discriminator")},
        "discriminator.initialisation": "he" if is_small or is_narrow else "normal",
        # At 64x64, the best constant depends on the images: 10 for drawings, 0.2 for photos.
        "penalties.r1": 0.2 if is_small else "auto",
        # The EMA's half-life is at most 5 % of the images seen anyway.
        "ema.half_life": round(round_to(min(10_000, max(2500, 25 * kimg)))),
    }


def least_kimg(image_size: int, width: int) -> float:
    """Return how many images networks of a width must see, in thousands, to be worth their time.

    With a width of 32: 60 up to 32x32, 40 from 64x64 on. Four times as many for twice the width.
    """
    return min(60.0, max(40.0, 60 * (32 / image_size) ** 0.585)) * (width / 32) ** 2


def widest(image_size: int, kimg_of: Callable[[int], float], widths: Sequence[int] = WIDTHS) -> tuple[int, float]:
    """Return the largest of ascending `widths` that sees enough images, or the first, and how many, in thousands."""
    found = widths[0], kimg_of(widths[0])
    for width in widths[1:]:
        kimg = kimg_of(width)
        if kimg < least_kimg(image_size, width):
            break
        found = width, kimg
    return found


def resolve_budget(
    images: PreparedImages, training: TrainingParameters, stored: CheckpointFolder, may_differ: bool = False
) -> tuple[TrainingParameters, Values]:
    """Return the parameters for `training.budget`, and what was chosen; without a budget, the parameters unchanged.

    An earlier training of the same budget and parameters keeps what was chosen for it, unless `training.resume` is
    never. `may_differ`: the last training need not be finished.

    Raises:
        ParameterError: if the chosen parameters do not fit the others.
        TrainingError: if the last training is not finished and had another budget or other parameters.
    """
    if training.budget is None:
        return training, {}
    widths, last = _allowed_widths(training), stored.last_saved()
    if training.resume != "never":
        for header in stored.newest_of_each():
            if header.chosen.get("budget") == training.budget and _differences(images, training, header) == []:
                same = _apply(training, header.chosen)
                logger.info(f"budget        {training.budget}: {_in_words(same)}, as before")
                return same, header.chosen
    if last and last.chosen and training.resume == "force":
        # Only networks of the same width can resume.
        widths = (last.chosen["generator.width"],)
    elif last and last.chosen and training.resume == "auto" and not (last.is_finished or may_differ):
        changes = [f"training.budget was {last.chosen['budget']}, is {training.budget}"]
        same_budget = last.chosen["budget"] == training.budget
        raise not_resumable(last, changes[same_budget:] + _differences(images, training, last))
    chosen = {"budget": training.budget, **_choose(images, training, widths)}
    resolved = _apply(training, chosen)
    logger.info(f"budget        {training.budget}: {_in_words(resolved)}")
    return resolved, chosen


def smallest_recipe(training: TrainingParameters, image_size: int) -> TrainingParameters:
    """Return the parameters with the smallest networks that the budget may choose, for checks before a run.

    Raises:
        ParameterError: if the rule does not hold for these networks or this loss.
    """
    if training.budget is None:
        return training
    if (training.architecture, training.loss) != ("dcgan", "non_saturating"):
        raise ParameterError(
            "`training.budget` must be null with other networks than dcgan or another loss than non_saturating (got "
            f"{training.budget}, with {training.architecture} and {training.loss}): what it chooses holds only for "
            "these. Set training.kimg or training.minutes."
        )
    return _apply(training, recipe_for(image_size, _allowed_widths(training)[0], 1))


def round_to(value: float, digits: int = 2) -> float:
    """Round to significant digits."""
    return float(f"{value:.{digits}g}")


def _allowed_widths(training: TrainingParameters) -> Sequence[int]:
    return (training.generator.width,) if "generator.width" in training.budget_keeps else WIDTHS


def _apply(training: TrainingParameters, chosen: Values) -> TrainingParameters:
    kept = training.budget_keeps
    try:
        return training.with_values({name: value for name, value in chosen.items() if name not in kept})
    except ValidationError as error:
        raise ParameterError(
            f"`training.budget` must choose parameters that fit the others (they {rule_of(error)}). Set one of them "
            "yourself, for example --params training.batch_size=16."
        ) from None


def _differences(images: PreparedImages, training: TrainingParameters, stored: CheckpointHeader) -> list[str]:
    """Return how the fingerprint of a stored training differs from that of `training` with the same choice."""
    try:
        plan = plan_training(images, _apply(training, stored.chosen))
    except (ParameterError, KeyError):
        # Chosen by another version, or for other values of the parameters that are not chosen.
        return ["other parameters"]
    return differences(stored.fingerprint, plan.fingerprint)


def _choose(images: PreparedImages, training: TrainingParameters, widths: Sequence[int]) -> dict[str, Any]:
    amount, unit = read_budget(str(training.budget))
    candidates = {width: _apply(training, recipe_for(images.image_size, width, 1)) for width in widths}
    plans = {width: plan_training(images, candidate) for width, candidate in candidates.items()}
    fitting = [width for width in widths if _fits(plans[width], candidates[width])] or widths[:1]
    if unit == "kimg":
        width, kimg = widest(images.image_size, lambda _: amount, fitting)
        return {**recipe_for(images.image_size, width, kimg), **_length(kimg, None)}

    speeds, started = dict[int, float](), time.perf_counter()

    def kimg_of(width: int) -> float:
        speeds[width] = _images_per_second(plans[width], candidates[width])
        return amount * speeds[width] / 1000

    width, kimg = widest(images.image_size, kimg_of, fitting)
    measured = " · ".join(f"{speed:,.0f} with width {one}" for one, speed in speeds.items())
    logger.info("  measured in %.1f s, images/s: %s", time.perf_counter() - started, measured)
    return {**recipe_for(images.image_size, width, kimg), **_length(kimg, amount)}


def _length(kimg: float, seconds: float | None) -> dict[str, Any]:
    ticks = min(_MOST_TICKS, max(_LEAST_TICKS, kimg / 10 if seconds is None else seconds / 60))
    every = max(1, round(1000 * kimg / ticks))
    return {
        "kimg": kimg if seconds is None else max(0.01, round_to(_MOST_SPEEDUP * kimg, 3)),
        "minutes": None if seconds is None else seconds / 60,
        "images_per_tick": every,
        "images_per_validation": 2 * every,
        "images_per_checkpoint": every,
    }


def _fits(plan: Plan, training: TrainingParameters) -> bool:
    networks, device = (plan.generator, plan.discriminator), plan.compute.device
    return training_bytes(*networks, training.micro_batch_size, device, training.precision) <= free_bytes(device)


def _images_per_second(plan: Plan, training: TrainingParameters) -> float:
    """Measure the speed of a few steps on random images, with the faster precision; 0 if they need too much memory."""
    device, ranks = plan.compute.device, training.devices if isinstance(training.devices, int) else 1
    threads = training.threads if isinstance(training.threads, int) else idle_threads()
    precisions: list[Precision] = ["float32"] if training.precision == "auto" else [training.precision]
    if training.precision == "auto" and has_bfloat16(device.type) and not training.deterministic:
        precisions.append("bfloat16")
    # On a GPU, trainings of a minute or more capture their steps.
    is_captured = device.type == "cuda" and ranks == 1 and training.compile and not training.deterministic
    execution: Execution = "graphed" if is_captured else "eager"
    if device.type == "cpu":
        keep_freed_memory()
    speeds = [0.0]
    with torch_threads(threads):
        for precision in precisions:
            calibration = Calibration(device.type, hardware_of(device), precision, threads, execution=execution)
            try:
                speeds.append(Trial(plan, training, calibration).images_per_second())
            except (MemoryError, RuntimeError) as error:
                if not is_lack_of_memory(error):
                    raise
            free_memory(device)
    # Ranks on a CPU share its cores; each GPU has its own.
    return max(speeds) * (ranks if device.type == "cuda" else 1)


def _in_words(training: TrainingParameters) -> str:
    g, d = training.generator, training.discriminator
    # Those of D are only different if the user has set one of them.
    widths = " and ".join(str(width) for width in dict.fromkeys((g.width, d.width)))
    rates = " and ".join(f"{rate:g}" for rate in dict.fromkeys((g.learning_rate, d.learning_rate)))
    return (
        f"width {widths} · batch size {training.batch_size} · learning rate {rates} · R1 {training.penalties.r1} · "
        f"EMA half-life {training.ema.half_life}"
    )
