"""Sample quality of a preset against other recipes, at equal images and at equal time (`trainings.py` lists the sides).

All sides train networks of the same size on the train split of a prepared dataset. The same code evaluates 5,000
samples of each against the test split. At the end of each training, a classifier two-sample test (`judge.py`) also
compares them: `c2st` is its AUC with a 95 % interval.

    kedro run --env=images64 --pipelines=ingestion,preprocessing --params ingestion.source=sprites.zip
    python benchmarks/quality.py data/03_primary --env=images64 --kimg 100
    python benchmarks/quality.py data/03_primary --env=images64 --sides ours,r3gan

A training that is in `--output` already is not repeated. So several processes can share the work, each with its own
`--seeds`; a last call with all seeds prints the table.

To search for a better recipe, leave the test split alone, and change parameters (of all sides) at the end of the
command:

    python benchmarks/quality.py data/03_primary --split validation --sides ours --seeds 0 penalties.r1=0.5
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from judge import judge
from PIL import Image
from torch import Tensor
from trainings import SIDES, KeptTrainings, Moment, recipe_of, train_side

from kedro_dcgan.data.shard_files import read_prepared_images
from kedro_dcgan.evaluation.features import Collector, EfficientNetLite0Features
from kedro_dcgan.evaluation.reference import Reference, feature_set
from kedro_dcgan.reports.pictures import make_grid
from kedro_dcgan.training.devices import choose_compute, keep_freed_memory

SAMPLES = 5000


class Evaluator:
    """Evaluates samples against real images, uint8 `(N, C, H, W)`, and logs the metrics.

    is_judged: also run the classifier two-sample test at the end of a training.
    """

    def __init__(
        self, real: Tensor, input_size: int, device: torch.device, output: Path, is_judged: bool = True
    ) -> None:
        self._extract, self._real, self._output = EfficientNetLite0Features(input_size, device), real, output
        self._is_judged = is_judged
        self._reference = Reference.of(Collector(self._extract, self._real.split(50)))

    def __call__(self, moment: Moment, samples: Iterator[Tensor]) -> dict:
        """Return the metrics of one tick of one training."""
        images = torch.cat(list(samples))
        collected = Collector(self._extract, images.split(50))
        found = self._reference.measure(collected, self._reference.compare(feature_set(collected)))
        numbers = {name: round(float(found[name].value), 4) for name in ("fd", "precision", "recall", "coverage")}
        row = {"side": moment.side, "seed": moment.seed, "kimg": moment.kimg, "seconds": round(moment.seconds, 1)}
        row |= numbers
        if moment.is_last and self._is_judged:
            found = judge(self._real, images)
            row["c2st"] = [round(value, 4) for value in (found.auc, found.low, found.high)]
            row["separation"] = round(found.separation, 3)
        log(row, self._output / "quality.jsonl")
        Image.fromarray(make_grid(images[:64].numpy())).save(self._output / moment.picture)
        return row


def log(row: dict, path: Path) -> None:
    """Print a row and append it to a file of JSON lines."""
    print(json.dumps(row), flush=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def report(rows: dict[str, list[list[dict]]]) -> None:
    """Print the medians over seeds of each side, then ours at equal images and at equal time with each other side."""
    print(f"\n{'side':<18} kimg seconds     fd precision recall separation")
    for side, runs in rows.items():
        last = [run[-1] for run in runs]
        names = ("kimg", "seconds", "fd", "precision", "recall", "separation")
        middle = {name: statistics.median(row[name] for row in last) for name in names}
        print(
            f"{side:<18} {middle['kimg']:>4.0f} {middle['seconds']:>7,.0f} {middle['fd']:>6,.0f} "
            f"{middle['precision']:>9.2f} {middle['recall']:>6.2f} {middle['separation']:>10.2f}"
        )
    for side, peers in rows.items():
        if side != "ours" and "ours" in rows:
            compare(side, rows["ours"], peers)


def compare(side: str, ours: list[list[dict]], peers: list[list[dict]]) -> None:
    """Print our medians beside those of another side, at equal images and at its training time."""
    last = [run[-1] for run in peers]
    at_time = [
        min(run, key=lambda row, end=end: abs(row["seconds"] - end["seconds"]))
        for run, end in zip(ours, last, strict=True)
    ]
    bar = statistics.median(row["fd"] for row in last)
    bar_recall = statistics.median(row["recall"] for row in last)
    for name, found in (("images", [run[-1] for run in ours]), ("time", at_time)):
        middle = statistics.median(row["fd"] for row in found)
        recall = statistics.median(row["recall"] for row in found)
        print(
            f"equal {name} with {side}: fd {middle:,.0f} against {bar:,.0f} ({middle / bar - 1:+.0%}), "
            f"recall {recall:.2f} against {bar_recall:.2f}"
        )


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("primary", type=Path, help="data/03_primary of a project")
    parser.add_argument("--env", default="base", help="our preset, and the networks of all sides")
    parser.add_argument("--kimg", type=float, default=100)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--sides", default=",".join(SIDES), help="default: all, %(default)s")
    parser.add_argument("--input-size", type=int, default=64)
    parser.add_argument("--split", choices=("test", "validation"), default="test", help="of the real images")
    parser.add_argument("--output", type=Path, default=Path("quality"))
    parser.add_argument("changes", nargs="*", help="training parameters: ema.half_life=10000")
    # `parse_args` takes no changes behind an option.
    return parser.parse_intermixed_args()


def main() -> None:
    """Train and evaluate the sides with several seeds."""
    arguments = read_arguments()
    sides = arguments.sides.split(",")
    if unknown := set(sides) - set(SIDES):
        raise SystemExit(f"--sides must be of {', '.join(SIDES)} (got {', '.join(sorted(unknown))}).")
    keep_freed_memory()
    total = round(arguments.kimg * 1000)
    images = read_prepared_images(arguments.primary / "images", arguments.primary / "shards")
    kept = KeptTrainings(arguments.output)
    device = choose_compute("auto", "auto").device
    count = min(SAMPLES, images.count(arguments.split))
    real = torch.from_numpy(images.take(arguments.split, np.arange(count)))
    evaluate = Evaluator(real, arguments.input_size, device, arguments.output)
    found: dict[str, list[list[dict]]] = {side: [] for side in sides}
    for seed in arguments.seeds.split(","):
        for side in sides:
            recipe = recipe_of(side, arguments.env, [*arguments.changes, f"seed={seed}"], total)
            key = [images.digest, arguments.split, arguments.input_size, side, recipe.model_dump(mode="json"), total]
            train = partial(train_side, side, images, recipe, total, evaluate, SAMPLES)
            found[side].append(kept.rows(key, train))
    report(found)


if __name__ == "__main__":
    main()
