"""Tests the claims of our presets' sources, each with several seeds; `--help` lists the claims.

    kedro run --env=base --pipelines=ingestion,preprocessing --params ingestion.source=FOLDER,ingestion.min_size=28
    python benchmarks/claims.py dropout data/03_primary

Trains the standard networks on MNIST at 32x32 (width 24) by the paper's recipe in batches of 64, with and without the
change in question, and prints a row of a table: medians over seeds, the ratio of the geometric means with Student's
95 % interval, and a verdict. Lower values are better. A training counts with the geometric mean over its last ticks,
because without an EMA its distance swings from tick to tick. `plateau` is meant for the drawings at 32x32. A training
that is in `--output` already is not repeated.
"""

import argparse
import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from edits import Edit, edited, norm_everywhere, pooling, without_gain_and_shift
from quality import SAMPLES, Evaluator
from torch import Tensor
from trainings import KeptTrainings, Moment, recipe_of, train_side

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shard_files import read_prepared_images
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.training.devices import choose_compute, keep_freed_memory

# The ticks of a training, and how many of them up to the moment in question count.
TICKS, MEASURED = 10, 3
# A ratio whose whole interval is this close to 1 means no difference.
EQUAL = 0.1


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: changes of the parameters or of the networks, and where in the training to measure."""

    name: str = "without"
    changes: tuple[str, ...] = ()
    edit: Edit | None = None
    share: float = 1.0


@dataclass(frozen=True)
class Claim:
    """`tested` has a lower measure than `control`; or, with `is_equal`, the same one."""

    statement: str
    control: Arm
    tested: Arm
    measure: str = "fd"
    is_equal: bool = False


_ONE_RATE = "one learning rate of 2e-4"
CLAIMS = {
    "dropout": Claim("dropout in D helps", Arm(), Arm("dropout of 0.3", ("discriminator.dropout=0.3",))),
    "latents": Claim(
        "normal latents are better than uniform ones", Arm("uniform", ("latents=uniform",)), Arm("normal")
    ),
    "affine": Claim(
        "batch norm is better without gain and shift", Arm("with"), Arm("without", edit=without_gain_and_shift)
    ),
    "plateau": Claim(
        "nothing improves between 30 and 60 epochs", Arm("30 epochs", share=0.5), Arm("60 epochs"), is_equal=True
    ),
    "smoothing": Claim("one-sided label smoothing of 0.9 helps", Arm("1"), Arm("0.9", ("real_label=0.9",))),
    "oscillation": Claim(
        "batch norm in all layers makes training oscillate",
        Arm("all layers", edit=norm_everywhere),
        Arm("all but two"),
        measure="motion",
    ),
    "pooling": Claim("strided convolutions are better than pooling", Arm("pooling", edit=pooling), Arm("strides")),
    "rates": Claim(
        "two learning rates are better than one",
        Arm(_ONE_RATE),
        Arm("4e-4 for G, 1e-4 for D", ("generator.learning_rate=4.0e-4", "discriminator.learning_rate=1.0e-4")),
    ),
    "rates-reversed": Claim(
        "two learning rates are better than one",
        Arm(_ONE_RATE),
        Arm("1e-4 for G, 4e-4 for D", ("generator.learning_rate=1.0e-4", "discriminator.learning_rate=4.0e-4")),
    ),
}


class Motion:
    """Evaluates the ticks that count, and says how far the samples move between ticks (`motion`, in grey levels).

    That is the root of the mean square difference between the samples of the same latents.
    """

    def __init__(self, evaluate: Evaluator, counted: set[int]) -> None:
        self._evaluate, self._counted, self._ticks = evaluate, counted, itertools.count()
        self._before: Tensor | None = None

    def __call__(self, moment: Moment, samples: Iterator[Tensor]) -> dict:
        """Return the metrics of a tick."""
        images = torch.cat(list(samples))
        before, self._before = self._before, images
        moved = None if before is None else float((images.float() - before.float()).square().mean().sqrt())
        found = self._evaluate(moment, iter(images.split(50))) if next(self._ticks) in self._counted else {}
        return {**found, "motion": moved}


def counted_ticks(share: float, ticks: int = TICKS) -> range:
    """Return the ticks, from 0, that count for an arm."""
    end = max(MEASURED, round(share * ticks))
    return range(end - MEASURED, end)


class Arms:
    """Trains arms with a preset, or reads their rows from an earlier call."""

    def __init__(
        self, images: PreparedImages, total: int, env: str, changes: list[str], counted: set[int], output: Path
    ) -> None:
        self._images, self._total, self._env, self._changes, self._output = images, total, env, changes, output
        self._counted = counted
        self._real = torch.from_numpy(images.take("test", np.arange(min(SAMPLES, images.count("test")))))
        self._kept = KeptTrainings(output)

    def measure(self, arm: Arm, measure: str, seed: int) -> float:
        """Return a measure of an arm, the geometric mean over its last ticks; the lower, the better."""
        edit = arm.edit.__name__ if arm.edit else ""
        recipe = recipe_of("ours", self._env, [*self._changes, *arm.changes, f"seed={seed}"], self._total, TICKS)
        key = [self._images.digest, edit, recipe.model_dump(mode="json"), self._total, sorted(self._counted)]
        # Each arm has its own folder, because pictures of the same seed have the same name.
        folder = self._output / (edit or "_".join(arm.changes) or "unchanged")
        rows = self._kept.rows(key, lambda: self._train(arm.edit, recipe, folder))
        return statistics.geometric_mean(rows[tick][measure] for tick in counted_ticks(arm.share, len(rows)))

    def _train(self, edit: Edit | None, recipe: TrainingParameters, folder: Path) -> list[dict]:
        folder.mkdir(exist_ok=True)
        evaluator = Evaluator(self._real, 64, choose_compute("auto", "auto").device, folder, is_judged=False)
        with edited(edit):
            evaluate = Motion(evaluator, self._counted)
            return train_side("ours", self._images, recipe, self._total, evaluate, SAMPLES)


def ratio_of(control: Sequence[float], tested: Sequence[float], is_paired: bool) -> Estimate:
    """Return the ratio of geometric means, tested by control, with a 95 % interval: Student's, or Welch's if unpaired.

    Distances of several seeds scatter in proportion to their size, so intervals are those of their logarithms.
    """
    from scipy.stats import ttest_ind, ttest_rel

    logs = [[math.log(value) for value in values] for values in (tested, control)]
    test = ttest_rel(*logs) if is_paired else ttest_ind(*logs, equal_var=False)
    middle = statistics.fmean(logs[0]) - statistics.fmean(logs[1])
    interval = test.confidence_interval(0.95)
    return Estimate(*(math.exp(value) for value in (middle, interval.low, interval.high)))


def verdict(ratio: Estimate, is_equal: bool) -> str:
    """Return whether seeds confirm a claim, contradict it, or do not decide."""
    if is_equal:
        if ratio.low >= 1 / (1 + EQUAL) and ratio.high <= 1 + EQUAL:
            return "confirmed"
        return "contradicted" if ratio.high < 1 or ratio.low > 1 else "undecided"
    return "confirmed" if ratio.high < 1 else "contradicted" if ratio.low > 1 else "undecided"


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="\n".join(f"{name:<16} {claim.statement}" for name, claim in CLAIMS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("claim", choices=CLAIMS)
    parser.add_argument("primary", type=Path, help="data/03_primary of a project")
    parser.add_argument("--env", default="paper", help="the preset of both sides")
    parser.add_argument("--kimg", type=float, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("claims"))
    parser.add_argument("changes", nargs="*", default=["batch_size=64"], help="training parameters of both sides")
    return parser.parse_intermixed_args()


def main() -> None:
    """Test one claim, and print its row."""
    arguments = read_arguments()
    keep_freed_memory()
    claim = CLAIMS[arguments.claim]
    images = read_prepared_images(arguments.primary / "images", arguments.primary / "shards")
    counted = {tick for arm in (claim.control, claim.tested) for tick in counted_ticks(arm.share)}
    arms = Arms(images, round(arguments.kimg * 1000), arguments.env, arguments.changes, counted, arguments.output)
    values = {
        arm.name: [arms.measure(arm, claim.measure, seed) for seed in range(arguments.seeds)]
        for arm in (claim.control, claim.tested)
    }
    control, tested = values.values()
    ratio = ratio_of(control, tested, is_paired=claim.control.share != claim.tested.share)
    measured = "; ".join(
        f"{name}: {statistics.median(found):,.0f} ({', '.join(f'{value:,.0f}' for value in found)})"
        for name, found in values.items()
    )
    print(
        f"| {claim.statement} | {claim.measure}, {measured} | {ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) "
        f"| {verdict(ratio, claim.is_equal)} |"
    )


if __name__ == "__main__":
    main()
