"""Speeds of a machine: our step against pytorch/examples', an epoch of CelebA's size, and features of the evaluation.

Both sides of a comparison run in one process, in alternating rounds, on the same images. The peer (`peer.py`) is eager
and in float32, and uses all cores. Ours uses the choices for this machine.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kedro_dcgan.data.shards import PreparedImages, StoredShard
from kedro_dcgan.doctor.isolation import Skipped
from kedro_dcgan.doctor.peer import Peer
from kedro_dcgan.doctor.trainings import STANDARD, Subject, networks_of, new_state, noise, plan_of
from kedro_dcgan.errors import ModelError
from kedro_dcgan.evaluation.features import EfficientNetLite0Features
from kedro_dcgan.evaluation.inception import InceptionFeatures, build_network, torch_fidelity_blocks
from kedro_dcgan.limits import available_memory
from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.progress import operations
from kedro_dcgan.training.costs import flops_per_image
from kedro_dcgan.training.data import batch_indices, batches_on
from kedro_dcgan.training.devices import deterministic_algorithms, keep_freed_memory
from kedro_dcgan.training.fast.calibration import calibrate, free_memory
from kedro_dcgan.training.fast.cuda_graphs import STEPS_BEFORE
from kedro_dcgan.training.fast.execution import Calibration, device_clock, step_of
from kedro_dcgan.training.fast.profile import matrix_rate
from kedro_dcgan.training.threads import most_threads, torch_threads

CELEBA = 202_599
BATCH_SIZES = (64, 128, 512, 1024)
# The least seconds of each side in a round, and those of the matrix products after it.
_SECONDS, _RATE_SECONDS = {"cuda": 1.0, "mps": 1.0, "cpu": 0.5}, 0.5
_MANY = 10**7


@dataclass(frozen=True)
class StepSpeed:
    """Images per second of both sides, and the share of the rate of matrix products that our step reaches."""

    batch_size: int
    ours: float
    peer: float
    ratio: float
    share: float
    matrix_flops_per_second: float
    choices: str

    def __str__(self) -> str:
        return (
            f"{self.ours:,.0f} images/s, {self.ratio:.1f}x pytorch/examples ({self.peer:,.0f}), {self.share:.0%} of "
            f"matrix products ({operations(self.matrix_flops_per_second)}); {self.choices}"
        )


@dataclass(frozen=True)
class EpochSpeed:
    """Seconds of an epoch over as many images as CelebA has; measured, or computed from the speed of steps."""

    seconds: float
    batch_size: int
    is_measured: bool

    def __str__(self) -> str:
        taken = f"{self.seconds:.1f} s" if self.seconds < 100 else f"{self.seconds / 60:.0f} minutes"
        how = "" if self.is_measured else "computed from "
        return f"{taken} for {CELEBA:,} images, {how}batches of {self.batch_size}"


@dataclass(frozen=True)
class FeatureSpeed:
    """Images per second of EfficientNet-Lite0 and of Inception; without torch-fidelity, there is no Inception."""

    lite: float
    inception: float | None = None
    torch_fidelity: float | None = None

    def __str__(self) -> str:
        text = f"EfficientNet-Lite0 {self.lite:,.0f} images/s"
        if self.inception is None or self.torch_fidelity is None:
            return f"{text}; Inception needs torch-fidelity, which is not installed"
        ratio = self.inception / self.torch_fidelity
        return f"{text}, Inception {self.inception:,.0f}: {ratio:.1f}x torch-fidelity ({self.torch_fidelity:,.0f})"


def measure_steps(subject: Subject, calibration: Calibration, batch_size: int, rounds: int) -> StepSpeed:
    """Time our step and the peer's, in `rounds`.

    On a GPU, ours is calibrated for this batch size. On a CPU it keeps `calibration`.
    """
    device = subject.device
    training = STANDARD.with_values({"batch_size": batch_size, "minutes": 10})
    if device.type == "cpu":
        keep_freed_memory()
    with deterministic_algorithms(False):
        if device.type == "cuda":
            calibration = calibrate(plan_of(training, subject.compute(), _MANY), training)
        compute = subject.compute(calibration.precision)
        images = to_model_range(torch.from_numpy(noise(batch_size, 64))).to(device)
        ours = step_of(new_state(training, compute, calibration=calibration), training, compute)
        sides: dict[str, tuple[Callable[[Tensor], object], int]] = {
            "ours": (ours, calibration.threads),
            "peer": (Peer(networks_of(training), device), most_threads()),
        }
        speeds: dict[str, list[float]] = {name: [] for name in sides}
        rates = []
        for number in range(rounds):
            for name, (step, threads) in sides.items():
                with torch_threads(threads):
                    if number == 0:
                        # On a CPU, few images are enough to warm up.
                        _take(step, images if device.type == "cuda" else images[:16], STEPS_BEFORE + 2)
                    speeds[name].append(_speed(step, images))
            with torch_threads(calibration.threads):
                rates.append(matrix_rate(compute, seconds=_RATE_SECONDS))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    ratio = statistics.median(one / other for one, other in zip(speeds["ours"], speeds["peer"], strict=True))
    # Noise only slows down.
    rate = max(rates)
    share = medians["ours"] * flops_per_image(*networks_of(training), training) / rate
    chosen = f"{calibration}, {calibration.execution}"
    return StepSpeed(batch_size, medians["ours"], medians["peer"], ratio, share, rate, chosen)


def _speed(step: Callable[[Tensor], object], images: Tensor) -> float:
    """Return the images per second of as many steps as fit into the seconds of a round, at least one."""
    # A GPU would idle if the host waited for it after each step.
    steps, taken, at_once = 0, 0.0, 1 if images.device.type == "cpu" else 16
    started = device_clock(images.device)
    while taken < _SECONDS[images.device.type]:
        _take(step, images, at_once)
        steps, taken = steps + at_once, device_clock(images.device) - started
    return steps * len(images) / taken


def _take(step: Callable[[Tensor], object], images: Tensor, count: int) -> None:
    for _ in range(count):
        step(images)


def measure_long_training(subject: Subject, batch_size: int) -> Calibration:
    """Calibrate for a training of two hours, which also tries compiled steps; its speed is in the result."""
    training = STANDARD.with_values({"batch_size": batch_size, "minutes": 120})
    with deterministic_algorithms(False):
        return replace(calibrate(plan_of(training, subject.compute(), _MANY), training), algorithms={})


def measure_epoch(subject: Subject, batch_size: int, count: int = CELEBA) -> EpochSpeed:
    """Time an epoch over as many 64x64 images as CelebA has: data, steps and reading the losses."""
    if available_memory() < 2 * count * 3 * 64 * 64:
        raise Skipped(f"{count:,} images need {2 * count * 3 * 64 * 64 / 1e9:.0f} GB of memory")
    images = PreparedImages(64, 3, "noise", [StoredShard("0", "", noise(count, 64))], {"train": np.arange(count)})
    training = STANDARD.with_values({"batch_size": batch_size, "minutes": 10})
    with deterministic_algorithms(False):
        calibration = calibrate(plan_of(training, subject.compute(), _MANY), training)
        free_memory(subject.device)
        compute = subject.compute(calibration.precision)
        state = new_state(training, compute, calibration=calibration)
        step, warm_up, epoch = step_of(state, training, compute), STEPS_BEFORE + 2, count // batch_size
        order = batch_indices(count, batch_size, range(warm_up + epoch), 0)
        batches = iter(batches_on(subject.device, images, order))
        for steps in (warm_up, epoch):
            started = device_clock(subject.device)
            for batch in islice(batches, steps):
                state.means.add(step(to_model_range(batch.images)))
            state.means.first_fault()
            seconds = device_clock(subject.device) - started
    return EpochSpeed(seconds, batch_size, is_measured=True)


def measure_features(subject: Subject) -> FeatureSpeed:
    """Time both extractors on uint8 images of 64x64, Inception with random weights beside torch-fidelity's."""
    is_cpu = subject.device.type == "cpu"
    images = torch.from_numpy(noise(50 if is_cpu else 2048, 64))
    lite = EfficientNetLite0Features(64, subject.device)
    speed = _feature_speed(lite, images, lite.batch_size)
    try:
        inception, peer = InceptionFeatures(None, subject.device), _torch_fidelity(subject.device)
    except ModelError:
        return FeatureSpeed(speed)
    few = images[:20] if is_cpu else images
    # 50 is torch-fidelity's default.
    return FeatureSpeed(speed, _feature_speed(inception, few, inception.batch_size), _feature_speed(peer, few, 50))


def _torch_fidelity(device: torch.device) -> Callable[[Tensor], Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pth"
        torch.save(build_network().state_dict(), weights)
        network = torch_fidelity_blocks().FeatureExtractorInceptionV3(
            "fidelity", ["2048"], feature_extractor_weights_path=str(weights)
        )
    network.to(device)
    return lambda images: network(images.to(device))[0]


@torch.inference_mode()
def _feature_speed(extract: Callable[[Tensor], Tensor], images: Tensor, batch_size: int) -> float:
    """Return the images per second, after a few images to warm up."""
    extract(images[: min(batch_size, len(images) // 5)]).cpu()
    started = time.perf_counter()
    for batch in images.split(batch_size):
        features = extract(batch)
    # This waits for a GPU.
    features.cpu()
    return len(images) / (time.perf_counter() - started)
