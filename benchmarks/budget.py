"""Sweeps of equal time, whose trials the rule of `training.budget` is fitted to.

Each trial trains for the same time on the processor, so that wide networks see fewer images than narrow ones. Optuna
chooses width, batch size, learning rate, R1, EMA and initialisation, starts from the presets `base` and `images64`,
and ends trials early that are worse than the median. The distance is that of 1,000 samples to the validation split.

    kedro run --env=base --pipelines=ingestion,preprocessing --params ingestion.source=FOLDER,ingestion.min_size=28
    python benchmarks/budget.py data/03_primary --name mnist --seconds 60 --trials 20

A study that is in `--output` already continues; its trials are also in a CSV file there. With `--seeds 3`, the rule of
`training.budget` and the best trial are then trained for the same time with seeds 1 to 3, and their distances compared.
"""

import argparse
import csv
import json
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optuna
import torch
from step_timing import Case, calibrated
from torch import Tensor
from trainings import Moment, recipe_of, train_calibrated

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shard_files import read_prepared_images
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.errors import TrainingError
from kedro_dcgan.evaluation.distances import Gaussian, frechet_distance
from kedro_dcgan.evaluation.features import EfficientNetLite0Features
from kedro_dcgan.training.budget import Values, recipe_for, widest
from kedro_dcgan.training.devices import choose_compute, deterministic_algorithms, keep_freed_memory
from kedro_dcgan.training.step import Step, cycle_of

SAMPLES, INPUT_SIZE, RUNGS = 1000, 64, 3
WIDTHS, BATCHES = (12, 16, 24, 32, 48, 64, 96), (8, 16, 32)
# The first trials of each study: the values of `base`, those of `images64` before its R1 adapted, and a mixture.
STARTS = (
    {"width": 24, "batch": 16, "rate": 2e-3, "r1": 0.2, "half_life": 2500, "start": "he", "beta2": 0.999},
    {"width": 64, "batch": 8, "rate": 1e-3, "r1": 16.0, "half_life": 2500, "start": "normal", "beta2": 0.99},
    {"width": 32, "batch": 8, "rate": 1e-3, "r1": 4.0, "half_life": 2500, "start": "normal", "beta2": 0.99},
)
COLUMNS = (
    "dataset", "size", "channels", "images", "seconds", "trial", "state", "width", "batch", "rate", "r1", "half_life",
    "start", "beta2", "kimg", "distance",
)  # fmt: skip


class Judge:
    """Measures the distance of samples to the validation split."""

    def __init__(self, images: PreparedImages, device: torch.device) -> None:
        count = min(images.count("validation"), 2 * SAMPLES)
        self._extract = EfficientNetLite0Features(INPUT_SIZE, device)
        self._real = self._gaussian(torch.from_numpy(images.take("validation", np.arange(count))).split(50))

    def distance(self, samples: Iterator[Tensor]) -> float:
        """Return the Fréchet distance of samples in batches."""
        return frechet_distance(self._gaussian(samples), self._real)

    def _gaussian(self, batches: Iterator[Tensor] | tuple[Tensor, ...]) -> Gaussian:
        return Gaussian.of_features(torch.cat([self._extract(batch) for batch in batches]))


class Speeds:
    """The speeds of all widths and batch sizes, kept in a file, so that the length of trials does not depend on noise.

    They are measured on one thread by its CPU time, which other programs hardly change.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, case: Case) -> float:
        """Return images per second, the same for all trainings of this width and batch size."""
        known = json.loads(self._path.read_text()) if self._path.exists() else {}
        training = case.training
        key = f"{case.size}x{case.channels} width {training.generator.width} batch {training.batch_size}"
        if key not in known:
            known[key] = _images_per_second(case)
            self._path.write_text(json.dumps(known, indent=1))
        return float(known[key])


def _images_per_second(case: Case) -> float:
    torch.set_num_threads(1)
    step, size = Step(case.new_state(), case.training, case.compute), case.training.batch_size
    images, steps, speed = torch.rand(size, case.channels, case.size, case.size) * 2 - 1, cycle_of(case.training), 0.0
    for _ in range(4):
        started, count = time.process_time(), 0
        while time.process_time() - started < 1:
            for _ in range(steps):
                step(images)
            count += steps
        speed = max(speed, count * size / (time.process_time() - started))
    return speed


class Trials:
    """Trains the trials of a study."""

    def __init__(self, images: PreparedImages, seconds: float, speeds: Speeds) -> None:
        self._images, self._seconds, self._speeds = images, seconds, speeds
        self._judge = Judge(images, choose_compute("auto", "auto").device)

    def __call__(self, trial: optuna.Trial) -> float:
        """Return the distance at the end; inf after a training that failed."""
        values = {
            "width": trial.suggest_categorical("width", WIDTHS),
            "batch": trial.suggest_categorical("batch", BATCHES),
            "rate": trial.suggest_float("rate", 3e-4, 4e-3, log=True),
            "r1": trial.suggest_float("r1", 0.02, 60, log=True),
            "half_life": trial.suggest_int("half_life", 500, 20_000, log=True),
            "start": trial.suggest_categorical("start", ("he", "normal")),
            "beta2": trial.suggest_categorical("beta2", (0.99, 0.999)),
        }
        return self.train(trial, values, seed=0)

    def train(self, trial: optuna.Trial | None, values: dict, seed: int) -> float:
        """Train with values; report the distances of a trial, and prune it."""
        case = calibrated(self._images.image_size, self._images.channels, self._recipe(values, seed, 1000))
        kimg = self._seconds * self._speeds.of(case) / 1000
        total = max(case.training.batch_size * RUNGS, round(1000 * kimg))
        case = Case(case.size, case.channels, self._recipe(values, seed, total), case.calibration)
        if trial:
            trial.set_user_attr("kimg", kimg)
        rows: list[float] = []

        def evaluate(moment: Moment, samples: Iterator[Tensor]) -> dict:
            rows.append(self._judge.distance(samples))
            print(f"  {json.dumps(values)} {moment.kimg:.1f} kimg {moment.seconds:.0f} s: {rows[-1]:.0f}", flush=True)
            if trial:
                trial.report(rows[-1], len(rows))
                if trial.should_prune():
                    raise optuna.TrialPruned
            return {}

        torch.set_num_threads(case.calibration.threads)
        try:
            with deterministic_algorithms(False):
                train_calibrated("ours", self._images, case, total, evaluate, SAMPLES)
        except TrainingError as error:
            print(f"  {error}", flush=True)
            return math.inf
        return rows[-1]

    def rule(self) -> dict:
        """Return what the rule of `training.budget` chooses for this time."""
        size = self._images.image_size

        def kimg_of(width: int) -> float:
            recipe = self._recipe(self._values(recipe_for(size, width, 100)), 0, 1000)
            return self._seconds * self._speeds.of(calibrated(size, self._images.channels, recipe)) / 1000

        return self._values(recipe_for(size, *widest(size, kimg_of)))

    @staticmethod
    def _values(recipe: Values) -> dict:
        return {
            "width": recipe["generator.width"],
            "batch": recipe["batch_size"],
            "rate": recipe["generator.learning_rate"],
            "r1": recipe["penalties.r1"],
            "half_life": recipe["ema.half_life"],
            "start": recipe["discriminator.initialisation"],
            "beta2": recipe["generator.betas"][1],
        }

    def _recipe(self, values: dict, seed: int, total: int) -> TrainingParameters:
        networks = ("generator", "discriminator")
        changes = [f"{one}.width={values['width']}" for one in networks]
        changes += [f"{one}.learning_rate={values['rate']}" for one in networks]
        changes += [f"{one}.betas=[0.5, {values['beta2']}]" for one in networks]
        changes += [f"discriminator.initialisation={values['start']}", f"penalties.r1={values['r1']}"]
        changes += [f"batch_size={values['batch']}", f"ema.half_life={values['half_life']}", f"seed={seed}"]
        recipe = recipe_of("ours", "base", changes, total, RUNGS)
        return recipe.for_images(self._images.count("train"))


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("primary", type=Path, help="data/03_primary of a project")
    parser.add_argument("--name", required=True, help="of the dataset")
    parser.add_argument("--seconds", type=float, default=60, help="length of each training")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=0, help="of the comparison of the rule with the best trial")
    parser.add_argument("--output", type=Path, default=Path("budget"))
    return parser.parse_args()


def main() -> None:
    """Run, or continue, one study, and write its trials to the table."""
    arguments = read_arguments()
    keep_freed_memory()
    arguments.output.mkdir(parents=True, exist_ok=True)
    images = read_prepared_images(arguments.primary / "images", arguments.primary / "shards")
    name = f"{arguments.name}-{arguments.seconds:g}"
    study = optuna.create_study(
        storage=f"sqlite:///{arguments.output / name}.db",
        study_name=name,
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=8, multivariate=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )
    for values in STARTS:
        study.enqueue_trial(values, skip_if_exists=True)
    trials = Trials(images, arguments.seconds, Speeds(arguments.output / "speeds.json"))
    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    while len(study.get_trials(deepcopy=False, states=ended)) < arguments.trials:
        study.optimize(trials, n_trials=1)
    write_table(study, images, arguments)
    print(f"best: {study.best_value:.0f} {study.best_params}")
    if arguments.seeds:
        compare(trials, study.best_params, arguments.seeds)


def compare(trials: Trials, best: dict, seeds: int) -> None:
    """Print the distances of the rule and of the best trial with other seeds."""
    middle = {}
    for side, values in (("rule", trials.rule()), ("best of the sweep", best)):
        found = [trials.train(None, values, seed) for seed in range(1, seeds + 1)]
        middle[side] = statistics.median(found)
        print(f"{side}: {middle[side]:.0f} ({', '.join(f'{one:.0f}' for one in found)}) {json.dumps(values)}")
    print(f"rule against the best of the sweep: {middle['rule'] / middle['best of the sweep'] - 1:+.0%}")


def write_table(study: optuna.Study, images: PreparedImages, arguments: argparse.Namespace) -> None:
    """Write all trials of a study as CSV."""
    facts = [arguments.name, images.image_size, images.channels, images.count("train"), f"{arguments.seconds:g}"]
    with (arguments.output / f"{study.study_name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for trial in study.trials:
            reports = trial.intermediate_values
            row = dict(trial.params) | {"kimg": trial.user_attrs.get("kimg"), "distance": None}
            if reports:
                row["distance"] = reports[max(reports)]
                # A pruned trial has seen fewer images.
                row["kimg"] = row["kimg"] * max(reports) / RUNGS
            state = trial.state.name.lower()
            writer.writerow([*facts, trial.number, state, *(row.get(name) for name in COLUMNS[7:])])


if __name__ == "__main__":
    main()
