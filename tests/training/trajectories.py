"""Short trainings whose weights are compared with stored digests, on any x86-64 processor.

`python tests/training/trajectories.py` prints the digests; with `--write` it stores them, for the current
`TRAJECTORY_VERSION` and version of torch.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# Code paths of torch and MKL that give equal bits on every x86-64 processor. They are set before torch is imported.
PORTABLE = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_CORETYPE": "Prescott",
}
STORED = Path(__file__).with_suffix(".json")
HERE = Path(__file__).parent

# Together, the cases cover all losses and networks, all augmentations, the EMA and the options of both updates.
CASES = {
    "paper": {},
    "r1, average, augmentation": {
        "discriminator.batch_norm": False,
        "penalties.r1": 4.0,
        "penalties.r1_every": 2,
        "ema.half_life": 40,
        "augmentation.flip": True,
        "augmentation.differentiable": ("colour", "translation", "cutout"),
        "images_per_validation": 16,
        "validation_samples": 8,
    },
    "hinge, spectral norm, two updates of D": {
        "loss": "hinge",
        "discriminator.batch_norm": False,
        "discriminator.spectral_norm": True,
        "discriminator.steps": 2,
        "discriminator.update": "separately",
    },
    "wgan_gp": {"loss": "wgan_gp", "discriminator.batch_norm": False, "penalties.gradient": 10.0},
    "least squares, smooth labels, dropout, micro-batches": {
        "loss": "least_squares",
        "real_label": 0.9,
        "discriminator.dropout": 0.3,
        "gradient_accumulation": 2,
        "latents": "uniform",
    },
    "balanced classes": {
        "conditional": True,
        "class_sampling": "balanced",
        "discriminator.batch_norm": False,
        "penalties.r1": 1.0,
        "ema.half_life": 40,
        "images_per_validation": 16,
        "validation_samples": 8,
    },
    "digits28": {"architecture": "digits28"},
    "notebook28": {"architecture": "notebook28"},
    "simpsons200": {"architecture": "simpsons200"},
    "simpsons200_light": {"architecture": "simpsons200_light"},
}
SIZES = {"digits28": (28, 1), "notebook28": (28, 1), "simpsons200": (200, 3), "simpsons200_light": (200, 3)}


def main(is_written: bool) -> None:
    """Train all cases; print or store their digests."""
    import torch

    from kedro_dcgan.training.plan import TRAJECTORY_VERSION

    # oneDNN and NNPACK choose code paths by processor.
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    torch.backends.nnpack.set_flags(False)
    found = {"trajectory_version": TRAJECTORY_VERSION, "torch": torch.__version__.partition("+")[0]}
    text = json.dumps({**found, "cases": {name: trained(name) for name in CASES}}, indent=2)
    if not is_written:
        print(text)
        return
    stored = json.loads(STORED.read_text()) if STORED.exists() else {}
    if all(stored.get(key) == value for key, value in found.items()) and stored != json.loads(text):
        sys.exit("The weights have changed: raise TRAJECTORY_VERSION in training/plan.py first.")
    STORED.write_text(text + "\n")


def trained(name):
    """Train a case like the node does; return a digest of its weights, and the images seen by the kept generator."""
    import numpy as np
    from recipes import tiny_training

    from kedro_dcgan.data.shards import Classes, PreparedImages, StoredShard
    from kedro_dcgan.training.checkpoints import CheckpointFolder, TrainingStart
    from kedro_dcgan.training.in_process import train_in_process
    from kedro_dcgan.training.plan import plan_training

    size, channels = SIZES.get(name, (16, 1))
    count = 24 if size < 200 else 16
    pixels = np.random.RandomState(0).randint(0, 256, (count + 8, channels, size, size), dtype=np.uint8)
    splits = {"train": np.arange(count), "validation": np.arange(count, count + 8)}
    # Of 24 training images, 4, 8 and 12 are of the classes.
    labels = {split: np.searchsorted([4, 12], rows % 24, side="right") for split, rows in splits.items()}
    classes = Classes(("a", "b", "c"), labels)
    shards = [StoredShard("0", "", pixels)]
    images = PreparedImages(size, channels, "digest", shards, splits, classes=classes)
    changes = {key.replace(".", "__"): value for key, value in CASES[name].items()}
    training = tiny_training(**{"epochs": 2 if size < 200 else 1, "deterministic": True, **changes})
    plan = plan_training(images, training)
    with tempfile.TemporaryDirectory() as folder:
        stored = CheckpointFolder(Path(folder))
        start = TrainingStart(plan, training, None)
        with train_in_process(images, stored, start, lambda: False, lambda batches, _: batches) as run:
            last = list(run.ticks)[-1]
    hasher = hashlib.sha256()
    for part in ("generator", "discriminator", "ema_generator"):
        for key, tensor in last.checkpoint.get(part, {}).items():
            hasher.update(key.encode())
            hasher.update(tensor.contiguous().numpy().tobytes())
    distance = last.kept.validation
    return {
        "weights": hasher.hexdigest(),
        "kept": last.kept.images_seen,
        "validation": distance and float(f"{distance:.6g}"),
    }


def run_portably(*arguments):
    """Run this script on the portable code paths; return its output."""
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, __file__, *arguments]
    environment = {**os.environ, **PORTABLE, "PYTHONPATH": path, "TRAJECTORIES": "portable"}
    result = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stderr)
    return result.stdout


if __name__ == "__main__":
    if os.environ.get("TRAJECTORIES"):
        main("--write" in sys.argv)
    else:
        print(run_portably(*sys.argv[1:]), end="")
