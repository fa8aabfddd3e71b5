"""Inception features and the Fréchet distance: ours against the common tools, in one run.

All networks have the same random weights (the real ones cannot be shipped) and see the same images. The peers use
batches of 50, their default; ours uses its own batch size. clean-fid's network must be downloaded, so its resizing is
measured with torch-fidelity's network.

    pip install torch-fidelity torchmetrics pytorch-fid clean-fid
    python benchmarks/evaluation.py
"""

import hashlib
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

import kedro_dcgan.evaluation.inception as ours
from kedro_dcgan.evaluation.distances import FeatureMoments, Gaussian, frechet_distance

IMAGES, SIZE, BATCH, ROUNDS, DIMENSION = 100, 64, 50, 3, 2048

warnings.filterwarnings("ignore")


def write_weights(folder: Path) -> Path:
    """Write random weights that keep the scale of activations to the paths where the tools look for them."""
    source = torch.Generator().manual_seed(0)
    network = ours.build_network()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=source)
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_var.uniform_(0.5, 1.5, generator=source)
    checkpoints = folder / "hub/checkpoints"
    checkpoints.mkdir(parents=True)
    for name in (ours.WEIGHTS_NAME, "pt_inception-2015-12-05-6726825d.pth"):
        torch.save(network.state_dict(), checkpoints / name)
    weights = checkpoints / ours.WEIGHTS_NAME
    ours.WEIGHTS_PREFIX = hashlib.sha256(weights.read_bytes()).hexdigest()[:8]
    return weights


def extractors(weights: Path) -> dict:
    """Return functions from uint8 images `(N, 3, H, W)` to features, by tool."""
    from cleanfid.resize import make_resizer
    from pytorch_fid.inception import InceptionV3
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torchmetrics.image.fid import NoTrainInceptionV3

    fidelity = FeatureExtractorInceptionV3("fidelity", ["2048"], feature_extractor_weights_path=str(weights))
    metrics = NoTrainInceptionV3("metrics", ["2048"], str(weights))
    pytorch_fid = InceptionV3([3]).eval()
    mine, resizer = ours.InceptionFeatures(weights), make_resizer("PIL", False, "bicubic", (299, 299))

    def with_clean_resize(images: torch.Tensor) -> torch.Tensor:
        resized = np.stack([resizer(image.permute(1, 2, 0).numpy()) for image in images])
        return fidelity(torch.from_numpy(resized).permute(0, 3, 1, 2).round().to(torch.uint8))[0]

    return {
        "torch-fidelity": lambda images: fidelity(images)[0],
        "torchmetrics": metrics,
        "pytorch-fid": lambda images: pytorch_fid(images.float() / 255)[0].flatten(1),
        "clean-fid's resizing": with_clean_resize,
        "ours": lambda images: torch.cat([mine(batch) for batch in images.split(mine.batch_size)]),
    }


def measure_features() -> None:
    """Print the images per second of each tool, and the relative error of our features against torch-fidelity's."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCH_HOME"] = folder
        tools = extractors(write_weights(Path(folder)))
        images = torch.randint(0, 256, (IMAGES, 3, SIZE, SIZE), dtype=torch.uint8)
        speeds: dict[str, list[float]] = {name: [] for name in tools}
        with torch.inference_mode():
            features = {name: extract(images[:8]) for name, extract in tools.items()}
            for _ in range(ROUNDS):
                for name, extract in tools.items():
                    started = time.perf_counter()
                    for batch in images.split(BATCH):
                        extract(batch)
                    speeds[name].append(IMAGES / (time.perf_counter() - started))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    fastest = max((name for name in medians if name != "ours"), key=medians.__getitem__)
    expected = features["torch-fidelity"]
    error = float((features["ours"] - expected).norm() / expected.norm())
    listed = ", ".join(f"{name} {speed:.1f}" for name, speed in medians.items())
    ratio = medians["ours"] / medians[fastest]
    print(
        f"Inception features, {SIZE} to 299 pixels, CPU ({torch.get_num_threads()} threads): {ratio:.2f}x the fastest "
        f"peer, {fastest} (images/s: {listed}); {error:.1e} from torch-fidelity's"
    )


def measure_distance() -> None:
    """Print the time of a distance in 2048 dimensions, and its error where the exact distance is known."""
    from scipy.linalg import sqrtm

    source = torch.Generator().manual_seed(0)
    middle = torch.randn(DIMENSION, DIMENSION, generator=source, dtype=torch.float64) / DIMENSION**0.5
    middle = middle @ middle.T + torch.eye(DIMENSION, dtype=torch.float64)
    for rank in (DIMENSION, DIMENSION // 2):
        factor = torch.randn(DIMENSION, rank, generator=source, dtype=torch.float64) / DIMENSION**0.5
        a = factor @ factor.T
        b = middle @ a @ middle
        # With B = M A M the root of A B is A M.
        expected = float((a + b - 2 * a @ middle).trace())
        zero = torch.zeros(DIMENSION, dtype=torch.float64)
        moments = [FeatureMoments(10**6 + 1, zero, side * 10**6) for side in (a, b)]
        started = time.perf_counter()
        found = frechet_distance(*map(Gaussian.of_moments, moments))
        seconds = time.perf_counter() - started
        started = time.perf_counter()
        root = sqrtm((a @ b).numpy())
        theirs = float((a + b).trace()) - 2 * float(np.trace(root).real)
        their_seconds = time.perf_counter() - started
        scale = float((a + b).trace())
        print(
            f"Fréchet distance, {DIMENSION} dimensions of rank {rank}: {their_seconds / seconds:.1f}x scipy's root "
            f"({seconds:.1f} against {their_seconds:.1f} s), relative error {abs(found - expected) / scale:.1e} "
            f"against {abs(theirs - expected) / scale:.1e}"
        )


if __name__ == "__main__":
    measure_features()
    measure_distance()
