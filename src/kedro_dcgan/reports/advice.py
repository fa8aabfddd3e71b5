"""One line of advice per run: what to change first, from the health of the training, the data and the evaluation.

The rules are ranked, and the first that applies is the advice:

1. Faults of the training, because the metrics of a failed training say nothing about the data.
2. The format of the images: training longer in the wrong size or without colour is a waste.
3. Memorisation and balance, which more training makes worse.
4. The length of the training, then the number of images: they limit most first runs.
5. The networks, then the size of the images: each costs time in every later run.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kedro_dcgan.evaluation.verdict import COLLAPSE, EXPLODED, HIGH, LOW, UNDERTRAINED, Verdict
from kedro_dcgan.training.health import ADVICE, OSCILLATION, WINS

# The strongest R1 penalty of common recipes; the number of images below which memorisation is likely; and the ratio
# above which images are much larger than the samples.
_USUAL_R1, _FEW_IMAGES, _MUCH_LARGER = 10.0, 1_000, 2.0


@dataclass(frozen=True)
class RunFacts:
    """Facts about a run.

    `training` is the verdict on the training, of `epochs`. `ends_with_best`: no generator before the last one was
    better. `budget` is `training.budget`. `original_side` is the median shorter side of the images in pixels, before
    they became `image_size`.
    `format_advice` is that of `data.manifest`. `r1` is `training.penalties.r1`, unless it adapts.
    """

    verdict: Verdict
    training: str
    epochs: float
    ends_with_best: bool
    budget: str | None
    r1: float | None
    train_images: int
    image_size: int
    original_side: float
    format_advice: str | None


_RULES: tuple[tuple[Callable[[RunFacts], bool], str], ...] = (
    (lambda run: run.verdict.fault == EXPLODED, ADVICE[EXPLODED]),
    (lambda run: run.verdict.fault == COLLAPSE, ADVICE[COLLAPSE]),
    (lambda run: bool(run.format_advice), "{run.format_advice}"),
    (
        lambda run: run.verdict.copies,
        "it copies training images: add images ({run.train_images:,} now), set "
        "`training.augmentation.differentiable`, or train for a shorter time",
    ),
    (lambda run: run.training.startswith(WINS), ADVICE[WINS]),
    (lambda run: run.training.startswith(OSCILLATION), ADVICE[OSCILLATION]),
    (
        lambda run: (
            bool(run.budget)
            and (
                run.verdict.fault == UNDERTRAINED
                or (run.ends_with_best and (run.verdict.fidelity, run.verdict.diversity) != (HIGH, HIGH))
            )
        ),
        "train longer: raise `training.budget` ({run.budget} now)",
    ),
    (
        lambda run: (run.r1 or 0) > _USUAL_R1 and run.verdict.fidelity == LOW,
        "lower `training.penalties.r1` ({run.r1:g} now): it keeps the discriminator from learning",
    ),
    (
        lambda run: (
            run.verdict.fault == UNDERTRAINED
            or (run.ends_with_best and (run.verdict.fidelity in (None, LOW) or run.verdict.diversity != HIGH))
        ),
        "train longer: raise `training.epochs` ({run.epochs:g} so far) or `training.kimg`",
    ),
    (
        lambda run: run.train_images < _FEW_IMAGES,
        "add images ({run.train_images:,} to train on now), or set `training.augmentation.differentiable`",
    ),
    (
        lambda run: run.verdict.fidelity != HIGH,
        "use wider networks: double `training.generator.width` and `training.discriminator.width`",
    ),
    (lambda run: run.verdict.diversity != HIGH, "raise `training.batch_size`: a batch then holds more modes"),
    (
        lambda run: run.original_side >= _MUCH_LARGER * run.image_size,
        "raise `preprocessing.image_size` ({run.image_size} now): the images have {run.original_side:.0f} pixels",
    ),
    (lambda run: True, "nothing to fix: change one parameter, train again and run kedro dcgan compare"),
)


def advise_run(run: RunFacts) -> str:
    """Return the advice of the first rule that applies."""
    return next(advice for applies, advice in _RULES if applies(run)).format(run=run)
