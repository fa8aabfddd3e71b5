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
from kedro_dcgan.doctor.trainings import MANY_BATCHES, TIMED, Subject, networks_of, new_state, noise, plan_of
from kedro_dcgan.errors import ModelError
from kedro_dcgan.evaluation.features import EfficientNetLite0Features, inference
from kedro_dcgan.evaluation.inception import InceptionFeatures, build_network, torch_fidelity_blocks
from kedro_dcgan.limits import available_memory
from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.progress import operations
from kedro_dcgan.training.costs import flops_per_image
from kedro_dcgan.training.data import batch_indices, batches_on
from kedro_dcgan.training.devices import deterministic_algorithms, keep_freed_memory
from kedro_dcgan.training.fast.calibration import calibrate
from kedro_dcgan.training.fast.cuda_graphs import STEPS_BEFORE
from kedro_dcgan.training.fast.execution import Calibration, Trial, device_clock, step_of
from kedro_dcgan.training.fast.profile import matrix_rate
from kedro_dcgan.training.threads import most_threads, torch_threads

CELEBA = 202_599
BATCH_SIZES = (64, 128, 512, 1024)
# The least seconds of each side in a round, and those of the matrix products after it.
_SECONDS, _RATE_SECONDS = {"cuda": 1.0, "mps": 1.0, "cpu": 0.5}, 0.5


@dataclass(frozen=True)
class StepSpeed:
    """Images per second of both sides, and the share of the rate of matrix products that our step reaches."""

    batch_size: int
    ours: float
    peer: float
    ratio: float
    share: float
    matrix_flops_per_second: float
    calibration: Calibration  # without the algorithms of a CPU

    def __str__(self) -> str:
        return (
            f"{self.ours:,.0f} images/s, {self.ratio:.1f}x pytorch/examples ({self.peer:,.0f}), {self.share:.0%} of "
            f"matrix products ({operations(self.matrix_flops_per_second)}); {self.calibration}, "
            f"{self.calibration.execution}"
        )


@dataclass(frozen=True)
class CompiledSpeed:
    """Images per second of compiled and captured steps, and their ratio to captured ones."""

    batch_size: int
    images_per_second: float
    ratio: float

    def __str__(self) -> str:
        return (
            f"{self.images_per_second:,.0f} images/s in batches of {self.batch_size}, {self.ratio:.2f}x captured steps"
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
    training = TIMED.with_values({"batch_size": batch_size})
    if device.type == "cpu":
        keep_freed_memory()
    with deterministic_algorithms(False):
        if device.type == "cuda":
            calibration = calibrate(plan_of(training, subject.compute(), MANY_BATCHES), training)
        compute = subject.compute(calibration.precision)
        images = to_model_range(torch.from_numpy(noise(batch_size, 64))).to(device)
        state = new_state(training, compute, calibration=calibration)
        ours = _Side(step_of(state, training, compute), calibration.threads, images)
        peer = _Side(Peer(networks_of(training), device), most_threads(), images)
        speeds, rates = list[tuple[float, float]](), list[float]()
        for _ in range(rounds):
            speeds.append((ours.images_per_second(), peer.images_per_second()))
            with torch_threads(calibration.threads):
                rates.append(matrix_rate(compute, seconds=_RATE_SECONDS))
    of_ours, of_peer = (statistics.median(side) for side in zip(*speeds, strict=True))
    # Noise only slows matrix products down.
    share = of_ours * flops_per_image(*networks_of(training), training) / max(rates)
    ratio = statistics.median(one / other for one, other in speeds)
    return StepSpeed(batch_size, of_ours, of_peer, ratio, share, max(rates), replace(calibration, algorithms={}))


class _Side:
    """A step to be timed on images, with a number of threads on a CPU."""

    def __init__(self, step: Callable[[Tensor], object], threads: int, images: Tensor) -> None:
        self._step, self._threads, self._images = step, threads, images
        self._is_cpu = images.device.type == "cpu"
        with torch_threads(threads):
            # Until all steps are captured. On a CPU, few images are enough.
            self._take(images[:16], 2) if self._is_cpu else self._take(images, STEPS_BEFORE + 2)

    def images_per_second(self) -> float:
        """Time as many steps as fit into the seconds of a round, at least one."""
        # A GPU would idle if the host waited for it after each step.
        steps, taken, at_once = 0, 0.0, 1 if self._is_cpu else 16
        with torch_threads(self._threads):
            started = device_clock(self._images.device)
            while taken < _SECONDS[self._images.device.type]:
                self._take(self._images, at_once)
                steps, taken = steps + at_once, device_clock(self._images.device) - started
        return steps * len(self._images) / taken

    def _take(self, images: Tensor, count: int) -> None:
        for _ in range(count):
            self._step(images)


def measure_compiled(subject: Subject, captured: StepSpeed) -> CompiledSpeed:
    """Time compiled and captured steps, which calibration tries for trainings of an hour, beside captured ones."""
    training = TIMED.with_values({"batch_size": captured.batch_size})
    candidate = replace(captured.calibration, execution="compiled and graphed")
    with deterministic_algorithms(False):
        plan = plan_of(training, subject.compute(candidate.precision), MANY_BATCHES)
        speed = Trial(plan, training, candidate).images_per_second()
    return CompiledSpeed(captured.batch_size, speed, speed / captured.ours)


def measure_epoch(subject: Subject, steps: StepSpeed, count: int = CELEBA) -> EpochSpeed:
    """Time an epoch over as many 64x64 images as CelebA has: data, steps with this calibration, reading the losses."""
    if available_memory() < 2 * count * 3 * 64 * 64:
        raise Skipped(f"{count:,} images need {2 * count * 3 * 64 * 64 / 1e9:.0f} GB of memory")
    images = PreparedImages(64, 3, "noise", [StoredShard("0", "", noise(count, 64))], {"train": np.arange(count)})
    training, calibration = TIMED.with_values({"batch_size": steps.batch_size}), steps.calibration
    with deterministic_algorithms(False), torch_threads(calibration.threads):
        compute = subject.compute(calibration.precision)
        state = new_state(training, compute, calibration=calibration)
        step, warm_up, epoch = step_of(state, training, compute), STEPS_BEFORE + 2, count // steps.batch_size
        order = batch_indices(count, steps.batch_size, range(warm_up + epoch), 0)
        batches = iter(batches_on(subject.device, images, order))
        for number in (warm_up, epoch):
            started = device_clock(subject.device)
            for batch in islice(batches, number):
                state.means.add(step(to_model_range(batch.images)))
            state.means.first_fault()
            seconds = device_clock(subject.device) - started
    return EpochSpeed(seconds, steps.batch_size, is_measured=True)


def measure_features(subject: Subject) -> FeatureSpeed:
    """Time both extractors on uint8 images of 64x64, Inception with random weights beside torch-fidelity's.

    All are in float32 without TF32, as in an evaluation.
    """
    is_cpu = subject.device.type == "cpu"
    images, least_seconds = torch.from_numpy(noise(50 if is_cpu else 2000, 64)), 0.0 if is_cpu else 1.0
    lite = EfficientNetLite0Features(64, subject.device)
    speed = _feature_speed(lite, images, lite.batch_size, least_seconds)
    try:
        inception, peer = InceptionFeatures(None, subject.device), _torch_fidelity(subject.device)
    except ModelError:
        return FeatureSpeed(speed)
    few = images[:20] if is_cpu else images
    # 50 is torch-fidelity's default.
    of_both = [
        _feature_speed(extract, few, batch_size, least_seconds)
        for extract, batch_size in ((inception, inception.batch_size), (peer, 50))
    ]
    return FeatureSpeed(speed, *of_both)


def _torch_fidelity(device: torch.device) -> Callable[[Tensor], Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pth"
        torch.save(build_network().state_dict(), weights)
        network = torch_fidelity_blocks().FeatureExtractorInceptionV3(
            "fidelity", ["2048"], feature_extractor_weights_path=str(weights)
        )
    network.to(device)

    def extract(images: Tensor) -> Tensor:
        with inference(device, "float32"):
            return network(images.to(device))[0]

    return extract


def _feature_speed(extract: Callable[[Tensor], Tensor], images: Tensor, batch_size: int, least_seconds: float) -> float:
    """Return the images per second: passes over all images for some seconds, at least one."""
    batches = images.split(batch_size)
    # Warm up for all sizes. On a CPU, few images are enough.
    for batch in {len(batch): batch for batch in batches}.values():
        extract(batch if least_seconds else batch[:4]).cpu()
    passes, taken, started = 0, 0.0, time.perf_counter()
    while not passes or taken < least_seconds:
        for batch in batches:
            features = extract(batch)
        # This waits for a GPU.
        features.cpu()
        passes, taken = passes + 1, time.perf_counter() - started
    return passes * len(images) / taken
