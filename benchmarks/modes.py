"""Mode coverage on stacked MNIST: three random digits are the red, green and blue channels of an image: 1,000 modes.

Metz et al. 2016 (arXiv 1611.02163), with the protocol of VEEGAN (Srivastava et al. 2017, arXiv 1705.07761) and PacGAN
(Lin et al. 2018, arXiv 1712.04086): train on 128,000 stacked images, draw 26,000 samples, classify each channel, and
count the modes that have at least one sample. The divergence is KL(samples || training images) of the histograms, in
nats; that of 26,000 perfect samples is about 999 / (2 x 26,000) = 0.019.

    python benchmarks/modes.py --mnist FOLDER --kimg 1000              # our recipe
    python benchmarks/modes.py --mnist FOLDER --kimg 1000 --side pytorch-examples

FOLDER has the IDX files of MNIST; without it, torchvision downloads them. The digits are resized to 32x32 as
`conf/base` resizes them. The same code classifies the samples of both sides.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from quality import log
from torch import Tensor
from trainings import SIDES, Moment, recipe_of, train_side

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.scan import ScanTask, scan_block
from kedro_dcgan.data.shards import PreparedImages, StoredShard
from kedro_dcgan.data.sources import Limits, open_source
from kedro_dcgan.data.transforms import Crop, Preparation
from kedro_dcgan.evaluation.classifier import Classifier
from kedro_dcgan.reports.pictures import make_grid
from kedro_dcgan.training.devices import keep_freed_memory

IMAGES, SAMPLES, MODES = 128_000, 26_000, 1000
SIZE, LEAST_ACCURACY = 32, 0.992
# As `conf/base` prepares digits.
PREPARATION = Preparation(
    SIZE, 1, "bicubic", Crop(), (255, 255, 255), min_size=1, max_pixels=10**6, max_file_bytes=10**6
)


@dataclass(frozen=True)
class Digits:
    """Grey digits, uint8 `(N, 32, 32)`, and their labels 0 to 9, int64 `(N,)`."""

    images: Tensor
    labels: Tensor


class CpuSeconds(Counter[str]):
    """CPU seconds of this process by stage; the time of a stage within another one counts only for the inner one."""

    _inner = 0.0

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Count the CPU seconds of a block."""
        inner_before, self._inner, started = self._inner, 0.0, time.process_time()
        try:
            yield
        finally:
            total = time.process_time() - started
            self[stage] += total - self._inner
            self._inner = inner_before + total

    def rounded(self) -> dict[str, float]:
        """Return the seconds with one decimal."""
        return {stage: round(seconds, 1) for stage, seconds in self.items()}


def read_digits(source: str) -> tuple[Digits, Digits]:
    """Return MNIST's training and test digits from a folder of IDX files or `torchvision:MNIST`."""
    parts: dict[bool, tuple[list[np.ndarray], list[int]]] = {True: ([], []), False: ([], [])}
    for block in open_source(source, Path.cwd(), Limits(10**9, 10**6)).blocks(64):
        scanned = scan_block(ScanTask(block), PREPARATION)
        for record in scanned.records:
            if record.row is not None and record.label is not None:
                # The names of both parts begin so, in IDX files and in torchvision.
                images, labels = parts[record.path.startswith("train")]
                images.append(scanned.pixels[record.row, 0])
                # torchvision's labels are `7 - seven`.
                labels.append(int(record.label.partition(" ")[0]))
    train, test = (
        Digits(torch.from_numpy(np.stack(images)), torch.tensor(labels))
        for images, labels in (parts[True], parts[False])
    )
    return train, test


def draw_triples(digits: int, count: int, seed: int) -> Tensor:
    """Return the digit in each channel of `count` stacked images, by number, int64 `(count, 3)`."""
    return torch.randint(digits, (count, 3), generator=torch.Generator().manual_seed(seed))


def modes_of(labels: Tensor) -> Tensor:
    """Return the modes 0 to 999, `(N,)`, of labels `(N, 3)`: red counts hundreds, green tens, blue ones."""
    return labels @ torch.tensor([100, 10, 1])


def shares_of(modes: Tensor) -> Tensor:
    """Return the histogram of modes, `(1000,)` float64, which adds up to 1."""
    return torch.bincount(modes, minlength=MODES).double() / len(modes)


def divergence(generated: Tensor, real: Tensor) -> float:
    """Return KL(generated || real) of histograms, in nats; modes without samples contribute nothing."""
    return float((torch.special.xlogy(generated, generated) - torch.special.xlogy(generated, real)).sum())


def count_modes(modes: Tensor, real: Tensor) -> dict:
    """Return how many modes have a sample, and the divergence of the modes `(N,)` from the real histogram."""
    shares = shares_of(modes)
    return {"modes": int((shares > 0).sum()), "kl": round(divergence(shares, real), 4)}


class ModeCounter:
    """Saves a grid of samples at each tick, and counts the modes at the last one."""

    def __init__(self, classifier: Classifier, real: Tensor, output: Path, cpu: CpuSeconds) -> None:
        self._classifier, self._real, self._output, self._cpu = classifier, real, output, cpu

    def __call__(self, moment: Moment, samples: Iterator[Tensor]) -> dict:
        """Return the modes of one tick of one training, or only its facts."""
        with self._cpu.of("sampling"):
            images = torch.cat(list(samples if moment.is_last else islice(samples, 2)))
        Image.fromarray(make_grid(images[:64].numpy())).save(self._output / moment.picture)
        row = {"side": moment.side, "seed": moment.seed, "kimg": moment.kimg, "seconds": round(moment.seconds, 1)}
        if moment.is_last:
            with self._cpu.of("classification"):
                labels = self._classifier.predict(images.flatten(0, 1)[:, None]).view(-1, 3)
            row |= {"samples": len(images), **count_modes(modes_of(labels), self._real)}
        log(row, self._output / "modes.jsonl")
        return row


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", default="torchvision:MNIST", help="folder of MNIST's four IDX files")
    parser.add_argument("--side", choices=SIDES, default="ours")
    parser.add_argument("--env", default="base", help="our preset")
    parser.add_argument("--kimg", type=float, default=1000)
    parser.add_argument("--images", type=int, default=IMAGES, help="stacked training images")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("modes"))
    parser.add_argument("changes", nargs="*", help="training parameters: ema.half_life=10000")
    return parser.parse_args()


def train_and_count(arguments: argparse.Namespace, recipe: TrainingParameters, total: int, cpu: CpuSeconds) -> None:
    """Train one side on stacked digits, count the modes of its samples, and print the CPU seconds of each stage."""
    with cpu.of("reading digits"):
        train, test = read_digits(arguments.mnist)
    with cpu.of("digit classifier"):
        classifier = Classifier(train.images[:, None], train.labels, classes=10)
    with cpu.of("its accuracy"):
        predicted = classifier.predict(test.images[:, None])
        accuracy = float((predicted == test.labels).double().mean())
    print(f"digit classifier: {accuracy:.2%} of {len(test.labels):,} test digits", flush=True)
    if accuracy < LEAST_ACCURACY:
        raise SystemExit(f"The accuracy must be at least {LEAST_ACCURACY:.1%} (got {accuracy:.2%}).")
    with cpu.of("stacking"):
        triples = draw_triples(len(train.labels), arguments.images, arguments.seed)
        stacked, real = train.images[triples].numpy(), shares_of(modes_of(train.labels[triples]))
    # The floor of the divergence: as many stacked test digits as samples.
    floor = modes_of(predicted[draw_triples(len(test.labels), arguments.samples, arguments.seed + 1)])
    print(f"real test digits: {count_modes(floor, real)}", flush=True)
    images = PreparedImages(
        SIZE, 3, "stacked digits", [StoredShard("0", "", stacked)], {"train": np.arange(len(stacked))}
    )
    evaluate = ModeCounter(classifier, real, arguments.output, cpu)
    with cpu.of("training"):
        train_side(arguments.side, images, recipe, total, evaluate, arguments.samples)
    print(f"CPU seconds: {cpu.rounded()}")


def main() -> None:
    """Train and evaluate one side."""
    arguments, cpu = read_arguments(), CpuSeconds()
    keep_freed_memory()
    total = round(arguments.kimg * 1000)
    recipe = recipe_of(arguments.side, arguments.env, [*arguments.changes, f"seed={arguments.seed}"], total)
    arguments.output.mkdir(exist_ok=True, parents=True)
    train_and_count(arguments, recipe, total, cpu)


if __name__ == "__main__":
    main()
