"""The trainings that benchmarks compare: our recipe and those of others, on networks of the same size.

`train_side` trains one side and evaluates it at each tick. A side is `ours`, `pytorch-examples` (of
`kedro_dcgan.doctor.peer`), `r3gan` (`r3gan.py`), or a published recipe that our loop can train (`PUBLISHED`). All sides
but pytorch-examples sample from the EMA with recalibrated batch norm, although most published recipes have no EMA.
"""

import copy
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from r3gan import R3gan
from step_timing import Case, calibrated, merge, preset_values
from torch import Tensor

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.doctor.peer import BATCH, Peer
from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.model.sampling import generate, sample_inputs, to_model_range
from kedro_dcgan.training.data import Batch, batch_indices, batches_on, classes_to_balance
from kedro_dcgan.training.devices import choose_compute, deterministic_algorithms
from kedro_dcgan.training.ema import recalibrate
from kedro_dcgan.training.loop import Training, TrainingCallbacks
from kedro_dcgan.training.plan import class_shares

# Networks are as wide as the preset's, and have no batch norm in D.
_COMMON: dict[str, Any] = {
    "batch_size": 64,
    "architecture": "dcgan",
    "latents": "normal",
    "discriminator": {"initialisation": "normal", "batch_norm": False, "spectral_norm": False, "steps": 1},
    "penalties": {"r1": 0, "r1_every": 1},
    "augmentation": {"differentiable": []},
    "ema": {"half_life": 2500, "recalibration": 512},
}


def _recipe(learning_rate: float, betas: tuple[float, float], **changes: Any) -> dict[str, Any]:
    recipe: dict[str, Any] = copy.deepcopy(_COMMON)
    for network in ("generator", "discriminator"):
        merge(recipe.setdefault(network, {}), {"learning_rate": learning_rate, "betas": list(betas)})
    for name, value in changes.items():
        merge(recipe, {name: value})
    return recipe


_SN_DCGAN: dict[str, Any] = {"loss": "hinge", "discriminator": {"spectral_norm": True}}
PUBLISHED: dict[str, dict[str, Any]] = {
    # Miyato et al. 2018 (arXiv 1802.05957), setting C of table 1, with the hinge loss.
    "sn-dcgan": _recipe(2e-4, (0.5, 0.999), **_SN_DCGAN),
    # Gulrajani et al. 2017 (arXiv 1704.00028), algorithm 1.
    "wgan-gp": _recipe(1e-4, (0, 0.9), loss="wgan_gp", discriminator={"steps": 5}, penalties={"gradient": 10}),
    # Zhao et al. 2020 (arXiv 2006.10738): all three augmentations.
    "diffaugment": _recipe(
        2e-4, (0.5, 0.999), **_SN_DCGAN, augmentation={"differentiable": ["colour", "translation", "cutout"]}
    ),
    # Huang et al. 2024 (arXiv 2501.05441), in smaller batches than the 256 and 512 of the paper. An `r1` of 0 stands
    # for the paper's gamma.
    "r3gan": _recipe(2e-4, (0, 0.9), discriminator={"initialisation": "he"}),
}
SIDES = ("ours", "pytorch-examples", *PUBLISHED)


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


def recipe_of(side: str, env: str, changes: list[str], total: int, ticks: int = 10) -> TrainingParameters:
    """Return the parameters of a side for a preset's networks, with `changes`, and so many ticks."""
    values = preset_values(env)
    merge(values, copy.deepcopy(PUBLISHED.get(side, {})))
    for change in changes:
        key, value = change.split("=", 1)
        nested = yaml.safe_load(value)
        for part in reversed(key.split(".")):
            nested = {part: nested}
        merge(values, nested)
    return TrainingParameters.model_validate({**values, "images_per_tick": max(1, total // ticks)})


def train_side(
    side: str, images: PreparedImages, training: TrainingParameters, total: int, evaluate: Evaluate, samples: int
) -> list[dict]:
    """Train a side on `total` images; evaluate `samples` samples at each tick; return the rows."""
    training = training.for_images(images.count("train"), images.class_counts())
    if training.conditional and side in ("pytorch-examples", "r3gan"):
        raise SystemExit(f"{side} cannot be conditional: leave it out of the sides, or pass conditional=false.")
    # On a GPU, cuDNN benchmarks its algorithms.
    with deterministic_algorithms(False):
        if side == "pytorch-examples":
            return _train_peer(images, training, total, evaluate, samples)
        case = calibrated(images.image_size, images.channels, training, class_shares(images, training))
        torch.set_num_threads(case.calibration.threads)
        if side == "r3gan":
            return _train_r3gan(images, case, total, evaluate, samples)
        return train_calibrated(side, images, case, total, evaluate, samples)


def train_calibrated(
    side: str, images: PreparedImages, case: Case, total: int, evaluate: Evaluate, samples: int
) -> list[dict]:
    """Train a calibrated case with our loop on `total` images; return the rows of its ticks."""
    training, state, rows = case.training, case.new_state(), []
    latents = sample_inputs(samples, state.generator.config, training.seed + 1)
    batches = _batches(images, training, total, case.compute.device)
    end, paused, started = total // training.batch_size * training.batch_size, 0.0, time.perf_counter()
    callbacks = TrainingCallbacks(torch.from_numpy(images.take("train", np.arange(64))))
    for tick in Training(state, training, case.compute, callbacks).ticks(batches, end):
        now, seen = time.perf_counter(), tick.images_seen
        if tick.record:
            moment = Moment(side, training.seed, seen / 1000, now - started - paused, seen == end)
            rows.append(evaluate(moment, generate(state.shown_generator, latents.split(50))))
        paused += time.perf_counter() - now
    return rows


class KeptTrainings:
    """The rows of the finished trainings in a folder, so that a comparison of hours can be interrupted.

    Several processes may add to it at the same time.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "trainings.jsonl"

    def rows(self, key: list, train: Callable[[], list[dict]]) -> list[dict]:
        """Return the rows of the training that `key` (JSON values) identifies; train it if it is not kept."""
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        for kept in map(json.loads, lines):
            if kept["key"] == key:
                found: list[dict] = kept["rows"]
                return found
        rows = train()
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "rows": rows}) + "\n")
        return rows


def _train_r3gan(images: PreparedImages, case: Case, total: int, evaluate: Evaluate, samples: int) -> list[dict]:
    training, state = case.training, case.new_state()
    average = state.shown_generator
    latents = sample_inputs(samples, average.config, training.seed + 1)

    def sample() -> Iterator[Tensor]:
        recalibrate(average, latents[: training.ema.recalibration], training.batch_size)
        return generate(average, latents.split(50))

    step = R3gan(state, training, case.compute, total)
    return _train_by_steps("r3gan", step, sample, training, images, case.compute.device, total, evaluate)


def _train_peer(
    images: PreparedImages, training: TrainingParameters, total: int, evaluate: Evaluate, samples: int
) -> list[dict]:
    device = choose_compute(training.device, training.precision).device
    recipe = training.model_copy(update={"architecture": "dcgan", "latents": "normal", "batch_size": BATCH})
    plain = recipe.discriminator.model_copy(update={"batch_norm": True, "spectral_norm": False, "dropout": None})
    configs = network_configs(images.image_size, images.channels, recipe.model_copy(update={"discriminator": plain}))
    torch.manual_seed(training.seed)
    step = Peer(configs, device, training.seed)

    def sample() -> Iterator[Tensor]:
        return step.samples(samples, training.seed + 1)

    return _train_by_steps("pytorch-examples", step, sample, recipe, images, device, total, evaluate)


def _train_by_steps(
    side: str,
    step: Callable[[Tensor], object],
    sample: Callable[[], Iterator[Tensor]],
    training: TrainingParameters,
    images: PreparedImages,
    device: torch.device,
    total: int,
    evaluate: Evaluate,
) -> list[dict]:
    size = training.batch_size
    seen, due, rows = 0, training.images_per_tick, []
    paused, started = 0.0, time.perf_counter()
    for batch in _batches(images, training, total, device):
        step(to_model_range(batch.images))
        seen += size
        is_last = seen + size > total
        if seen >= due or is_last:
            due += training.images_per_tick
            now = time.perf_counter()
            rows.append(evaluate(Moment(side, training.seed, seen / 1000, now - started - paused, is_last), sample()))
            paused += time.perf_counter() - now
    return rows


def _batches(images: PreparedImages, training: TrainingParameters, total: int, device: torch.device) -> Iterator[Batch]:
    numbers, balanced = range(total // training.batch_size), classes_to_balance(images, training)
    indices = batch_indices(images.count("train"), training.batch_size, numbers, training.seed, balanced)
    return batches_on(device, images, indices)
