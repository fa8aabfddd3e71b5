"""Sample quality of a preset against pytorch/examples' recipe (`peer.py`), at equal images and at equal time.

Both sides train networks of the same size on the train split of a prepared dataset. The same code evaluates 5,000
samples of each against the test split. Ours samples from the EMA generator with recalibrated batch norm. At the end of
each training, a classifier two-sample test (`judge.py`) also compares them: `c2st` is its AUC with a 95 % interval.

    kedro run --env=images64 --pipelines=ingestion,preprocessing --params ingestion.source=sprites.zip
    python benchmarks/quality.py data/03_primary --env=images64 --kimg 100 --seeds 3

To search for a better recipe, leave the test split alone, and change parameters at the end of the command:

    python benchmarks/quality.py data/03_primary --split validation --sides ours --seeds 1 penalties.r1=0.5
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from judge import judge
from peer import BATCH, Peer
from PIL import Image
from step_timing import calibrated, merge, preset_values
from torch import Tensor

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shard_files import read_prepared_images
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.features import Collector, EfficientNetLite0Features
from kedro_dcgan.evaluation.reference import Reference, feature_set
from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.model.sampling import generate, sample_latents, to_model_range
from kedro_dcgan.reports.pictures import make_grid
from kedro_dcgan.training.data import batch_indices, batches_on
from kedro_dcgan.training.devices import choose_compute, deterministic_algorithms, keep_freed_memory
from kedro_dcgan.training.loop import Training, TrainingCallbacks

SAMPLES = 5000


@dataclass(frozen=True)
class Moment:
    """A tick of a training: its side and seed, thousands of images seen, and seconds without evaluation."""

    side: str
    seed: int
    kimg: float
    seconds: float
    is_last: bool

    @property
    def picture(self) -> str:
        """The file name of its grid of samples."""
        return f"{self.side}-{self.seed}-{self.kimg:g}.png"


# Evaluates uint8 samples in batches `(N, C, H, W)`; batches that it does not ask for are not generated.
Evaluate = Callable[[Moment, Iterator[Tensor]], dict]


class Evaluator:
    """Evaluates samples against real images, uint8 `(N, C, H, W)`, and logs the metrics."""

    def __init__(self, real: Tensor, input_size: int, device: torch.device, output: Path) -> None:
        self._extract, self._real, self._output = EfficientNetLite0Features(input_size, device), real, output
        self._reference = Reference.of(Collector(self._extract, self._real.split(50)))

    def __call__(self, moment: Moment, samples: Iterator[Tensor]) -> dict:
        """Return the metrics of one tick of one training."""
        images = torch.cat(list(samples))
        collected = Collector(self._extract, images.split(50))
        found = self._reference.measure(collected, self._reference.compare(feature_set(collected)))
        numbers = {name: round(float(found[name].value), 4) for name in ("fd", "precision", "recall", "coverage")}
        row = {"side": moment.side, "seed": moment.seed, "kimg": moment.kimg, "seconds": round(moment.seconds, 1)}
        row |= numbers
        if moment.is_last:
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


def ours(
    images: PreparedImages, training: TrainingParameters, total: int, evaluate: Evaluate, samples: int = SAMPLES
) -> list[dict]:
    """Train with our loop; evaluate at each tick."""
    training = training.for_images(images.count("train"))
    case = calibrated(images.image_size, images.channels, training)
    torch.set_num_threads(case.calibration.threads)
    compute, state = case.compute, case.new_state()
    batches = batches_of(images, training.batch_size, total, training.seed, compute.device)
    latents = sample_latents(samples, state.generator.config, training.seed + 1)
    end, rows, paused, started = total // training.batch_size * training.batch_size, [], 0.0, time.perf_counter()
    run = Training(state, training, compute, TrainingCallbacks(torch.from_numpy(images.take("train", np.arange(64)))))
    for tick in run.ticks(batches, end):
        now, seen = time.perf_counter(), tick.images_seen
        if tick.record:
            moment = Moment("ours", training.seed, seen / 1000, now - started - paused, seen == end)
            rows.append(evaluate(moment, generate(state.shown_generator, latents.split(50))))
        paused += time.perf_counter() - now
    return rows


def peer(
    images: PreparedImages, training: TrainingParameters, total: int, evaluate: Evaluate, samples: int = SAMPLES
) -> list[dict]:
    """Train with the peer's loop and recipe; evaluate as often."""
    device = choose_compute(training.device, training.precision).device
    recipe = training.model_copy(update={"architecture": "dcgan", "latents": "normal"})
    plain = recipe.discriminator.model_copy(update={"batch_norm": True, "spectral_norm": False, "dropout": None})
    specs = network_configs(images.image_size, images.channels, recipe.model_copy(update={"discriminator": plain}))
    torch.manual_seed(training.seed)
    step, seen, due = Peer(specs, device, training.seed), 0, training.images_per_tick
    rows, paused, started = [], 0.0, time.perf_counter()
    for batch in batches_of(images, BATCH, total, training.seed, device):
        step(to_model_range(batch))
        seen += BATCH
        is_last = seen + BATCH > total
        if seen >= due or is_last:
            due += training.images_per_tick
            now = time.perf_counter()
            moment = Moment("peer", training.seed, seen / 1000, now - started - paused, is_last)
            rows.append(evaluate(moment, step.samples(samples, training.seed + 1)))
            paused += time.perf_counter() - now
    return rows


def batches_of(images: PreparedImages, size: int, total: int, seed: int, device: torch.device) -> Iterator[Tensor]:
    """Yield the training batches of either side."""
    indices = batch_indices(images.count("train"), size, range(total // size), seed)
    return batches_on(device, images, indices)


def report(rows: list[list[dict]], peers: list[list[dict]]) -> None:
    """Print medians over seeds, at equal images and at the peer's training time."""
    last, of_peer = [run[-1] for run in rows], [run[-1] for run in peers]
    at_time = [
        min(run, key=lambda row, end=end: abs(row["seconds"] - end["seconds"]))
        for run, end in zip(rows, of_peer, strict=True)
    ]
    bar = statistics.median(row["fd"] for row in of_peer)
    for name, found in (("equal images", last), ("equal time", at_time)):
        middle = statistics.median(row["fd"] for row in found)
        recall = statistics.median(row["recall"] for row in found)
        print(f"{name}: fd {middle:,.0f} against {bar:,.0f} ({middle / bar - 1:+.0%}), recall {recall:.3f}")


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("primary", type=Path, help="data/03_primary of a project")
    parser.add_argument("--env", default="base", help="our preset")
    parser.add_argument("--kimg", type=float, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sides", default="peer,ours")
    parser.add_argument("--input-size", type=int, default=64)
    parser.add_argument("--split", choices=("test", "validation"), default="test", help="of the real images")
    parser.add_argument("--output", type=Path, default=Path("quality"))
    parser.add_argument("changes", nargs="*", help="training parameters: ema.half_life=10000")
    # `parse_args` takes no changes behind an option.
    return parser.parse_intermixed_args()


def recipe_of(env: str, changes: list[str], total: int) -> TrainingParameters:
    """Return a preset's parameters with changes, and a tick every fifth of the training."""
    values = preset_values(env)
    for change in changes:
        key, value = change.split("=", 1)
        nested = yaml.safe_load(value)
        for part in reversed(key.split(".")):
            nested = {part: nested}
        merge(values, nested)
    return TrainingParameters.model_validate({**values, "images_per_tick": max(1, total // 5)})


def main() -> None:
    """Train both sides with several seeds."""
    arguments = read_arguments()
    keep_freed_memory()
    total = round(arguments.kimg * 1000)
    images = read_prepared_images(arguments.primary / "images", arguments.primary / "shards")
    recipe = recipe_of(arguments.env, arguments.changes, total)
    arguments.output.mkdir(exist_ok=True, parents=True)
    device = choose_compute(recipe.device, recipe.precision).device
    count = min(SAMPLES, images.count(arguments.split))
    real = torch.from_numpy(images.take(arguments.split, np.arange(count)))
    evaluate = Evaluator(real, arguments.input_size, device, arguments.output)
    found: dict[str, list[list[dict]]] = {"ours": [], "peer": []}
    for seed in range(arguments.seeds):
        training = recipe.model_copy(update={"seed": seed})
        for side, train in (("peer", peer), ("ours", ours)):
            if side in arguments.sides.split(","):
                # On a GPU, cuDNN benchmarks its algorithms.
                with deterministic_algorithms(False):
                    found[side].append(train(images, training, total, evaluate))
    if all(found.values()):
        report(found["ours"], found["peer"])


if __name__ == "__main__":
    main()
